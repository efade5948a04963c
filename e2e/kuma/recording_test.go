package kuma_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	// What a stock Kuma configures, so that it can be read.
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_stats/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

const recordings = "../../testdata/kuma-2.14.3"

// recording is what a stock kuma-cp serves to the data plane `client` of a
// mesh.
type recording struct {
	mesh       string
	dataplanes []dataplane
	// routes are the TrafficRoutes, as written has them.
	routes    []string
	listeners map[string]*listener.Listener
	clusters  map[string]*cluster.Cluster
	endpoints map[string]*endpoint.ClusterLoadAssignment
}

// dataplane is what the tests need of a Dataplane.
type dataplane struct {
	Name       string `json:"name"`
	Networking struct {
		Address  string   `json:"address"`
		Inbound  []socket `json:"inbound"`
		Outbound []socket `json:"outbound"`
	} `json:"networking"`
}

type socket struct {
	Address string            `json:"address"`
	Port    uint32            `json:"port"`
	Tags    map[string]string `json:"tags"`
}

// client is the data plane that the recording is of.
func (r *recording) client() dataplane {
	GinkgoHelper()
	i := slices.IndexFunc(r.dataplanes, func(d dataplane) bool { return d.Name == "client" })
	Expect(i).NotTo(Equal(-1))
	return r.dataplanes[i]
}

func record(mesh string) *recording {
	GinkgoHelper()
	r := &recording{
		mesh:      mesh,
		listeners: resources[*listener.Listener](mesh, "listeners"),
		clusters:  resources[*cluster.Cluster](mesh, "clusters"),
		endpoints: resources[*endpoint.ClusterLoadAssignment](mesh, "endpoints"),
	}
	input, err := os.ReadFile(filepath.Join(recordings, mesh, "input.yaml"))
	Expect(err).NotTo(HaveOccurred())
	for text := range strings.SplitSeq(string(input), "\n---\n") {
		switch {
		case strings.HasPrefix(text, "type: Dataplane\n"):
			var d dataplane
			Expect(yaml.Unmarshal([]byte(text), &d)).To(Succeed())
			r.dataplanes = append(r.dataplanes, d)
		case strings.HasPrefix(text, "type: TrafficRoute\n"):
			parsed, err := api.Parse("input.yaml", []byte(text))
			Expect(err).NotTo(HaveOccurred())
			r.routes = append(r.routes, written(parsed[0]))
		}
	}
	return r
}

// resourceSet is what is recorded, to change it.
func (r *recording) resourceSet() *xds.ResourceSet {
	rs := &xds.ResourceSet{}
	for name, l := range r.listeners {
		rs.Add(&xds.Resource{Name: name, Origin: "kuma", Resource: proto.Clone(l)})
	}
	for name, c := range r.clusters {
		rs.Add(&xds.Resource{Name: name, Origin: "kuma", Resource: proto.Clone(c)})
	}
	for name, e := range r.endpoints {
		rs.Add(&xds.Resource{Name: name, Origin: "kuma", Resource: proto.Clone(e)})
	}
	return rs
}

// resources reads the recorded resources of one type, by name.
func resources[M proto.Message](mesh, kind string) map[string]M {
	GinkgoHelper()
	data, err := os.ReadFile(filepath.Join(recordings, mesh, kind+".yaml"))
	Expect(err).NotTo(HaveOccurred())
	var values map[string]any
	Expect(yaml.Unmarshal(data, &values)).To(Succeed())
	read := map[string]M{}
	for name, value := range values {
		withoutKafka(value)
		text, err := yaml.Marshal(value)
		Expect(err).NotTo(HaveOccurred())
		json, err := yaml.YAMLToJSON(text)
		Expect(err).NotTo(HaveOccurred())
		var none M
		m := none.ProtoReflect().New().Interface()
		Expect(protojson.Unmarshal(json, m)).To(Succeed(), name)
		read[name] = m.(M)
	}
	return read
}

// withoutKafka takes the filters that look into Kafka's protocol out of a
// listener: only a special build of Envoy has them, and only a module of its own
// their type.
func withoutKafka(value any) {
	chains, _ := value.(map[string]any)["filterChains"].([]any)
	for _, chain := range chains {
		chain := chain.(map[string]any)
		chain["filters"] = slices.DeleteFunc(chain["filters"].([]any), func(filter any) bool {
			config := filter.(map[string]any)["typedConfig"].(map[string]any)
			return strings.HasSuffix(config["@type"].(string), ".KafkaBroker")
		})
	}
}

// document gives resources as YAML, by name.
func document[M proto.Message](all []M, name func(M) string) string {
	GinkgoHelper()
	byName := map[string]any{}
	for _, r := range all {
		byName[name(r)] = value(r)
	}
	out, err := yaml.Marshal(byName)
	Expect(err).NotTo(HaveOccurred())
	return string(out)
}

// asYAML gives a resource as YAML.
func asYAML(m proto.Message) string {
	GinkgoHelper()
	out, err := yaml.Marshal(value(m))
	Expect(err).NotTo(HaveOccurred())
	return string(out)
}

// value is a message as what its JSON says.
func value(m proto.Message) any {
	GinkgoHelper()
	data, err := protojson.Marshal(m)
	Expect(err).NotTo(HaveOccurred())
	var v any
	Expect(yaml.Unmarshal(data, &v)).To(Succeed())
	return v
}

func sorted[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
