package xds

import (
	"maps"
	"slices"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// RouteMatch returns the Envoy match that Kuma makes of an entry's match: the
// path or, without one, every path; headers sorted by name, the method last.
// nil is the match of the default route.
func RouteMatch(m *api.TrafficRoute_Http_Match) *route.RouteMatch {
	out := &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/"}}
	switch path := m.GetPath().GetMatcherType().(type) {
	case *api.TrafficRoute_Http_Match_StringMatcher_Prefix:
		out.PathSpecifier = &route.RouteMatch_Prefix{Prefix: path.Prefix}
	case *api.TrafficRoute_Http_Match_StringMatcher_Exact:
		out.PathSpecifier = &route.RouteMatch_Path{Path: path.Exact}
	case *api.TrafficRoute_Http_Match_StringMatcher_Regex:
		out.PathSpecifier = &route.RouteMatch_SafeRegex{SafeRegex: &matcher.RegexMatcher{Regex: path.Regex}}
	}
	for _, name := range slices.Sorted(maps.Keys(m.GetHeaders())) {
		out.Headers = append(out.Headers, headerMatcher(name, m.GetHeaders()[name]))
	}
	if m.GetMethod() != nil {
		out.Headers = append(out.Headers, headerMatcher(":method", m.GetMethod()))
	}
	return out
}

func headerMatcher(name string, m *api.TrafficRoute_Http_Match_StringMatcher) *route.HeaderMatcher {
	out := &route.HeaderMatcher{Name: name}
	switch value := m.GetMatcherType().(type) {
	case *api.TrafficRoute_Http_Match_StringMatcher_Prefix:
		//lint:ignore SA1019 Kuma emits the deprecated field, and tables are compared with it
		out.HeaderMatchSpecifier = &route.HeaderMatcher_PrefixMatch{PrefixMatch: value.Prefix}
	case *api.TrafficRoute_Http_Match_StringMatcher_Exact:
		out.HeaderMatchSpecifier = &route.HeaderMatcher_StringMatch{StringMatch: &matcher.StringMatcher{
			MatchPattern: &matcher.StringMatcher_Exact{Exact: value.Exact},
		}}
	case *api.TrafficRoute_Http_Match_StringMatcher_Regex:
		out.HeaderMatchSpecifier = &route.HeaderMatcher_SafeRegexMatch{
			//lint:ignore SA1019 Kuma emits the deprecated field, and tables are compared with it
			SafeRegexMatch: &matcher.RegexMatcher{Regex: value.Regex},
		}
	}
	return out
}
