package xds_test

import (
	"errors"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/kuma-mirror/kuma-mirror/xds"
)

func packed(m proto.Message) *anypb.Any {
	GinkgoHelper()
	value, err := anypb.New(m)
	Expect(err).NotTo(HaveOccurred())
	return value
}

func listenerWith(filters ...proto.Message) *listener.Listener {
	chain := &listener.FilterChain{}
	for _, f := range filters {
		chain.Filters = append(chain.Filters, &listener.Filter{
			Name: "filter", ConfigType: &listener.Filter_TypedConfig{TypedConfig: packed(f)},
		})
	}
	return &listener.Listener{Name: "outbound", FilterChains: []*listener.FilterChain{chain}}
}

func prefix(p string) *route.RouteMatch {
	return &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: p}}
}

func to(cluster string) *route.RouteAction {
	return &route.RouteAction{
		ClusterSpecifier: &route.RouteAction_Cluster{Cluster: cluster},
		Timeout:          durationpb.New(0),
	}
}

func routeTo(match *route.RouteMatch, action *route.RouteAction) *route.Route {
	return &route.Route{Match: match, Action: &route.Route_Route{Route: action}}
}

// table is what the entries of twoEntries make: /api to a and b by weight, the
// rest to a.
func table() *route.RouteConfiguration {
	split := &route.RouteAction{ClusterSpecifier: &route.RouteAction_WeightedClusters{
		WeightedClusters: &route.WeightedCluster{Clusters: []*route.WeightedCluster_ClusterWeight{
			{Name: "a", Weight: wrapperspb.UInt32(90)},
			{Name: "b", Weight: wrapperspb.UInt32(10)},
		}},
	}}
	return &route.RouteConfiguration{Name: "outbound:a", VirtualHosts: []*route.VirtualHost{{
		Name: "a", Domains: []string{"*"},
		Routes: []*route.Route{routeTo(prefix("/api"), split), routeTo(prefix("/"), to("a"))},
	}}}
}

func twoEntries() []xds.Entry {
	return []xds.Entry{
		{Match: prefix("/api"), Clusters: []xds.WeightedCluster{{Name: "a", Weight: 90}, {Name: "b", Weight: 10}}},
		{Match: prefix("/"), Clusters: []xds.WeightedCluster{{Name: "a", Weight: 7}}},
	}
}

func inline(config *route.RouteConfiguration) *xds.ResourceSet {
	rs := &xds.ResourceSet{}
	rs.Add(&xds.Resource{Name: "outbound", Resource: listenerWith(&hcm.HttpConnectionManager{
		StatPrefix: "a", RouteSpecifier: &hcm.HttpConnectionManager_RouteConfig{RouteConfig: config},
	})})
	return rs
}

func rds(config *route.RouteConfiguration) *xds.ResourceSet {
	rs := &xds.ResourceSet{}
	rs.Add(
		&xds.Resource{Name: "outbound", Resource: listenerWith(&hcm.HttpConnectionManager{
			StatPrefix:     "a",
			RouteSpecifier: &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{RouteConfigName: config.GetName()}},
		})},
		&xds.Resource{Name: config.GetName(), Resource: config},
	)
	return rs
}

// tableIn returns the one table of a set that inline or rds made.
func tableIn(rs *xds.ResourceSet) *route.RouteConfiguration {
	GinkgoHelper()
	if routes := rs.Routes(); len(routes) == 1 {
		return routes[0]
	}
	manager := &hcm.HttpConnectionManager{}
	Expect(rs.Listeners()[0].FilterChains[0].Filters[0].GetTypedConfig().UnmarshalTo(manager)).To(Succeed())
	return manager.GetRouteConfig()
}

// copies matches requests that are copies.
var copies = &route.HeaderMatcher{Name: "x-kuma-mirror-copy", HeaderMatchSpecifier: &route.HeaderMatcher_PresentMatch{PresentMatch: true}}

func policies(cluster string) []*route.RouteAction_RequestMirrorPolicy {
	return []*route.RouteAction_RequestMirrorPolicy{{Cluster: cluster}}
}

var _ = Describe("the route tables of a listener", func() {
	forms := []TableEntry{
		Entry("inline in the listener, as Kuma's", inline),
		Entry("as resources of their own", rds),
	}

	DescribeTable("get policies on the entry they belong to and no other",
		func(form func(*route.RouteConfiguration) *xds.ResourceSet) {
			rs := form(table())
			tables, err := xds.FindTables(rs, "outbound", twoEntries())
			Expect(err).NotTo(HaveOccurred())
			Expect(tables.Inject([][]*route.RouteAction_RequestMirrorPolicy{policies("b_mirror"), nil})).To(Succeed())

			want := table()
			twin := table().VirtualHosts[0].Routes[0]
			twin.Match.Headers = append(twin.Match.Headers, copies)
			want.VirtualHosts[0].Routes[0].GetRoute().RequestMirrorPolicies = policies("b_mirror")
			want.VirtualHosts[0].Routes = slices.Insert(want.VirtualHosts[0].Routes, 0, twin)
			Expect(proto.Equal(tableIn(rs), want)).To(BeTrue(), tableIn(rs).String())
		}, forms)

	DescribeTable("do not change when the same is injected again",
		func(form func(*route.RouteConfiguration) *xds.ResourceSet) {
			rs := form(table())
			for range 2 {
				rs.Add(&xds.Resource{Name: "b_mirror", Origin: xds.OriginMirror, Resource: &cluster.Cluster{Name: "b_mirror"}})
				tables, err := xds.FindTables(rs, "outbound", twoEntries())
				Expect(err).NotTo(HaveOccurred())
				Expect(tables.Inject([][]*route.RouteAction_RequestMirrorPolicy{nil, policies("b_mirror")})).To(Succeed())
			}
			routes := tableIn(rs).GetVirtualHosts()[0].GetRoutes()
			Expect(routes).To(HaveLen(3))
			Expect(routes[1].GetRoute().GetRequestMirrorPolicies()).To(BeEmpty())
			Expect(routes[2].GetRoute().GetRequestMirrorPolicies()).To(HaveLen(1))
		}, forms)

	DescribeTable("are as they were when nothing is injected any more",
		func(form func(*route.RouteConfiguration) *xds.ResourceSet) {
			rs := form(table())
			rs.Add(&xds.Resource{Name: "b_mirror", Origin: xds.OriginMirror, Resource: &cluster.Cluster{Name: "b_mirror"}})
			for _, p := range [][]*route.RouteAction_RequestMirrorPolicy{policies("b_mirror"), nil} {
				tables, err := xds.FindTables(rs, "outbound", twoEntries())
				Expect(err).NotTo(HaveOccurred())
				Expect(tables.Inject([][]*route.RouteAction_RequestMirrorPolicy{p, p})).To(Succeed())
			}
			Expect(proto.Equal(tableIn(rs), table())).To(BeTrue(), tableIn(rs).String())
		}, forms)

	DescribeTable("take copies by themselves, with all of the route but our policies and the count of what is to be copied",
		func(form func(*route.RouteConfiguration) *xds.ResourceSet) {
			config := table()
			first := config.VirtualHosts[0].Routes[0]
			first.StatPrefix = "counted"
			first.RequestHeadersToRemove = []string{"x-internal"}
			first.GetRoute().Timeout = durationpb.New(time.Second)
			first.GetRoute().RequestMirrorPolicies = policies("theirs")
			rs := form(config)
			tables, err := xds.FindTables(rs, "outbound", twoEntries())
			Expect(err).NotTo(HaveOccurred())
			Expect(tables.Inject([][]*route.RouteAction_RequestMirrorPolicy{policies("b_mirror"), nil})).To(Succeed())

			routes := tableIn(rs).GetVirtualHosts()[0].GetRoutes()
			Expect(routes).To(HaveLen(3))
			want := proto.Clone(first).(*route.Route)
			want.Match.Headers = append(want.Match.Headers, copies)
			want.StatPrefix = ""
			Expect(proto.Equal(routes[0], want)).To(BeTrue(), routes[0].String())
			Expect(routes[1].GetStatPrefix()).To(Equal("counted"))
		}, forms)

	DescribeTable("keep the mirror policies of others, before ours",
		func(form func(*route.RouteConfiguration) *xds.ResourceSet) {
			config := table()
			config.VirtualHosts[0].Routes[0].GetRoute().RequestMirrorPolicies = policies("theirs")
			rs := form(config)
			tables, err := xds.FindTables(rs, "outbound", twoEntries())
			Expect(err).NotTo(HaveOccurred())
			Expect(tables.Inject([][]*route.RouteAction_RequestMirrorPolicy{policies("b_mirror"), nil})).To(Succeed())
			Expect(tableIn(rs).GetVirtualHosts()[0].GetRoutes()[1].GetRoute().GetRequestMirrorPolicies()).
				To(HaveExactElements(HaveField("Cluster", "theirs"), HaveField("Cluster", "b_mirror")))
		}, forms)

	DescribeTable("leave the listener alone, to the byte, where there is nothing to inject",
		func(form func(*route.RouteConfiguration) *xds.ResourceSet) {
			rs := form(table())
			before := proto.Clone(rs.Listeners()[0])
			tables, err := xds.FindTables(rs, "outbound", twoEntries())
			Expect(err).NotTo(HaveOccurred())
			Expect(tables.Inject(make([][]*route.RouteAction_RequestMirrorPolicy, 2))).To(Succeed())
			Expect(proto.Equal(rs.Listeners()[0], before)).To(BeTrue())
		}, forms)

	DescribeTable("are refused, with the place, where they are not what the TrafficRoute says",
		func(change func(*route.VirtualHost, *route.RouteConfiguration), reason string) {
			config := table()
			change(config.VirtualHosts[0], config)
			for _, form := range []func(*route.RouteConfiguration) *xds.ResourceSet{inline, rds} {
				_, err := xds.FindTables(form(config), "outbound", twoEntries())
				Expect(err).To(MatchError(ContainSubstring(reason)))
			}
		},
		Entry("a route more", func(v *route.VirtualHost, _ *route.RouteConfiguration) {
			v.Routes = append(v.Routes, routeTo(prefix("/"), to("a")))
		}, "it has 3 routes where the TrafficRoute makes 2"),
		Entry("routes swapped", func(v *route.VirtualHost, _ *route.RouteConfiguration) {
			v.Routes[0], v.Routes[1] = v.Routes[1], v.Routes[0]
		}, `route 1 of 2 matches {"prefix":"/"} where the TrafficRoute says {"prefix":"/api"}`),
		Entry("another match", func(v *route.VirtualHost, _ *route.RouteConfiguration) {
			v.Routes[0].Match = prefix("/other")
		}, `route 1 of 2 matches {"prefix":"/other"} where the TrafficRoute says {"prefix":"/api"}`),
		Entry("another cluster", func(v *route.VirtualHost, _ *route.RouteConfiguration) {
			v.Routes[1].Action = &route.Route_Route{Route: to("c")}
		}, "route 2 of 2 goes to c where the TrafficRoute says a"),
		Entry("other weights", func(v *route.VirtualHost, _ *route.RouteConfiguration) {
			v.Routes[0].GetRoute().GetWeightedClusters().GetClusters()[1].Weight = wrapperspb.UInt32(11)
		}, "route 1 of 2 goes to a (weight 90) and b (weight 11) where the TrafficRoute says a (weight 90) and b (weight 10)"),
		Entry("a redirect", func(v *route.VirtualHost, _ *route.RouteConfiguration) {
			v.Routes[1].Action = &route.Route_Redirect{Redirect: &route.RedirectAction{}}
		}, "route 2 of 2: it goes to no cluster"),
		Entry("two virtual hosts", func(_ *route.VirtualHost, c *route.RouteConfiguration) {
			c.VirtualHosts = append(c.VirtualHosts, &route.VirtualHost{Name: "other"})
		}, "it has 2 virtual hosts where the TrafficRoute makes one"),
	)

	It("are all changed where a listener has several filter chains", func() {
		manager := &hcm.HttpConnectionManager{RouteSpecifier: &hcm.HttpConnectionManager_RouteConfig{RouteConfig: table()}}
		l := listenerWith(manager)
		l.DefaultFilterChain = proto.Clone(l.FilterChains[0]).(*listener.FilterChain)
		rs := &xds.ResourceSet{}
		rs.Add(&xds.Resource{Name: "outbound", Resource: l})
		tables, err := xds.FindTables(rs, "outbound", twoEntries())
		Expect(err).NotTo(HaveOccurred())
		Expect(tables.Inject([][]*route.RouteAction_RequestMirrorPolicy{policies("b_mirror"), nil})).To(Succeed())
		for _, chain := range []*listener.FilterChain{l.FilterChains[0], l.DefaultFilterChain} {
			got := &hcm.HttpConnectionManager{}
			Expect(chain.Filters[0].GetTypedConfig().UnmarshalTo(got)).To(Succeed())
			Expect(got.GetRouteConfig().GetVirtualHosts()[0].GetRoutes()[1].GetRoute().GetRequestMirrorPolicies()).To(HaveLen(1))
		}
	})

	It("are changed in a copy where others may have the table", func() {
		shared := table()
		before := proto.Clone(shared)
		rs := rds(shared)
		tables, err := xds.FindTables(rs, "outbound", twoEntries())
		Expect(err).NotTo(HaveOccurred())
		Expect(tables.Inject([][]*route.RouteAction_RequestMirrorPolicy{policies("b_mirror"), nil})).To(Succeed())
		injected := rs.Get(shared, shared.GetName()).Resource.(*route.RouteConfiguration)
		Expect(injected.GetVirtualHosts()[0].GetRoutes()[1].GetRoute().GetRequestMirrorPolicies()).To(HaveLen(1))
		Expect(proto.Equal(shared, before)).To(BeTrue())
	})

	It("are all as they were where one of them cannot be packed", func() {
		rs := rds(table())
		l := rs.Listeners()[0]
		inline := listenerWith(&hcm.HttpConnectionManager{RouteSpecifier: &hcm.HttpConnectionManager_RouteConfig{RouteConfig: table()}})
		l.FilterChains = append(l.FilterChains, inline.GetFilterChains()...)
		before := proto.Clone(l)
		tables, err := xds.FindTables(rs, "outbound", twoEntries())
		Expect(err).NotTo(HaveOccurred())
		Expect(tables.Inject([][]*route.RouteAction_RequestMirrorPolicy{policies("no UTF-8: \xff"), nil})).NotTo(Succeed())
		Expect(proto.Equal(l, before)).To(BeTrue())
		Expect(proto.Equal(rs.Get((*route.RouteConfiguration)(nil), table().GetName()).Resource, table())).To(BeTrue())
	})

	It("do not exist behind a TCP listener", func() {
		rs := &xds.ResourceSet{}
		rs.Add(&xds.Resource{Name: "outbound", Resource: listenerWith(&tcp.TcpProxy{StatPrefix: "a"})})
		_, err := xds.FindTables(rs, "outbound", twoEntries())
		Expect(errors.Is(err, xds.ErrNotHTTP)).To(BeTrue())
	})

	It("cannot be found where listener or table is missing, or scoped", func() {
		_, err := xds.FindTables(&xds.ResourceSet{}, "outbound", twoEntries())
		Expect(err).To(MatchError(ContainSubstring(`no listener "outbound"`)))

		rs := rds(table())
		rs.Remove((*route.RouteConfiguration)(nil), "outbound:a")
		_, err = xds.FindTables(rs, "outbound", twoEntries())
		Expect(err).To(MatchError(ContainSubstring(`no route table "outbound:a"`)))

		rs = &xds.ResourceSet{}
		rs.Add(&xds.Resource{Name: "outbound", Resource: listenerWith(&hcm.HttpConnectionManager{
			RouteSpecifier: &hcm.HttpConnectionManager_ScopedRoutes{},
		})})
		_, err = xds.FindTables(rs, "outbound", twoEntries())
		Expect(err).To(MatchError(ContainSubstring("neither inline nor RDS")))
	})
})
