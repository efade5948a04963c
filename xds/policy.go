package xds

import (
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// Policy returns the request mirror policy of a mirror whose copies go to the
// cluster. authority is the host that an external service expects; empty inside
// the mesh. It returns nil for a mirror of 0 %: Envoy before 1.22 read that as
// 100 % (envoyproxy/envoy#10712), and what is not there cannot be misread.
func Policy(m *api.TrafficRoute_Mirror, cluster, authority string) *route.RouteAction_RequestMirrorPolicy {
	percentage := Percentage(m)
	if percentage == 0 {
		return nil
	}
	policy := &route.RouteAction_RequestMirrorPolicy{
		Cluster:                 cluster,
		RuntimeFraction:         fraction(percentage),
		RequestHeadersMutations: append(headerMutations(m.GetRequestHeaders()), mark(m.GetRequestHeaders())...),
	}
	setHost(policy, m.GetHost(), authority)
	return policy
}

// Percentage returns the share of the requests that m copies, 0 to 100; 100
// where it says none.
func Percentage(m *api.TrafficRoute_Mirror) float64 {
	if m.GetPercentage() == nil {
		return 100
	}
	return m.GetPercentage().GetValue()
}
