package demo_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/testing/protocmp"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/internal/demo"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/check"
)

var _ = Describe("The resources in examples/demo", func() {
	networking := func(all []*api.Resource, name string) *api.Dataplane_Networking {
		GinkgoHelper()
		for _, r := range all {
			if dataplane, ok := r.Spec.(*api.Dataplane); ok && r.Meta.Name == name {
				return dataplane.GetNetworking()
			}
		}
		Fail("no Dataplane " + name)
		return nil
	}

	It("are valid, and nothing about them is worth a warning", func(ctx SpecContext) {
		all, err := demo.Resources(demo.DefaultPorts)
		Expect(err).NotTo(HaveOccurred())
		errors, warnings := check.Resources(ctx, all, nil)
		Expect(errors).To(BeEmpty())
		Expect(warnings).To(BeEmpty())
	})

	It("are written with the default ports", func() {
		all, err := demo.Resources(demo.DefaultPorts)
		Expect(err).NotTo(HaveOccurred())
		asWritten, err := demo.ResourcesAsWritten()
		Expect(err).NotTo(HaveOccurred())
		Expect(asWritten).To(HaveLen(len(all)))
		for i := range all {
			Expect(all[i].Spec).To(BeComparableTo(asWritten[i].Spec, protocmp.Transform()))
		}
	})

	It("follow the ports of the flags", func() {
		all, err := demo.Resources(demo.Ports{Listener: 1, Admin: 2, Primary: 3, Shadow: 4, XDS: 5})
		Expect(err).NotTo(HaveOccurred())
		Expect(networking(all, "client").GetOutbound()[0].GetPort()).To(BeEquivalentTo(1))
		Expect(networking(all, "client").GetAdmin().GetPort()).To(BeEquivalentTo(2))
		Expect(networking(all, "backend-primary").GetInbound()[0].GetPort()).To(BeEquivalentTo(3))
		Expect(networking(all, "backend-shadow").GetInbound()[0].GetPort()).To(BeEquivalentTo(4))
	})
})
