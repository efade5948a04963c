package generate

import (
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// RouteTable is the name of the route table of the outbounds with the given tags.
func RouteTable(outbound api.Tags) string { return "outbound:" + outbound.ClusterName() }

// routeTable is the route table of the outbounds with the given tags: it is the
// same for all of them, since the tags decide which TrafficRoute governs them.
// The name is Kuma's where `kuma.io/service` is the only tag.
func routeTable(outbound api.Tags, entries []entry) *route.RouteConfiguration {
	host := &route.VirtualHost{Name: outbound.Service(), Domains: []string{"*"}}
	for _, e := range entries {
		host.Routes = append(host.Routes, routeOf(e))
	}
	return &route.RouteConfiguration{
		Name:         RouteTable(outbound),
		VirtualHosts: []*route.VirtualHost{host},
		// As in Kuma. A table that came before its clusters would be refused
		// for good otherwise; without, its routes work once they are there.
		ValidateClusters: wrapperspb.Bool(false),
	}
}

func routeOf(e entry) *route.Route {
	requests, responses := e.modify.GetRequestHeaders(), e.modify.GetResponseHeaders()
	return &route.Route{
		Match:                   xds.RouteMatch(e.match),
		Action:                  &route.Route_Route{Route: routeAction(e)},
		RequestHeadersToAdd:     headersToAdd(requests),
		RequestHeadersToRemove:  headersToRemove(requests),
		ResponseHeadersToAdd:    headersToAdd(responses),
		ResponseHeadersToRemove: headersToRemove(responses),
		StatPrefix:              e.stats,
	}
}

func routeAction(e entry) *route.RouteAction {
	action := &route.RouteAction{Timeout: durationpb.New(0)}
	if len(e.destinations) == 1 {
		action.ClusterSpecifier = &route.RouteAction_Cluster{Cluster: e.destinations[0].cluster()}
	} else {
		weighted := &route.WeightedCluster{}
		for _, d := range e.destinations {
			weighted.Clusters = append(weighted.Clusters, &route.WeightedCluster_ClusterWeight{
				Name:   d.cluster(),
				Weight: wrapperspb.UInt32(d.weight),
			})
		}
		action.ClusterSpecifier = &route.RouteAction_WeightedClusters{WeightedClusters: weighted}
	}
	for _, d := range e.destinations {
		if d.service.IsExternal() {
			action.HostRewriteSpecifier = &route.RouteAction_AutoHostRewrite{AutoHostRewrite: wrapperspb.Bool(true)}
		}
	}
	modifyPath(action, e.modify.GetPath())
	modifyHost(action, e.modify.GetHost())
	return action
}

func modifyPath(action *route.RouteAction, path *api.TrafficRoute_Http_Modify_Path) {
	switch t := path.GetType().(type) {
	case *api.TrafficRoute_Http_Modify_Path_RewritePrefix:
		action.PrefixRewrite = t.RewritePrefix
	case *api.TrafficRoute_Http_Modify_Path_Regex:
		action.RegexRewrite = substitution(t.Regex)
	}
}

func modifyHost(action *route.RouteAction, host *api.TrafficRoute_Http_Modify_Host) {
	switch t := host.GetType().(type) {
	case *api.TrafficRoute_Http_Modify_Host_Value:
		action.HostRewriteSpecifier = &route.RouteAction_HostRewriteLiteral{HostRewriteLiteral: t.Value}
	case *api.TrafficRoute_Http_Modify_Host_FromPath:
		action.HostRewriteSpecifier = &route.RouteAction_HostRewritePathRegex{HostRewritePathRegex: substitution(t.FromPath)}
	}
}

func substitution(r *api.TrafficRoute_Http_Modify_RegexReplace) *matcher.RegexMatchAndSubstitute {
	return &matcher.RegexMatchAndSubstitute{
		Pattern:      &matcher.RegexMatcher{Regex: r.GetPattern()},
		Substitution: r.GetSubstitution(),
	}
}

func headersToAdd(h *api.TrafficRoute_Http_Modify_Headers) []*core.HeaderValueOption {
	var out []*core.HeaderValueOption
	for _, add := range h.GetAdd() {
		out = append(out, xds.HeaderToAdd(add))
	}
	return out
}

func headersToRemove(h *api.TrafficRoute_Http_Modify_Headers) []string {
	var out []string
	for _, remove := range h.GetRemove() {
		out = append(out, remove.GetName())
	}
	return out
}
