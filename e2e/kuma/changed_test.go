package kuma_test

import (
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/plugin/carrier"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// outbound is the listener that the policies of these tests are about.
const outbound = "outbound:127.0.0.1:10001"

// changed is a recording in which another plugin changed the route tables of
// the outbound.
func changed(name string, change func(*hcm.HttpConnectionManager)) *xds.ResourceSet {
	GinkgoHelper()
	rs := record(name).resourceSet()
	l := rs.Get((*listener.Listener)(nil), outbound)
	l.Resource = withManagers(l.Resource, change)
	return rs
}

// inRoutes changes the routes of the one virtual host.
func inRoutes(change func([]*route.Route) []*route.Route) func(*hcm.HttpConnectionManager) {
	return func(manager *hcm.HttpConnectionManager) {
		host := manager.GetRouteConfig().GetVirtualHosts()[0]
		host.Routes = change(host.GetRoutes())
	}
}

var _ = Describe("Where another plugin changed the routes", func() {
	DescribeTable("nothing is injected, and the reason is told",
		func(ctx SpecContext, name, reason string, change func(*hcm.HttpConnectionManager)) {
			rs := changed(name, change)
			before := bytesOf(rs)
			r := record(name)
			report := plugin.Apply(ctx, rs, r.proxy(stored(policies(name))), r)
			Expect(bytesOf(rs)).To(Equal(before))
			refused := 0
			for _, o := range report {
				if o.State == plugin.Off {
					continue
				}
				Expect(o.State).To(Equal(plugin.Refused))
				Expect(o.Reason).To(Equal(`listener "` + outbound + `": route table "outbound:backend": ` + reason))
				Expect(o.Cluster).To(BeEmpty())
				refused++
			}
			Expect(refused).To(BeNumerically(">=", 2))
		},
		Entry("by one more", "three-routes", "it has 5 routes where the TrafficRoute makes 4",
			inRoutes(func(routes []*route.Route) []*route.Route {
				first := proto.CloneOf(routes[0])
				first.Match = &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/api/v1/canary"}}
				return append([]*route.Route{first}, routes...)
			})),
		Entry("by one less", "three-routes", "it has 3 routes where the TrafficRoute makes 4",
			inRoutes(func(routes []*route.Route) []*route.Route { return routes[1:] })),
		Entry("in their order", "three-routes",
			`route 1 of 4 matches {"prefix":"/api/v2"} where the TrafficRoute says {"prefix":"/api/v1"}`,
			inRoutes(func(routes []*route.Route) []*route.Route {
				routes[0], routes[1] = routes[1], routes[0]
				return routes
			})),
		Entry("in what one matches", "three-routes",
			`route 2 of 4 matches {"prefix":"/api/v2","headers":[{"name":"x-canary","presentMatch":true}]} where the TrafficRoute says {"prefix":"/api/v2"}`,
			inRoutes(func(routes []*route.Route) []*route.Route {
				routes[1].Match.Headers = []*route.HeaderMatcher{{
					Name: "x-canary", HeaderMatchSpecifier: &route.HeaderMatcher_PresentMatch{PresentMatch: true},
				}}
				return routes
			})),
		Entry("in where one goes", "three-routes",
			"route 3 of 4 goes to backend where the TrafficRoute says backend-154693772bc47249",
			inRoutes(func(routes []*route.Route) []*route.Route {
				routes[2].GetRoute().ClusterSpecifier = &route.RouteAction_Cluster{Cluster: "backend"}
				return routes
			})),
		Entry("in the weights of one", "matches-and-modify",
			"route 7 of 8 goes to backend-154693772bc47249 (weight 80) and backend-5b73b3f4adf20020 (weight 10) where the TrafficRoute says backend-154693772bc47249 (weight 90) and backend-5b73b3f4adf20020 (weight 10)",
			inRoutes(func(routes []*route.Route) []*route.Route {
				routes[6].GetRoute().GetWeightedClusters().Clusters[0].Weight = wrapperspb.UInt32(80)
				return routes
			})),
		Entry("to a redirect", "three-routes",
			"route 4 of 4: it goes to no cluster (*routev3.Route_Redirect)",
			inRoutes(func(routes []*route.Route) []*route.Route {
				routes[3].Action = &route.Route_Redirect{Redirect: &route.RedirectAction{}}
				return routes
			})),
		Entry("to those of several hosts", "three-routes", "it has 2 virtual hosts where the TrafficRoute makes one",
			func(manager *hcm.HttpConnectionManager) {
				table := manager.GetRouteConfig()
				table.VirtualHosts = append(table.VirtualHosts, &route.VirtualHost{Name: "other", Domains: []string{"other"}})
			}),
	)

	It("in what a mirror does not depend on, it is injected and the change stays", func(ctx SpecContext) {
		const name = "three-routes"
		rs := changed(name, inRoutes(func(routes []*route.Route) []*route.Route {
			for _, r := range routes { // as MeshTimeout and MeshRetry do
				r.GetRoute().Timeout = durationpb.New(3e9)
				r.GetRoute().RetryPolicy = &route.RetryPolicy{RetryOn: "5xx"}
			}
			return routes
		}))
		before := bytes(rs.Get((*listener.Listener)(nil), outbound).Resource)
		r := record(name)
		report := plugin.Apply(ctx, rs, r.proxy(stored(policies(name))), r)
		Expect(report.Problems()).To(BeEmpty())
		after := rs.Get((*listener.Listener)(nil), outbound).Resource
		Expect(bytes(after)).NotTo(Equal(before))
		Expect(bytes(withoutMirrors(after))).To(Equal(before))
	})
})

var _ = Describe("Where a carrier is damaged", func() {
	It("its entry has no mirror, and the others have theirs", func(ctx SpecContext) {
		const name = "three-routes"
		r := record(name)
		whole := r.resourceSet()
		plugin.Apply(ctx, whole, r.proxy(stored(policies(name))), r)

		kept := stored(policies(name))
		first := kept[0].Spec.(*api.TrafficRoute).GetConf().GetHttp()[0].GetSplit()
		first[len(first)-1].Destination[carrier.Prefix+"percentage"] = "110"
		first[len(first)-1].Destination[carrier.Prefix+"carrier-fields"] = "1"
		proxy := r.proxy(nil)
		decoded, violations := carrier.DecodeResource(kept[0])
		Expect(violations).To(MatchError(`stored: TrafficRoute "r" in mesh "three-routes": conf.http[0].split[2].destination["mirror.kuma-mirror.io/percentage"]: is 110; must be 0 to 100`))
		proxy.Outbounds[0].Route = &plugin.Route{Key: decoded.Key(), Spec: decoded.Spec.(*api.TrafficRoute)}

		damaged := r.resourceSet()
		report := plugin.Apply(ctx, damaged, proxy, r)
		Expect(report.Problems()).To(BeEmpty(), "its routes are those that Kuma made of it")
		Expect(paths(report)).To(Equal([]api.Path{"conf.http[1].mirror", "conf.http[2].mirror"}))
		Expect(mirroredRoutes(damaged)).To(Equal([]bool{false, true, false, false}))
		Expect(mirroredRoutes(whole)).To(Equal([]bool{true, true, false, false}))
	})
})

func paths(report plugin.Report) []api.Path {
	var all []api.Path
	for _, o := range report {
		all = append(all, o.Path)
	}
	return all
}

// mirroredRoutes says which routes of the outbound have a mirror.
func mirroredRoutes(rs *xds.ResourceSet) []bool {
	GinkgoHelper()
	var mirrored []bool
	withManagers(rs.Get((*listener.Listener)(nil), outbound).Resource, inRoutes(func(routes []*route.Route) []*route.Route {
		for _, r := range routes {
			if takesCopies(r) {
				continue
			}
			mirrored = append(mirrored, slices.ContainsFunc(r.GetRoute().GetRequestMirrorPolicies(), func(p *route.RouteAction_RequestMirrorPolicy) bool {
				return rs.IsMirror(p.GetCluster())
			}))
		}
		return routes
	}))
	return mirrored
}
