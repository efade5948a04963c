package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// fakeHost builds bare clusters and remembers which.
type fakeHost struct {
	built     []string
	authority string
	err       error
}

func (h *fakeHost) BaseCluster(_ context.Context, name string, tags api.Tags) (*plugin.BaseCluster, error) {
	h.built = append(h.built, name)
	if h.err != nil {
		return nil, h.err
	}
	return &plugin.BaseCluster{
		Cluster:   &cluster.Cluster{Name: name},
		Endpoints: &endpoint.ClusterLoadAssignment{ClusterName: name},
		Authority: h.authority,
	}, nil
}

func tags(service string, more ...string) api.Tags {
	t := api.Tags{api.ServiceTag: service}
	for i := 0; i < len(more); i += 2 {
		t[more[i]] = more[i+1]
	}
	return t
}

func mirrorTo(destination api.Tags) *api.TrafficRoute_Mirror {
	return &api.TrafficRoute_Mirror{Destination: destination}
}

func prefixEntry(prefix string, destination api.Tags, m *api.TrafficRoute_Mirror) *api.TrafficRoute_Http {
	return &api.TrafficRoute_Http{
		Match: &api.TrafficRoute_Http_Match{Path: &api.TrafficRoute_Http_Match_StringMatcher{
			MatcherType: &api.TrafficRoute_Http_Match_StringMatcher_Prefix{Prefix: prefix},
		}},
		Destination: destination,
		Mirror:      m,
	}
}

var policyKey = api.Key{Kind: api.KindTrafficRoute, Mesh: "default", Name: "route"}

// outboundTo is an outbound to backend on the listener, governed by conf.
func outboundTo(listenerName string, conf *api.TrafficRoute_Conf) plugin.Outbound {
	return plugin.Outbound{
		Listener: listenerName,
		Tags:     tags("backend"),
		Route:    &plugin.Route{Key: policyKey, Spec: &api.TrafficRoute{Conf: conf}},
	}
}

func proxyWith(outbounds ...plugin.Outbound) plugin.Proxy {
	return plugin.Proxy{Key: api.Key{Kind: api.KindDataplane, Mesh: "default", Name: "client"}, Outbounds: outbounds}
}

// serve puts a listener in whose inline table has one route per prefix and
// cluster.
func serve(rs *xds.ResourceSet, name string, prefixAndCluster ...string) {
	GinkgoHelper()
	config := &route.RouteConfiguration{Name: "outbound:backend", VirtualHosts: []*route.VirtualHost{{
		Name: "backend", Domains: []string{"*"},
	}}}
	for i := 0; i < len(prefixAndCluster); i += 2 {
		config.VirtualHosts[0].Routes = append(config.VirtualHosts[0].Routes, &route.Route{
			Match: &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: prefixAndCluster[i]}},
			Action: &route.Route_Route{Route: &route.RouteAction{
				ClusterSpecifier: &route.RouteAction_Cluster{Cluster: prefixAndCluster[i+1]},
			}},
		})
		rs.Add(&xds.Resource{Name: prefixAndCluster[i+1], Origin: "outbound", Resource: &cluster.Cluster{Name: prefixAndCluster[i+1]}})
	}
	addListener(rs, name, &hcm.HttpConnectionManager{
		RouteSpecifier: &hcm.HttpConnectionManager_RouteConfig{RouteConfig: config},
	})
}

func addListener(rs *xds.ResourceSet, name string, filter proto.Message) {
	GinkgoHelper()
	value, err := anypb.New(filter)
	Expect(err).NotTo(HaveOccurred())
	rs.Add(&xds.Resource{Name: name, Origin: "outbound", Resource: &listener.Listener{
		Name: name,
		FilterChains: []*listener.FilterChain{{Filters: []*listener.Filter{{
			Name: "filter", ConfigType: &listener.Filter_TypedConfig{TypedConfig: value},
		}}}},
	}})
}

// routesOf returns the routes for requests that are not copies themselves.
func routesOf(manager *hcm.HttpConnectionManager) []*route.Route {
	return slices.DeleteFunc(manager.GetRouteConfig().GetVirtualHosts()[0].GetRoutes(), func(r *route.Route) bool {
		return slices.ContainsFunc(r.GetMatch().GetHeaders(), func(h *route.HeaderMatcher) bool {
			return h.GetName() == xds.MarkHeader && h.GetPresentMatch()
		})
	})
}

// mirrored returns, per such route of the listener's table, the clusters it mirrors to.
func mirrored(rs *xds.ResourceSet, name string) [][]string {
	GinkgoHelper()
	l := rs.Get((*listener.Listener)(nil), name).Resource.(*listener.Listener)
	manager := &hcm.HttpConnectionManager{}
	Expect(l.FilterChains[0].Filters[0].GetTypedConfig().UnmarshalTo(manager)).To(Succeed())
	var out [][]string
	for _, r := range routesOf(manager) {
		var clusters []string
		for _, p := range r.GetRoute().GetRequestMirrorPolicies() {
			clusters = append(clusters, p.GetCluster())
		}
		out = append(out, clusters)
	}
	return out
}

func snapshot(rs *xds.ResourceSet) map[string]proto.Message {
	out := map[string]proto.Message{}
	for _, r := range rs.All() {
		out[fmt.Sprintf("%T %s %s", r.Resource, r.Name, r.Origin)] = proto.Clone(r.Resource)
	}
	return out
}

func sameSnapshot(a, b map[string]proto.Message) bool {
	if len(a) != len(b) {
		return false
	}
	for k, m := range a {
		if !proto.Equal(m, b[k]) {
			return false
		}
	}
	return true
}

var _ = Describe("Apply", func() {
	var (
		rs   *xds.ResourceSet
		host *fakeHost
	)
	BeforeEach(func() {
		rs, host = &xds.ResourceSet{}, &fakeHost{}
	})

	v1, v2 := tags("backend", "version", "v1"), tags("backend", "version", "v2")

	It("mirrors the entry that says so and no other", func(ctx SpecContext) {
		serve(rs, "out", "/api/v1", v1.ClusterName(), "/api/v2", v1.ClusterName(), "/", v1.ClusterName())
		report := plugin.Apply(ctx, rs, proxyWith(outboundTo("out", &api.TrafficRoute_Conf{
			Http:        []*api.TrafficRoute_Http{prefixEntry("/api/v1", v1, nil), prefixEntry("/api/v2", v1, mirrorTo(v2))},
			Destination: v1,
		})), host)
		Expect(mirrored(rs, "out")).To(Equal([][]string{nil, {"backend-5b73b3f4adf20020_mirror"}, nil}))
		Expect(report).To(HaveExactElements(plugin.Outcome{
			Proxy: api.Key{Kind: api.KindDataplane, Mesh: "default", Name: "client"}, Policy: policyKey,
			Listener: "out", Path: "conf.http[1].mirror", Destination: v2, Percentage: 100,
			Cluster: "backend-5b73b3f4adf20020_mirror", State: plugin.Injected,
		}))
		Expect(report.Problems()).To(BeEmpty())
	})

	It("mirrors what matches no entry by the mirror of conf itself", func(ctx SpecContext) {
		serve(rs, "out", "/api", v1.ClusterName(), "/", v1.ClusterName())
		plugin.Apply(ctx, rs, proxyWith(outboundTo("out", &api.TrafficRoute_Conf{
			Http:        []*api.TrafficRoute_Http{prefixEntry("/api", v1, nil)},
			Destination: v1,
			Mirror:      mirrorTo(v2),
		})), host)
		Expect(mirrored(rs, "out")).To(Equal([][]string{nil, {"backend-5b73b3f4adf20020_mirror"}}))
	})

	It("gives a shadow cluster and endpoints of an origin of their own", func(ctx SpecContext) {
		serve(rs, "out", "/", "backend")
		plugin.Apply(ctx, rs, proxyWith(outboundTo("out", &api.TrafficRoute_Conf{
			Destination: tags("backend"), Mirror: mirrorTo(v2),
		})), host)
		for _, like := range []proto.Message{(*cluster.Cluster)(nil), (*endpoint.ClusterLoadAssignment)(nil)} {
			r := rs.Get(like, "backend-5b73b3f4adf20020_mirror")
			Expect(r).NotTo(BeNil())
			Expect(r.Origin).To(Equal(xds.OriginMirror))
		}
	})

	It("shares one cluster among equal mirrors, and separates those of another name", func(ctx SpecContext) {
		serve(rs, "one", "/a", "backend", "/", "backend")
		serve(rs, "two", "/", "backend")
		named := mirrorTo(v2)
		named.Name = "other"
		plugin.Apply(ctx, rs, proxyWith(
			outboundTo("one", &api.TrafficRoute_Conf{
				Http:        []*api.TrafficRoute_Http{prefixEntry("/a", tags("backend"), mirrorTo(v2))},
				Destination: tags("backend"),
				Mirror:      named,
			}),
			outboundTo("two", &api.TrafficRoute_Conf{Destination: tags("backend"), Mirror: mirrorTo(v2)}),
		), host)
		Expect(host.built).To(HaveLen(2))
		a, b := mirrored(rs, "one"), mirrored(rs, "two")
		Expect(a[0]).To(Equal(b[0]))
		Expect(a[1]).NotTo(Equal(a[0]))
	})

	It("never shares a cluster with a service that is called like the shadow's", func(ctx SpecContext) {
		serve(rs, "out", "/", "backend")
		theirs := &cluster.Cluster{Name: "shadow_mirror", AltStatName: "theirs"}
		rs.Add(&xds.Resource{Name: "shadow_mirror", Origin: "outbound", Resource: theirs})
		before := proto.Clone(theirs)
		conf := &api.TrafficRoute_Conf{Destination: tags("backend"), Mirror: mirrorTo(tags("shadow"))}
		for range 2 {
			plugin.Apply(ctx, rs, proxyWith(outboundTo("out", conf)), host)
			Expect(mirrored(rs, "out")[0]).To(HaveExactElements(MatchRegexp("^shadow_mirror-[0-9a-f]{8}$")))
		}
		Expect(proto.Equal(theirs, before)).To(BeTrue())
	})

	It("never shares a cluster between shadows whose names come out the same", func(ctx SpecContext) {
		// Kuma's name for a destination can be another service's whole name.
		serve(rs, "out", "/", "backend")
		plugin.Apply(ctx, rs, proxyWith(outboundTo("out", &api.TrafficRoute_Conf{
			Destination: tags("backend"),
			Mirrors:     []*api.TrafficRoute_Mirror{mirrorTo(v2), mirrorTo(tags(v2.ClusterName()))},
		})), host)
		clusters := mirrored(rs, "out")[0]
		Expect(clusters).To(HaveLen(2))
		Expect(clusters[0]).NotTo(Equal(clusters[1]))
	})

	It("sends copies to several shadows, in their order", func(ctx SpecContext) {
		serve(rs, "out", "/", "backend")
		report := plugin.Apply(ctx, rs, proxyWith(outboundTo("out", &api.TrafficRoute_Conf{
			Destination: tags("backend"),
			Mirrors:     []*api.TrafficRoute_Mirror{mirrorTo(tags("b")), mirrorTo(tags("a"))},
		})), host)
		Expect(mirrored(rs, "out")[0]).To(Equal([]string{"b_mirror", "a_mirror"}))
		Expect(report).To(HaveExactElements(
			HaveField("Path", api.Path("conf.mirrors[0]")), HaveField("Path", api.Path("conf.mirrors[1]"))))
	})

	It("leaves no trace of a mirror at 0 %", func(ctx SpecContext) {
		serve(rs, "out", "/", "backend")
		before := snapshot(rs)
		off := mirrorTo(v2)
		off.Percentage = wrapperspb.Double(0)
		report := plugin.Apply(ctx, rs, proxyWith(outboundTo("out", &api.TrafficRoute_Conf{
			Destination: tags("backend"), Mirror: off,
		})), host)
		Expect(sameSnapshot(before, snapshot(rs))).To(BeTrue())
		Expect(host.built).To(BeEmpty())
		Expect(report).To(HaveExactElements(HaveField("State", plugin.Off)))
		Expect(report.Problems()).To(BeEmpty())
	})

	It("gives the same when it is applied twice", func(ctx SpecContext) {
		serve(rs, "out", "/a", "backend", "/", "backend")
		proxy := proxyWith(outboundTo("out", &api.TrafficRoute_Conf{
			Http:        []*api.TrafficRoute_Http{prefixEntry("/a", tags("backend"), mirrorTo(v2))},
			Destination: tags("backend"),
			Mirrors:     []*api.TrafficRoute_Mirror{mirrorTo(v1), mirrorTo(v2)},
		}))
		first := plugin.Apply(ctx, rs, proxy, host)
		once := snapshot(rs)
		second := plugin.Apply(ctx, rs, proxy, host)
		Expect(second).To(Equal(first))
		Expect(sameSnapshot(once, snapshot(rs))).To(BeTrue())
	})

	It("changes nothing of the primary's", func(ctx SpecContext) {
		serve(rs, "out", "/", "backend")
		before := snapshot(rs)
		plugin.Apply(ctx, rs, proxyWith(outboundTo("out", &api.TrafficRoute_Conf{
			Destination: tags("backend"), Mirror: mirrorTo(v2),
		})), host)
		l := rs.Listeners()[0]
		manager := &hcm.HttpConnectionManager{}
		Expect(l.FilterChains[0].Filters[0].GetTypedConfig().UnmarshalTo(manager)).To(Succeed())
		manager.GetRouteConfig().GetVirtualHosts()[0].Routes = routesOf(manager)
		for _, r := range routesOf(manager) {
			r.GetRoute().RequestMirrorPolicies = nil
		}
		Expect(l.FilterChains[0].Filters[0].GetTypedConfig().MarshalFrom(manager)).To(Succeed())
		for _, r := range rs.All() {
			if r.Origin == xds.OriginMirror {
				rs.Remove(r.Resource, r.Name)
			}
		}
		Expect(sameSnapshot(before, snapshot(rs))).To(BeTrue())
	})

	It("injects nothing where the table is not what the TrafficRoute says, and says so", func(ctx SpecContext) {
		serve(rs, "out", "/other", "backend", "/", "backend")
		before := snapshot(rs)
		report := plugin.Apply(ctx, rs, proxyWith(outboundTo("out", &api.TrafficRoute_Conf{
			Http:        []*api.TrafficRoute_Http{prefixEntry("/a", tags("backend"), mirrorTo(v2))},
			Destination: tags("backend"),
			Mirror:      mirrorTo(v1),
		})), host)
		Expect(sameSnapshot(before, snapshot(rs))).To(BeTrue())
		Expect(report.Problems()).To(HaveLen(2))
		Expect(report[0].State).To(Equal(plugin.Refused))
		Expect(report[0].Reason).To(ContainSubstring("route 1 of 2 matches"))
		Expect(report[0].String()).To(And(ContainSubstring(`Dataplane "client"`), ContainSubstring("conf.http[0].mirror")))
	})

	It("reports a mirror on an outbound that is not HTTP", func(ctx SpecContext) {
		addListener(rs, "out", &tcp.TcpProxy{StatPrefix: "backend"})
		report := plugin.Apply(ctx, rs, proxyWith(outboundTo("out", &api.TrafficRoute_Conf{
			Destination: tags("backend"), Mirror: mirrorTo(v2),
		})), host)
		Expect(report).To(HaveExactElements(HaveField("State", plugin.NotHTTP)))
		Expect(rs.Clusters()).To(BeEmpty())
	})

	It("leaves out the one mirror whose cluster cannot be built", func(ctx SpecContext) {
		serve(rs, "out", "/", "backend")
		host.err = errors.New("no certificate")
		report := plugin.Apply(ctx, rs, proxyWith(outboundTo("out", &api.TrafficRoute_Conf{
			Destination: tags("backend"), Mirror: mirrorTo(v2),
		})), host)
		Expect(report).To(HaveExactElements(And(
			HaveField("State", plugin.Failed), HaveField("Reason", ContainSubstring("no certificate")), HaveField("Cluster", ""))))
		Expect(mirrored(rs, "out")).To(Equal([][]string{nil}))
	})

	It("gives the copy the host of an external service", func(ctx SpecContext) {
		serve(rs, "out", "/", "backend")
		host.authority = "shadow.example"
		plugin.Apply(ctx, rs, proxyWith(outboundTo("out", &api.TrafficRoute_Conf{
			Destination: tags("backend"), Mirror: mirrorTo(tags("external")),
		})), host)
		manager := &hcm.HttpConnectionManager{}
		Expect(rs.Listeners()[0].FilterChains[0].Filters[0].GetTypedConfig().UnmarshalTo(manager)).To(Succeed())
		policy := routesOf(manager)[0].GetRoute().GetRequestMirrorPolicies()[0]
		Expect(policy.GetHostRewriteLiteral()).To(Equal("shadow.example"))
	})

	It("finds splits, weights of 0 and wildcards where Kuma puts them", func(ctx SpecContext) {
		config := []string{"/", "backend-5b73b3f4adf20020"}
		serve(rs, "out", config...)
		report := plugin.Apply(ctx, rs, proxyWith(outboundTo("out", &api.TrafficRoute_Conf{
			Split: []*api.TrafficRoute_Split{
				{Weight: wrapperspb.UInt32(0), Destination: v1},
				{Weight: wrapperspb.UInt32(3), Destination: tags("*", "version", "v2")},
			},
			Mirror: mirrorTo(tags("*", "version", "v1")),
		})), host)
		Expect(report).To(HaveExactElements(And(
			HaveField("State", plugin.Injected), HaveField("Destination", v1))))
	})

	It("does nothing for an outbound without a TrafficRoute", func(ctx SpecContext) {
		serve(rs, "out", "/", "backend")
		before := snapshot(rs)
		Expect(plugin.Apply(ctx, rs, proxyWith(plugin.Outbound{Listener: "out", Tags: tags("backend")}), host)).To(BeEmpty())
		Expect(sameSnapshot(before, snapshot(rs))).To(BeTrue())
	})
})
