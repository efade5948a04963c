package xds

import (
	"slices"
	"strings"

	mutation "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// MarkHeader is the header that every copy carries. A request that has it is
// not copied, so that a copy that comes back, over whatever proxies, ends there.
const MarkHeader = "x-kuma-mirror-copy"

// IsMark reports whether the name of a header is that of the mark.
func IsMark(name string) bool { return strings.EqualFold(name, MarkHeader) }

// mark is the mutation that marks a copy. It comes after those of the user, so
// that only removing the mark by its name leaves a copy without it.
func mark(headers *api.TrafficRoute_Http_Modify_Headers) []*mutation.HeaderMutation {
	for _, remove := range headers.GetRemove() {
		if IsMark(remove.GetName()) {
			return nil
		}
	}
	return []*mutation.HeaderMutation{{Action: &mutation.HeaderMutation_Append{Append: &core.HeaderValueOption{
		Header:       &core.HeaderValue{Key: MarkHeader, Value: "1"},
		AppendAction: core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}}}}
}

// marked matches requests that are copies. No TrafficRoute makes such a matcher:
// those have values.
func marked() *route.HeaderMatcher {
	return &route.HeaderMatcher{Name: MarkHeader, HeaderMatchSpecifier: &route.HeaderMatcher_PresentMatch{PresentMatch: true}}
}

// twinOf returns the route that comes before a mirrored one and takes the copies
// from it: the same, without the mirror policies that are ours. A policy of
// Envoy's cannot look at headers itself. Copies are not counted with the
// requests that are to be copied.
func twinOf(r *route.Route, others []*route.RouteAction_RequestMirrorPolicy) *route.Route {
	twin := proto.Clone(r).(*route.Route)
	twin.Match.Headers = append(twin.Match.Headers, marked())
	twin.GetRoute().RequestMirrorPolicies = others
	twin.StatPrefix = ""
	return twin
}

func isTwin(r *route.Route) bool {
	return slices.ContainsFunc(r.GetMatch().GetHeaders(), func(h *route.HeaderMatcher) bool {
		return h.GetName() == MarkHeader && h.GetPresentMatch()
	})
}

// withoutTwins returns the routes that an earlier Inject did not add.
func withoutTwins(routes []*route.Route) []*route.Route {
	return slices.DeleteFunc(slices.Clone(routes), isTwin)
}
