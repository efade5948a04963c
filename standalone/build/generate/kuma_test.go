package generate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/static"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

const recordings = "../../../testdata/kuma-2.14.3"

var cases = []string{
	"three-routes", "matches-and-modify", "protocols", "mtls", "default-policies", "carrier-like", "zone-services",
}

var _ = Describe("compared with what a stock Kuma 2.14.3 serves", func() {
	It("takes every recorded case", func() {
		folders, err := filepath.Glob(filepath.Join(recordings, "*", "input.yaml"))
		Expect(err).NotTo(HaveOccurred())
		var names []string
		for _, f := range folders {
			names = append(names, filepath.Base(filepath.Dir(f)))
		}
		Expect(cases).To(ConsistOf(names))
	})

	DescribeTable("the same input gives the same but for the listed differences",
		func(ctx SpecContext, name string) {
			want := record(name)
			for _, d := range differences {
				d.apply(want)
			}
			rs, _ := generated(ctx, want.input)
			got := served(rs)

			expectSame("listener", got.listeners, want.listeners)
			expectSame("route table", got.routes, want.routes)
			expectSame("cluster", got.clusters, want.clusters)
			expectSame("endpoints", got.endpoints, want.endpoints)
		},
		func(name string) string { return name },
		Entry(nil, "three-routes"),
		Entry(nil, "matches-and-modify"),
		Entry(nil, "protocols"),
		Entry(nil, "mtls"),
		Entry(nil, "default-policies"),
		Entry(nil, "carrier-like"),
		Entry(nil, "zone-services"),
	)

	for _, version := range envoytest.Versions() {
		It("gives what Envoy "+version+" accepts", func(ctx SpecContext) {
			for _, name := range cases {
				input := record(name)
				for _, d := range differences {
					d.apply(input)
				}
				b, err := static.Bootstrap(generated(ctx, input.input))
				Expect(err).NotTo(HaveOccurred())
				Expect(envoytest.ValidateBootstrap(ctx, envoytest.Binary(version), b)).To(Succeed(), name)
			}
		})
	}

	It("has no listed difference that never occurs", func() {
		occurs := map[string]bool{}
		for _, name := range cases {
			r := record(name)
			for _, d := range differences {
				before := clone(r)
				d.apply(r)
				if !reflect.DeepEqual(before, r) {
					occurs[d.name] = true
				}
			}
		}
		for _, d := range differences {
			Expect(occurs).To(HaveKey(d.name))
			Expect(d.reason).NotTo(BeEmpty())
		}
	})
})

// expectSame compares resources one by one, for messages that can be read.
func expectSame(what string, got, want object) {
	GinkgoHelper()
	for name := range want {
		Expect(got).To(HaveKey(name), what)
		Expect(text(got[name])).To(Equal(text(want[name])), "%s %s", what, name)
	}
	for name := range got {
		Expect(want).To(HaveKey(name), what)
	}
}

func text(v any) string {
	b, err := yaml.Marshal(v)
	Expect(err).NotTo(HaveOccurred())
	return string(b)
}

func record(name string) *recording {
	GinkgoHelper()
	r := &recording{routes: object{}}
	for _, document := range bytes.Split(file(name, "input"), []byte("\n---\n")) {
		var o object
		Expect(yaml.Unmarshal(document, &o)).To(Succeed())
		r.input = append(r.input, o)
	}
	Expect(yaml.Unmarshal(file(name, "listeners"), &r.listeners)).To(Succeed())
	Expect(yaml.Unmarshal(file(name, "clusters"), &r.clusters)).To(Succeed())
	Expect(yaml.Unmarshal(file(name, "endpoints"), &r.endpoints)).To(Succeed())
	return r
}

func file(name, kind string) []byte {
	GinkgoHelper()
	data, err := os.ReadFile(filepath.Join(recordings, name, kind+".yaml"))
	Expect(err).NotTo(HaveOccurred())
	return data
}

func clone(r *recording) *recording {
	copyOf := func(from, to any) {
		b, err := json.Marshal(from)
		Expect(err).NotTo(HaveOccurred())
		Expect(json.Unmarshal(b, to)).To(Succeed())
	}
	out := &recording{}
	copyOf(r.input, &out.input)
	copyOf(r.listeners, &out.listeners)
	copyOf(r.routes, &out.routes)
	copyOf(r.clusters, &out.clusters)
	copyOf(r.endpoints, &out.endpoints)
	return out
}

// generated is what this host serves to the data plane `client` of the input,
// and that data plane.
func generated(ctx context.Context, input []object) (*xds.ResourceSet, *api.Resource) {
	GinkgoHelper()
	var resources []*api.Resource
	var client *api.Resource
	for _, o := range input {
		parsed, err := api.Parse("input.yaml", []byte(text(o)))
		Expect(err).NotTo(HaveOccurred())
		if parsed[0].Kind == api.KindDataplane && parsed[0].Meta.Name == "client" {
			client = parsed[0]
		}
		resources = append(resources, parsed...)
	}
	Expect(mesh.Validate(resources)).To(BeEmpty())
	rs, report, err := generate.Proxy(ctx, mesh.New(resources), client.Key())
	Expect(err).NotTo(HaveOccurred())
	Expect(report).To(BeEmpty())
	return rs, client
}

func served(rs *xds.ResourceSet) *recording {
	GinkgoHelper()
	r := &recording{listeners: object{}, routes: object{}, clusters: object{}, endpoints: object{}}
	for _, l := range rs.Listeners() {
		r.listeners[l.GetName()] = asObject(l)
	}
	for _, t := range rs.Routes() {
		r.routes[t.GetName()] = asObject(t)
	}
	for _, c := range rs.Clusters() {
		r.clusters[c.GetName()] = asObject(c)
	}
	for _, e := range rs.Endpoints() {
		r.endpoints[e.GetClusterName()] = asObject(e)
	}
	return r
}

func asObject(m proto.Message) object {
	GinkgoHelper()
	b, err := protojson.Marshal(m)
	Expect(err).NotTo(HaveOccurred())
	var o object
	Expect(json.Unmarshal(b, &o)).To(Succeed())
	return o
}
