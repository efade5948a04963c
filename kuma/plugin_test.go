package kuma

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	envoy_cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	envoy_listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	envoy_resource "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/go-logr/logr/funcr"
	mesh_proto "github.com/kumahq/kuma/v2/api/mesh/v1alpha1"
	kuma_cp "github.com/kumahq/kuma/v2/pkg/config/app/kuma-cp"
	"github.com/kumahq/kuma/v2/pkg/core/kri"
	core_meta "github.com/kumahq/kuma/v2/pkg/core/metadata"
	core_plugins "github.com/kumahq/kuma/v2/pkg/core/plugins"
	core_mesh "github.com/kumahq/kuma/v2/pkg/core/resources/apis/mesh"
	core_runtime "github.com/kumahq/kuma/v2/pkg/core/runtime"
	core_xds "github.com/kumahq/kuma/v2/pkg/core/xds"
	"github.com/kumahq/kuma/v2/pkg/dns/vips"
	kuma_metrics "github.com/kumahq/kuma/v2/pkg/metrics"
	"github.com/kumahq/kuma/v2/pkg/plugins/policies/core/rules"
	"github.com/kumahq/kuma/v2/pkg/plugins/policies/core/rules/outbound"
	meshhttproute "github.com/kumahq/kuma/v2/pkg/plugins/policies/meshhttproute/api/v1alpha1"
	"github.com/kumahq/kuma/v2/pkg/xds/cache/cla"
	xds_context "github.com/kumahq/kuma/v2/pkg/xds/context"
	envoy_common "github.com/kumahq/kuma/v2/pkg/xds/envoy"
	"github.com/kumahq/kuma/v2/pkg/xds/topology"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/plugin/carrier"
)

var _ = Describe("the plugin in kuma-cp's registry", func() {
	It("runs after all of Kuma's policies", func() {
		loaded := core_plugins.Plugins().PolicyPlugins()
		Expect(len(loaded)).To(BeNumerically(">", 10))
		Expect(loaded[len(loaded)-1].Name).To(Equal(Name))
	})

	It("is a bootstrap plugin, which gives it kuma-cp's metrics and streams", func() {
		Expect(core_plugins.Plugins().BootstrapPlugins()).To(ContainElement(
			WithTransform(core_plugins.BootstrapPlugin.Name, Equal(Name))))
	})

	It("has a type, without which proxies would get no policy at all", func() {
		matched, err := newWorld().policy.MatchedPolicies(nil, xds_context.Resources{})
		Expect(err).ToNot(HaveOccurred())
		Expect(matched.Type).ToNot(BeEmpty())
	})
})

var _ = Describe("Kuma's TrafficRoute", func() {
	It("has fields that ours has too, by number, name and type", func() {
		var compare func(theirs, ours protoreflect.MessageDescriptor)
		seen := map[protoreflect.FullName]bool{}
		compare = func(theirs, ours protoreflect.MessageDescriptor) {
			if seen[theirs.FullName()] {
				return
			}
			seen[theirs.FullName()] = true
			for i := range theirs.Fields().Len() {
				f := theirs.Fields().Get(i)
				o := ours.Fields().ByNumber(f.Number())
				Expect(o).ToNot(BeNil(), "%s", f.FullName())
				Expect(o.JSONName()).To(Equal(f.JSONName()), "%s", f.FullName())
				Expect(o.Kind()).To(Equal(f.Kind()), "%s", f.FullName())
				Expect(o.Cardinality()).To(Equal(f.Cardinality()), "%s", f.FullName())
				if f.Message() != nil {
					compare(f.Message(), o.Message())
				}
			}
		}
		compare((&mesh_proto.TrafficRoute{}).ProtoReflect().Descriptor(), (&api.TrafficRoute{}).ProtoReflect().Descriptor())
		Expect(len(seen)).To(BeNumerically(">", 10))
	})
})

var _ = Describe("a mirror in a data plane proxy", func() {
	var w *world
	BeforeEach(func() {
		w = newWorld()
		w.service("backend", 10001, "v1", "v2")
		w.service("shadow", 0, "v1")
	})

	const half = `{destination: {kuma.io/service: '*', version: v1}, mirror: {destination: {kuma.io/service: shadow}, percentage: 50}}`

	cluster := func(rs *core_xds.ResourceSet, name string) *envoy_cluster.Cluster {
		GinkgoHelper()
		r := rs.Resources(envoy_resource.ClusterType)[name]
		Expect(r).ToNot(BeNil(), "cluster %s among %v", name, slices.Sorted(maps.Keys(rs.Resources(envoy_resource.ClusterType))))
		return r.Resource.(*envoy_cluster.Cluster)
	}

	It("is a policy on its route and a cluster of its own, and nothing else changes", func() {
		w.apply("route", half)
		before, after := text(w.generate()), text(w.mirrored())
		Expect(added(before, after)).To(Equal([]string{"Cluster shadow_mirror", "ClusterLoadAssignment shadow_mirror"}))
		for name, was := range before {
			if name != "Listener outbound:127.0.0.1:10001" {
				Expect(after[name]).To(Equal(was))
			}
		}
		golden("listener.golden.yaml", after["Listener outbound:127.0.0.1:10001"])
		golden("cluster.golden.yaml", after["Cluster shadow_mirror"])
		golden("endpoints.golden.yaml", after["ClusterLoadAssignment shadow_mirror"])
		Expect(w.logged).To(BeEmpty())
	})

	It("has an origin of its own", func() {
		w.apply("route", half)
		rs := w.mirrored()
		Expect(rs.Resources(envoy_resource.ClusterType)["shadow_mirror"].Origin).To(Equal(Origin))
		Expect(rs.Resources(envoy_resource.EndpointType)["shadow_mirror"].Origin).To(Equal(Origin))
		Expect(rs.Resources(envoy_resource.ListenerType)["outbound:127.0.0.1:10001"].Origin).ToNot(Equal(Origin))
	})

	It("speaks to the shadow with the mesh's mTLS, as the primary's cluster would", func() {
		w.ctx.Mesh.Resource.Spec.Mtls = &mesh_proto.Mesh_Mtls{
			EnabledBackend: "ca", Backends: []*mesh_proto.CertificateAuthorityBackend{{Name: "ca", Type: "builtin"}},
		}
		w.service("shadow", 10002)
		w.apply("route", `{destination: {kuma.io/service: '*'}, mirror: {destination: {kuma.io/service: shadow}}}`)
		rs := w.mirrored()
		mirror := cluster(rs, "shadow_mirror")
		Expect(mirror.GetTransportSocket()).ToNot(BeNil())
		Expect(proto.Equal(mirror.GetTransportSocket(), cluster(rs, "shadow").GetTransportSocket())).To(BeTrue())
		Expect(w.proxy.SecretsTracker.UsedIdentity()).To(BeTrue())
	})

	It("of a version that nobody has copies to nobody, and says so", func() {
		w.apply("route", `{destination: {kuma.io/service: '*'}, mirror: {destination: {kuma.io/service: backend, version: v9}}}`)
		rs := w.mirrored()
		name := api.Tags{"kuma.io/service": "backend", "version": "v9"}.ClusterName() + "_mirror"
		cluster(rs, name)
		Expect(w.logged).To(ConsistOf(And(
			ContainSubstring(`Dataplane \"client\" in mesh \"default\"`), ContainSubstring(`TrafficRoute \"route\" in mesh \"default\"`),
			ContainSubstring("conf.mirror"), ContainSubstring("nobody gets the copies"), ContainSubstring("none with these tags"))))
	})

	It("of a service that does not exist copies to nobody, and says so", func() {
		w.apply("route", `{destination: {kuma.io/service: '*'}, mirror: {destination: {kuma.io/service: ghost}}}`)
		w.mirrored()
		Expect(w.logged).To(ConsistOf(ContainSubstring("no data plane proxy serves it")))
	})

	It("of another mesh is left out", func() {
		w.apply("route", `{destination: {kuma.io/service: '*'}, mirror: {destination: {kuma.io/service: shadow, kuma.io/mesh: other}}}`)
		before, after := text(w.generate()), text(w.mirrored())
		Expect(after).To(Equal(before))
		Expect(w.logged).To(ConsistOf(ContainSubstring("another mesh")))
	})

	It("is not there where the route table is not the TrafficRoute's", func() {
		w.apply("route", half)
		rs := w.generate()
		w.apply("route", `{http: [{match: {path: {prefix: /x}}, destination: {kuma.io/service: '*', version: v1}}],
			destination: {kuma.io/service: '*', version: v1}, mirror: {destination: {kuma.io/service: shadow}}}`)
		w.generate()
		before := text(rs)
		Expect(w.policy.Apply(rs, w.ctx, w.proxy)).To(Succeed())
		Expect(text(rs)).To(Equal(before))
		Expect(w.logged).To(ConsistOf(And(
			ContainSubstring("it has 1 routes where the TrafficRoute makes 2"), Not(ContainSubstring("MeshHTTPRoute")))))
	})

	DescribeTable("says whether a MeshHTTPRoute is why", func(applies rules.ToRules, reason types.GomegaMatcher) {
		w.apply("route", `{http: [{match: {path: {prefix: /x}}, destination: {kuma.io/service: '*'}, mirror: {destination: {kuma.io/service: shadow}}}],
			destination: {kuma.io/service: '*'}}`)
		rs := w.generate()
		w.proxy.Policies.Dynamic[meshhttproute.MeshHTTPRouteType] = core_xds.TypedMatchingPolicies{ToRules: applies}
		route := rs.Resources(envoy_resource.ListenerType)["outbound:127.0.0.1:10001"]
		w.apply("other", `{destination: {kuma.io/service: '*'}}`)
		matched := w.proxy
		other := w.generate().Resources(envoy_resource.ListenerType)["outbound:127.0.0.1:10001"]
		route.Resource = other.Resource
		Expect(w.policy.Apply(rs, w.ctx, matched)).To(Succeed())
		Expect(w.logged).To(ConsistOf(And(ContainSubstring("refused"), reason)))
	},
		Entry("it applies", rules.ToRules{Rules: rules.Rules{{}}}, ContainSubstring("a MeshHTTPRoute applies to this data plane proxy")),
		Entry("it is for resources alone, and Kuma keeps to the TrafficRoutes",
			rules.ToRules{ResourceRules: outbound.ResourceRules{kri.Identifier{}: {}}}, Not(ContainSubstring("MeshHTTPRoute"))),
	)

	DescribeTable("is on each address of a service, and each has a listener",
		func(outbounds func() []*mesh_proto.Dataplane_Networking_Outbound) {
			w.dp.Spec.Networking.Outbound = outbounds()
			Expect(len(w.dp.Spec.Networking.Outbound)).To(BeNumerically(">", 1))
			w.apply("route", half)
			after := text(w.mirrored())
			for _, o := range w.dp.Spec.Networking.Outbound {
				listener := fmt.Sprintf("Listener outbound:%s:%d", cmp.Or(o.Address, "127.0.0.1"), o.Port)
				Expect(after).To(HaveKeyWithValue(listener, ContainSubstring("cluster: shadow_mirror")))
			}
			Expect(w.logged).To(BeEmpty())
			Expect(w.policy.journal.States()).To(Equal(map[plugin.State]int{plugin.Injected: len(w.dp.Spec.Networking.Outbound)}))
		},
		Entry("two ports", func() []*mesh_proto.Dataplane_Networking_Outbound {
			tags := map[string]string{"kuma.io/service": "backend"}
			return []*mesh_proto.Dataplane_Networking_Outbound{{Port: 10001, Tags: tags}, {Port: 10002, Tags: tags}}
		}),
		Entry("a ClusterIP and what Kuma makes of a virtual IP", func() []*mesh_proto.Dataplane_Networking_Outbound {
			tags := map[string]string{"kuma.io/service": "backend"}
			view, err := vips.NewVirtualOutboundView(map[vips.HostnameEntry]vips.VirtualOutbound{
				vips.NewServiceEntry("backend"):   {Address: "240.0.0.1", Outbounds: []vips.OutboundEntry{{Port: 8080, TagSet: tags}}},
				vips.NewFqdnEntry("backend.mesh"): {Address: "240.0.0.2", Outbounds: []vips.OutboundEntry{{Port: 80, TagSet: tags}}},
			})
			Expect(err).ToNot(HaveOccurred())
			out := []*mesh_proto.Dataplane_Networking_Outbound{{Address: "192.0.2.80", Port: 80, Tags: tags}}
			_, virtual := topology.VIPOutbounds(view, "mesh", 80)
			for _, o := range virtual {
				out = append(out, o.LegacyOutbound)
			}
			return out
		}),
	)

	DescribeTable("is not there where its carrier is damaged, and the rest is as it was",
		func(tag, value, message string) {
			w.apply("route", half)
			split := w.routes[0].Spec.GetConf().GetSplit()
			carried := split[len(split)-1].Destination
			if _, known := carried[carrier.Prefix+tag]; !known {
				carried[carrier.Prefix+"carrier-fields"] = "2" // and not damage of its own
			}
			carried[carrier.Prefix+tag] = value
			before, after := text(w.generate()), text(w.mirrored())
			Expect(after).To(Equal(before))
			Expect(w.logged).To(ConsistOf(And(
				ContainSubstring(`Dataplane \"client\"`), ContainSubstring(`TrafficRoute \"route\"`),
				ContainSubstring("conf.split[2].destination"), ContainSubstring(message))))
		},
		Entry("percentage", "percentage", "101", "must be 0 to 100"),
		Entry("no number", "percentage", "many", "many"),
		Entry("version", "carrier-version", "2", "reads"),
		Entry("unknown parameter", "colour", "blue", "is not known"),
	)

	It("says what is wrong once, and when it is over", func() {
		w.apply("route", `{destination: {kuma.io/service: '*'}, mirror: {destination: {kuma.io/service: ghost}}}`)
		for range 3 {
			w.mirrored()
		}
		Expect(w.logged).To(HaveLen(1))
		w.apply("route", half)
		w.mirrored()
		Expect(w.logged).To(HaveLen(2))
		Expect(w.logged[1]).To(ContainSubstring("no longer so"))
	})

	DescribeTable("never takes kuma-cp down", func(change func(*envoy_listener.Listener)) {
		w.service("frontend", 10002, "v1")
		w.apply("route", `{destination: {kuma.io/service: '*', version: v1}, mirror: {destination: {kuma.io/service: '*', version: v2}}}`)
		rs := w.generate()
		for _, r := range rs.Resources(envoy_resource.ListenerType) {
			change(r.Resource.(*envoy_listener.Listener))
		}
		before := text(rs)
		w.ctx.ControlPlane.CLACache = &explodes{w.ctx.ControlPlane.CLACache, 1}
		for range 2 {
			Expect(w.policy.Apply(rs, w.ctx, w.proxy)).To(Succeed())
			Expect(text(rs)).To(Equal(before))
		}
		Expect(w.logged).To(ConsistOf(And(ContainSubstring("bug in the plugin: no endpoints"),
			ContainSubstring(`"error"=`), ContainSubstring(`"stack"=`), ContainSubstring("GetCLA"))), "an error, once")
		Expect(testutil.ToFloat64(w.policy.metrics.panics)).To(Equal(2.0))
	},
		Entry("where the listener is Kuma's", func(*envoy_listener.Listener) {}),
		Entry("where it has a default filter chain", func(l *envoy_listener.Listener) {
			l.DefaultFilterChain, l.FilterChains = l.GetFilterChains()[0], nil
		}),
	)

	It("does not take kuma-cp down where it cannot say what it found", func() {
		failed := false
		w.policy.log = funcr.New(func(_, args string) {
			if !failed {
				failed = true
				panic("no space")
			}
			w.logged = append(w.logged, args)
		}, funcr.Options{})
		w.apply("route", `{destination: {kuma.io/service: '*'}, mirror: {destination: {kuma.io/service: ghost}}}`)
		cluster(w.mirrored(), "ghost_mirror")
		Expect(w.logged).To(ConsistOf(And(ContainSubstring("no space"), ContainSubstring(`"stack"=`))))
	})

	It("is not taken down in what somebody only looks at", func() {
		w.apply("route", `{destination: {kuma.io/service: '*'}, mirror: {destination: {kuma.io/service: ghost}}}`)
		served := text(w.mirrored())
		Expect(w.logged).To(HaveLen(1))

		w.ctx.ControlPlane.CLACache = &cla.Retriever{} // as kuma-cp's _config
		Expect(text(w.mirrored())).To(Equal(served))
		w.apply("route", `{destination: {kuma.io/service: '*'}}`)
		w.mirrored()
		Expect(w.logged).To(HaveLen(1))
		Expect(w.policy.journal.States()).To(Equal(map[plugin.State]int{plugin.Injected: 1}))
	})

	It("is counted while its proxy is connected", func() {
		gathered, err := kuma_metrics.NewMetrics("zone")
		Expect(err).ToNot(HaveOccurred())
		builder, err := core_runtime.BuilderFor(context.Background(), kuma_cp.DefaultConfig())
		Expect(err).ToNot(HaveOccurred())
		builder.WithMetrics(gathered)
		Expect(w.policy.AfterBootstrap(builder, nil)).To(Succeed())
		callbacks := builder.XDS().ServerCallbacks
		callbacks.(*streams).linger = 0

		Expect(callbacks.OnStreamRequest(1, request{node: "default.client"})).To(Succeed())
		w.apply("route", half)
		w.mirrored()
		count := func(state string) float64 {
			GinkgoHelper()
			families, err := gathered.Gather()
			Expect(err).ToNot(HaveOccurred())
			for _, family := range families {
				for _, m := range family.GetMetric() {
					for _, label := range m.GetLabel() {
						if family.GetName() == "kuma_mirror_mirrors" && label.GetName() == "state" && label.GetValue() == state {
							return m.GetGauge().GetValue()
						}
					}
				}
			}
			Fail("no gauge of state " + state)
			return 0
		}
		Expect(count("injected")).To(Equal(1.0))
		Expect(count("not_http")).To(Equal(0.0))

		callbacks.OnStreamClosed(1)
		Eventually(count).WithArguments("injected").Should(Equal(0.0))
		Expect(w.logged).To(BeEmpty())
	})

	DescribeTable("leaves proxies alone that are no data plane proxies",
		func(proxy *core_xds.Proxy) {
			rs := core_xds.NewResourceSet()
			Expect(w.policy.Apply(rs, w.ctx, proxy)).To(Succeed())
			Expect(rs.Empty()).To(BeTrue())
		},
		Entry("zone ingress", &core_xds.Proxy{ZoneIngressProxy: &core_xds.ZoneIngressProxy{}}),
		Entry("zone egress", &core_xds.Proxy{ZoneEgressProxy: &core_xds.ZoneEgressProxy{}}),
		Entry("built-in gateway", &core_xds.Proxy{Dataplane: &core_mesh.DataplaneResource{Spec: &mesh_proto.Dataplane{
			Networking: &mesh_proto.Dataplane_Networking{Gateway: &mesh_proto.Dataplane_Networking_Gateway{
				Type: mesh_proto.Dataplane_Networking_Gateway_BUILTIN,
			}},
		}}}),
	)
})

var _ = Describe("an external service as shadow", func() {
	var w *world
	endpoint := core_xds.Endpoint{
		Target: "shadow.example.com", Port: 8443, Weight: 1,
		Tags:            map[string]string{"kuma.io/service": "outside", "kuma.io/protocol": "http", "version": "v2"},
		ExternalService: &core_xds.ExternalService{TLSEnabled: true},
	}
	BeforeEach(func() {
		w = newWorld()
		w.service("backend", 10001, "v1")
		w.ctx.Mesh.ServicesInformation["outside"] = &xds_context.ServiceInformation{Protocol: core_meta.ProtocolHTTP, IsExternalService: true}
		w.apply("route", `{destination: {kuma.io/service: backend}, mirror: {destination: {kuma.io/service: outside, version: v2}}}`)
	})
	name := api.Tags{"kuma.io/service": "outside", "version": "v2"}.ClusterName() + "_mirror"

	It("is called with its own host and TLS", func() {
		other := endpoint
		other.Target, other.Tags = "production.example.com", map[string]string{"kuma.io/service": "outside", "version": "v1"}
		w.external["outside"] = []core_xds.Endpoint{other, endpoint}
		after := text(w.mirrored())
		Expect(after["Cluster "+name]).To(And(ContainSubstring("STRICT_DNS"), ContainSubstring("shadow.example.com"),
			ContainSubstring("transportSocketMatches"), ContainSubstring("httpProtocolOptions: {}")))
		Expect(after["Cluster "+name]).ToNot(ContainSubstring("production.example.com"), "which has other tags")
		Expect(after).ToNot(HaveKey("ClusterLoadAssignment " + name))
		Expect(after["Listener outbound:127.0.0.1:10001"]).To(ContainSubstring("hostRewriteLiteral: shadow.example.com:8443"))
	})

	It("is reached by way of the zone egress where the mesh has it so", func() {
		w.ctx.Mesh.Resource.Spec.Routing = &mesh_proto.Routing{ZoneEgress: true}
		w.ctx.Mesh.Resource.Spec.Mtls = &mesh_proto.Mesh_Mtls{
			EnabledBackend: "ca", Backends: []*mesh_proto.CertificateAuthorityBackend{{Name: "ca", Type: "builtin"}},
		}
		egress := endpoint
		egress.Target, egress.Port = "192.0.2.9", 10002
		w.ctx.Mesh.EndpointMap["outside"] = []core_xds.Endpoint{egress}
		after := text(w.mirrored())
		Expect(after["Cluster "+name]).To(And(ContainSubstring("type: EDS"), ContainSubstring("sni: outside{mesh=default,version=v2}"),
			ContainSubstring("spiffe://default/"+mesh_proto.ZoneEgressServiceName)))
		Expect(after["ClusterLoadAssignment "+name]).To(ContainSubstring("192.0.2.9"))
		Expect(after["Listener outbound:127.0.0.1:10001"]).ToNot(ContainSubstring("hostRewriteLiteral"))
	})

	It("gets no copies before a TrafficPermission, and says so", func() {
		w.mirrored()
		Expect(w.logged).To(ConsistOf(ContainSubstring("no TrafficPermission")))
	})

	It("is left out where no ExternalService has the tags", func() {
		other := endpoint
		other.Tags = map[string]string{"kuma.io/service": "outside", "version": "v1"}
		w.external["outside"] = []core_xds.Endpoint{other}
		before, after := text(w.generate()), text(w.mirrored())
		Expect(after).To(Equal(before))
		Expect(w.logged).To(ConsistOf(ContainSubstring("no ExternalService has these tags")))
	})
})

// explodes is a cache of endpoints that panics after a number of answers.
type explodes struct {
	envoy_common.CLACache
	after int
}

func (e *explodes) GetCLA(
	ctx context.Context, mesh, hash string, c envoy_common.Cluster, v core_xds.APIVersion, endpoints core_xds.EndpointMap,
) (proto.Message, error) {
	if e.after--; e.after < 0 {
		panic("no endpoints")
	}
	return e.CLACache.GetCLA(ctx, mesh, hash, c, v, endpoints)
}
