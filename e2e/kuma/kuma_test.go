// Package kuma_test holds what becomes of a real kuma-cp's resources when the
// mirrors of TrafficRoutes are put into them: testdata/kuma-2.14.3 has what it
// serves, testdata/kuma-apply the policies and what is served then. Each policy
// comes the way it comes in Kuma: encoded, stored, matched and decoded.
package kuma_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

func TestKuma(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "What Kuma serves, with mirrors")
}

const folder = "../../testdata/kuma-apply"

// cases are the folders, each named after the recording that it applies to.
func cases() []string {
	inputs, err := filepath.Glob(filepath.Join(folder, "*", "input.yaml"))
	if err != nil || len(inputs) == 0 {
		panic("no cases in " + folder)
	}
	var names []string
	for _, input := range inputs {
		names = append(names, filepath.Base(filepath.Dir(input)))
	}
	return names
}

func entries() []TableEntry {
	var all []TableEntry
	for _, name := range cases() {
		all = append(all, Entry(name, name))
	}
	return all
}

// policies reads the TrafficRoutes of a case.
func policies(name string) []*api.Resource {
	GinkgoHelper()
	data, err := os.ReadFile(filepath.Join(folder, name, "input.yaml"))
	Expect(err).NotTo(HaveOccurred())
	resources, err := api.Parse("input.yaml", data)
	Expect(err).NotTo(HaveOccurred())
	return resources
}

// applied is a recording with the mirrors of the case in it.
func applied(ctx context.Context, name string) (*xds.ResourceSet, plugin.Report) {
	GinkgoHelper()
	r := record(name)
	rs := r.resourceSet()
	return rs, plugin.Apply(ctx, rs, r.proxy(stored(policies(name))), r)
}

// golden is everything that is compared, by the name of its file.
func golden(ctx context.Context, name string) map[string]string {
	GinkgoHelper()
	rs, report := applied(ctx, name)
	var said strings.Builder
	for _, outcome := range report {
		said.WriteString(outcome.String() + "\n")
	}
	return map[string]string{
		"listeners.golden.yaml": document(rs.Listeners(), (*listener.Listener).GetName),
		"clusters.golden.yaml":  document(rs.Clusters(), (*cluster.Cluster).GetName),
		"endpoints.golden.yaml": document(rs.Endpoints(), (*endpoint.ClusterLoadAssignment).GetClusterName),
		"report.golden.txt":     said.String(),
	}
}

var _ = Describe("The recording", func() {
	It("has a case for each", func() {
		inputs, err := filepath.Glob(filepath.Join(recordings, "*", "input.yaml"))
		Expect(err).NotTo(HaveOccurred())
		var names []string
		for _, input := range inputs {
			names = append(names, filepath.Base(filepath.Dir(input)))
		}
		Expect(cases()).To(ConsistOf(names))
	})

	DescribeTable("is of the same policies without their mirrors", func(name string) {
		var plain []string
		for _, r := range policies(name) {
			spec := r.Spec.(*api.TrafficRoute)
			for _, http := range spec.GetConf().GetHttp() {
				http.Mirror, http.Mirrors = nil, nil
			}
			spec.Conf.Mirror, spec.Conf.Mirrors = nil, nil
			plain = append(plain, written(r))
		}
		Expect(plain).To(ConsistOf(record(name).routes))
	}, entries())

	DescribeTable("has clusters as the host of these tests builds them", func(ctx SpecContext, name string) {
		r := record(name)
		if name == "default-policies" {
			// The policies of a new mesh have been at the recorded one, and
			// not at those that a plugin builds.
			r.clusters["backend-154693772bc47249"].CircuitBreakers = record("three-routes").clusters["backend-154693772bc47249"].CircuitBreakers
		}
		built := 0
		for _, outbound := range r.proxy(stored(policies(name))).Outbounds {
			for _, destination := range primaries(outbound) {
				name := destination.ClusterName()
				base, err := r.BaseCluster(ctx, name, destination)
				Expect(err).NotTo(HaveOccurred())
				expectSame(base.Cluster, r.clusters[name])
				if base.Endpoints != nil {
					expectSame(base.Endpoints, r.endpoints[name])
				}
				built++
			}
		}
		Expect(built).To(BeNumerically(">=", len(r.clusters)-1), "all but that of the inbound")
	}, entries())
})

var _ = Describe("With mirrors", func() {
	DescribeTable("the data plane gets what is golden", func(ctx SpecContext, name string) {
		for file, content := range golden(ctx, name) {
			path := filepath.Join(folder, name, file)
			if os.Getenv("UPDATE_GOLDEN_FILES") == "true" {
				Expect(os.WriteFile(path, []byte(content), 0o644)).To(Succeed())
			}
			want, err := os.ReadFile(path)
			Expect(err).NotTo(HaveOccurred(), "run 'make golden', and read the diff")
			Expect(content).To(Equal(string(want)), "%s differs; if that is meant, run 'make golden' and read the diff", path)
		}
	}, entries())

	DescribeTable("the primary's resources are what they were, byte for byte", func(ctx SpecContext, name string) {
		before := record(name).resourceSet()
		after, report := applied(ctx, name)
		var mirrors int
		for _, r := range after.All() {
			if r.Origin == xds.OriginMirror {
				Expect(before.Get(r.Resource, r.Name)).To(BeNil(), "a mirror's resource is a new one")
				mirrors++
				continue
			}
			was := before.Get(r.Resource, r.Name)
			Expect(was).NotTo(BeNil(), r.Name)
			Expect(r.Origin).To(Equal(was.Origin))
			Expect(bytes(withoutMirrors(r.Resource))).To(Equal(bytes(withoutMirrors(was.Resource))), r.Name)
			before.Remove(r.Resource, r.Name)
		}
		Expect(before.All()).To(BeEmpty(), "nothing goes")
		Expect(mirrors).To(BeNumerically(">", 0))
		Expect(report).NotTo(BeEmpty())
	}, entries())

	DescribeTable("a second time nothing changes", func(ctx SpecContext, name string) {
		r := record(name)
		rs, proxy := r.resourceSet(), r.proxy(stored(policies(name)))
		first := plugin.Apply(ctx, rs, proxy, r)
		once := bytesOf(rs)
		Expect(plugin.Apply(ctx, rs, proxy, r)).To(Equal(first))
		Expect(bytesOf(rs)).To(Equal(once))
	}, entries())

	for _, version := range envoytest.Versions() {
		DescribeTable("Envoy "+version+" accepts it", func(ctx SpecContext, name string) {
			rs, _ := applied(ctx, name)
			Expect(envoytest.ValidateBootstrap(ctx, envoytest.Binary(version), bootstrapOf(rs))).To(Succeed())
		}, entries())
	}

	It("Envoy refuses it without the mirror's cluster", func(ctx SpecContext) {
		// The counter-proof: the check above can fail.
		rs, _ := applied(ctx, "mtls")
		for _, r := range rs.All() {
			if r.Origin == xds.OriginMirror {
				rs.Remove(r.Resource, r.Name)
			}
		}
		Expect(envoytest.ValidateBootstrap(ctx, envoytest.Default(), bootstrapOf(rs))).To(MatchError(ContainSubstring("unknown shadow cluster")))
	})
})

func expectSame(got, want proto.Message) {
	GinkgoHelper()
	if !proto.Equal(got, want) {
		Expect(asYAML(got)).To(Equal(asYAML(want)))
		Fail("differs in what YAML does not show")
	}
}

// bytes is a resource as Envoy is sent it.
func bytes(m proto.Message) []byte {
	GinkgoHelper()
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	Expect(err).NotTo(HaveOccurred())
	return data
}

// bytesOf is every resource of a set with its origin.
func bytesOf(rs *xds.ResourceSet) [][]byte {
	GinkgoHelper()
	var all [][]byte
	for _, r := range rs.All() {
		all = append(all, append([]byte(r.Origin+" "+r.Name+" "), bytes(r.Resource)...))
	}
	return all
}
