package xds

import (
	"slices"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
)

// MirrorsOf returns the clusters that the table's mirror policies name and mirror
// accepts, ordered, each once.
func MirrorsOf(table *route.RouteConfiguration, mirror func(cluster string) bool) []string {
	var clusters []string
	for _, r := range routesOf(table) {
		for _, p := range r.GetRoute().GetRequestMirrorPolicies() {
			if mirror(p.GetCluster()) {
				clusters = append(clusters, p.GetCluster())
			}
		}
	}
	slices.Sort(clusters)
	return slices.Compact(clusters)
}

// WithoutMirrors returns a copy of the table without the mirror policies whose
// clusters are left out: it routes as if those mirrors were at 0 %.
func WithoutMirrors(table *route.RouteConfiguration, leftOut func(cluster string) bool) *route.RouteConfiguration {
	table = proto.Clone(table).(*route.RouteConfiguration)
	for _, r := range routesOf(table) {
		if action := r.GetRoute(); action != nil {
			action.RequestMirrorPolicies = slices.DeleteFunc(action.RequestMirrorPolicies, func(p *route.RouteAction_RequestMirrorPolicy) bool {
				return leftOut(p.GetCluster())
			})
		}
	}
	return table
}

func routesOf(table *route.RouteConfiguration) []*route.Route {
	var routes []*route.Route
	for _, host := range table.GetVirtualHosts() {
		routes = append(routes, host.GetRoutes()...)
	}
	return routes
}
