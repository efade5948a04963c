package kuma

import (
	"strings"

	envoy_resource "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	core_meta "github.com/kumahq/kuma/v2/pkg/core/metadata"
	core_xds "github.com/kumahq/kuma/v2/pkg/core/xds"
	"github.com/kumahq/kuma/v2/pkg/xds/cache/cla"
	xds_context "github.com/kumahq/kuma/v2/pkg/xds/context"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("a mirror that the proxy's Envoy refuses", func() {
	const (
		listener = "outbound:127.0.0.1:10001"
		words    = "Failed to load trusted CA certificates from <inline>"
	)
	var w *world
	var plain map[string]string
	shadowAt := func(host string) {
		w.external["shadow"] = []core_xds.Endpoint{{
			Target: host, Port: 8443, Weight: 1,
			Tags:            map[string]string{"kuma.io/service": "shadow"},
			ExternalService: &core_xds.ExternalService{TLSEnabled: true},
		}}
	}
	route := func(version string) {
		w.apply("route", `{destination: {kuma.io/service: '*', version: `+version+`}, mirror: {destination: {kuma.io/service: shadow}}}`)
	}
	refuses := func(typeURL, message string) bool {
		return w.policy.refusals.hear(dataplaneKey(w.dp), nack{typeURL: typeURL, message: message})
	}
	mirrored := HaveKey("Cluster shadow_mirror")
	BeforeEach(func() {
		w = newWorld()
		w.service("backend", 10001, "v1", "v3")
		w.ctx.Mesh.ServicesInformation["shadow"] = &xds_context.ServiceInformation{Protocol: core_meta.ProtocolHTTP, IsExternalService: true}
		shadowAt("shadow.example.com")
		route("v1")
		plain = text(w.generate())
		Expect(text(w.mirrored())).To(mirrored)
	})

	Context("by its cluster", func() {
		BeforeEach(func() {
			Expect(refuses(envoy_resource.ClusterType, "Error adding/updating cluster(s) shadow_mirror: "+words)).To(BeTrue())
		})

		It("is left out, with Envoy's words, and the primary's changes go on", func() {
			Expect(text(w.mirrored())).To(Equal(plain))
			Expect(w.logged).To(ConsistOf(And(ContainSubstring("conf.mirror"), ContainSubstring("Envoy refused it"), ContainSubstring(words))))
			route("v3")
			changed := text(w.generate())
			Expect(changed).ToNot(Equal(plain))
			Expect(text(w.mirrored())).To(Equal(changed))
		})

		It("is left out in what somebody looks at, too", func() {
			w.ctx.ControlPlane.CLACache = &cla.Retriever{}
			Expect(text(w.mirrored())).To(Equal(plain))
		})

		It("asks for another configuration once", func() {
			Expect(refuses(envoy_resource.ClusterType, "Error adding/updating cluster(s) shadow_mirror: "+words)).To(BeFalse())
			w.mirrored()
			Expect(refuses(envoy_resource.ClusterType, "Error adding/updating cluster(s) shadow_mirror: "+words)).To(BeFalse())
		})

		It("is back as soon as its cluster is another, and can be refused again", func() {
			w.mirrored()
			shadowAt("other.example.com")
			Expect(text(w.mirrored())).To(mirrored)
			Expect(w.logged).To(HaveLen(2))
			Expect(w.logged[1]).To(ContainSubstring("no longer so"))
			Expect(refuses(envoy_resource.ClusterType, "Error adding/updating cluster(s) shadow_mirror: "+words)).To(BeTrue())
			Expect(text(w.mirrored())).ToNot(mirrored)
		})

		It("is back when the proxy was gone", func() {
			w.policy.forget(dataplaneKey(w.dp))
			Expect(text(w.mirrored())).To(mirrored)
		})
	})

	Context("by the listener that its policy is in", func() {
		BeforeEach(func() {
			Expect(refuses(envoy_resource.ListenerType, "Error adding/updating listener(s) other: no\n"+listener+": "+words+"\nanother: no\n")).To(BeTrue())
		})

		It("is left out, with Envoy's words", func() {
			Expect(text(w.mirrored())).To(Equal(plain))
			Expect(w.logged).To(ConsistOf(And(ContainSubstring("conf.mirror"), ContainSubstring("failed"),
				ContainSubstring("Envoy refused it"), ContainSubstring(words), Not(ContainSubstring("another")))))
			Expect(refuses(envoy_resource.ListenerType, "Error adding/updating listener(s) "+listener+": "+words)).To(BeFalse(), "which is the primary's own")
		})

		It("is back as soon as the TrafficRoute is another", func() {
			w.mirrored()
			route("v3")
			Expect(text(w.mirrored())).To(mirrored)
		})
	})

	DescribeTable("is none where Envoy refuses something else", func(typeURL, message string) {
		Expect(refuses(typeURL, message)).To(BeFalse())
		Expect(text(w.mirrored())).To(mirrored)
	},
		Entry("another cluster", envoy_resource.ClusterType, "Error adding/updating cluster(s) backend: "+words),
		Entry("one whose name ends alike", envoy_resource.ClusterType, "Error adding/updating cluster(s) other-shadow_mirror: "+words),
		Entry("one whose name begins alike", envoy_resource.ClusterType, "Error adding/updating cluster(s) shadow_mirror-x: "+words),
		Entry("the listener, in an answer about clusters", envoy_resource.ClusterType, "Error adding/updating listener(s) "+listener+": "+words),
		Entry("a mirror cluster, in an answer about secrets", envoy_resource.SecretType, "shadow_mirror: "+words),
		Entry("the listener, whose port somebody else has", envoy_resource.ListenerType,
			"Error adding/updating listener(s) "+listener+": cannot bind '127.0.0.1:10001': Address already in use\n"),
		Entry("without words", envoy_resource.ClusterType, ""),
	)

	It("is found among others in one answer, and long words are cut", func() {
		Expect(refuses(envoy_resource.ClusterType, "Error adding/updating cluster(s) backend: no, other-shadow_mirror: no, shadow_mirror: "+
			strings.Repeat("x", 5000))).To(BeTrue())
		Expect(text(w.mirrored())).To(Equal(plain))
		Expect(w.logged).To(HaveLen(1))
		Expect(len(w.logged[0])).To(BeNumerically("<", 1000))
	})
})
