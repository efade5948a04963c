// Package golden_test holds the golden cases of testdata/golden: a folder per
// case with input.yaml, and one golden file per type of resource that the data
// plane "client" gets, beside what became of its mirrors. Every case is also
// given to real Envoys, which have to accept it.
package golden_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/check"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/static"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

func TestGolden(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Golden cases")
}

const folder = "../../testdata/golden"

// client is the data plane whose resources are golden.
var client = api.Key{Kind: api.KindDataplane, Mesh: "default", Name: "client"}

func cases() []string {
	inputs, err := filepath.Glob(filepath.Join(folder, "*", "input.yaml"))
	if err != nil || len(inputs) == 0 {
		panic("no golden cases in " + folder)
	}
	names := make([]string, len(inputs))
	for i, input := range inputs {
		names[i] = filepath.Base(filepath.Dir(input))
	}
	return names
}

func load(name string) []*api.Resource {
	GinkgoHelper()
	data, err := os.ReadFile(filepath.Join(folder, name, "input.yaml"))
	Expect(err).NotTo(HaveOccurred())
	resources, err := api.Parse("input.yaml", data)
	Expect(err).NotTo(HaveOccurred())
	return resources
}

// golden is everything that is compared, by the name of its file.
func golden(ctx SpecContext, resources []*api.Resource) map[string]string {
	GinkgoHelper()
	errors, warnings := check.Resources(ctx, resources, nil)
	Expect(errors).To(BeEmpty())
	rs, report, err := generate.Proxy(ctx, mesh.New(resources), client)
	Expect(err).NotTo(HaveOccurred())

	var said strings.Builder
	for _, outcome := range report {
		said.WriteString(outcome.String() + "\n")
	}
	for _, warning := range warnings {
		said.WriteString("warning: " + warning.String() + "\n")
	}
	return map[string]string{
		"listeners.golden.yaml": document(rs.Listeners(), (*listener.Listener).GetName),
		"routes.golden.yaml":    document(rs.Routes(), (*route.RouteConfiguration).GetName),
		"clusters.golden.yaml":  document(rs.Clusters(), (*cluster.Cluster).GetName),
		"endpoints.golden.yaml": document(rs.Endpoints(), (*endpoint.ClusterLoadAssignment).GetClusterName),
		"report.golden.txt":     said.String(),
	}
}

// document gives resources as YAML, by name.
func document[M proto.Message](resources []M, name func(M) string) string {
	GinkgoHelper()
	byName := map[string]any{}
	for _, r := range resources {
		data, err := protojson.Marshal(r)
		Expect(err).NotTo(HaveOccurred())
		var value any
		Expect(yaml.Unmarshal(data, &value)).To(Succeed())
		byName[name(r)] = value
	}
	out, err := yaml.Marshal(byName)
	Expect(err).NotTo(HaveOccurred())
	return string(out)
}

func entries() []TableEntry {
	var all []TableEntry
	for _, name := range cases() {
		all = append(all, Entry(name, name))
	}
	return all
}

var _ = Describe("the golden case", func() {
	DescribeTable("is what the data plane gets", func(ctx SpecContext, name string) {
		for file, content := range golden(ctx, load(name)) {
			path := filepath.Join(folder, name, file)
			if os.Getenv("UPDATE_GOLDEN_FILES") == "true" {
				Expect(os.WriteFile(path, []byte(content), 0o644)).To(Succeed())
			}
			want, err := os.ReadFile(path)
			Expect(err).NotTo(HaveOccurred(), "run 'make golden', and read the diff")
			Expect(content).To(Equal(string(want)), "%s differs; if that is meant, run 'make golden' and read the diff", path)
		}
	}, entries())

	DescribeTable("does not depend on the order of the input", func(ctx SpecContext, name string) {
		resources := load(name)
		forward := golden(ctx, resources)
		slices.Reverse(resources)
		Expect(golden(ctx, resources)).To(Equal(forward))
	}, entries())

	for _, version := range envoytest.Versions() {
		DescribeTable("is accepted by Envoy "+version, func(ctx SpecContext, name string) {
			resources := load(name)
			index := mesh.New(resources)
			rs, _, err := generate.Proxy(ctx, index, client)
			Expect(err).NotTo(HaveOccurred())
			config, err := static.Bootstrap(rs, index.Mesh(client.Mesh).Dataplane(client.Name))
			Expect(err).NotTo(HaveOccurred())
			Expect(envoytest.ValidateBootstrap(ctx, envoytest.Binary(version), config)).To(Succeed())
		}, entries())
	}

	It("is refused by Envoy where it is broken", func(ctx SpecContext) {
		// The counter-proof: the check above can fail.
		index := mesh.New(load("three-routes"))
		rs, _, err := generate.Proxy(ctx, index, client)
		Expect(err).NotTo(HaveOccurred())
		for _, r := range rs.All() {
			if r.Origin == xds.OriginMirror {
				rs.Remove(r.Resource, r.Name)
			}
		}
		config, err := static.Bootstrap(rs, index.Mesh(client.Mesh).Dataplane(client.Name))
		Expect(err).NotTo(HaveOccurred())
		Expect(envoytest.ValidateBootstrap(ctx, envoytest.Default(), config)).To(MatchError(ContainSubstring("unknown")))
	})
})

var _ = Describe("the policy of the proposal", func() {
	It("means the same in both forms", func(ctx SpecContext) {
		kubernetes, universal := golden(ctx, load("proposal-kubernetes")), golden(ctx, load("proposal-universal"))
		delete(kubernetes, "report.golden.txt")
		delete(universal, "report.golden.txt")
		Expect(kubernetes).To(Equal(universal))
	})
})
