package xds

import (
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// setHost decides the copy's host header. Envoy appends "-shadow" unless told
// not to, which breaks every shadow that looks at its host: here that is the
// exception, and the request's own host the rule. authority is the host of an
// external service, which would refuse any other; empty inside the mesh.
func setHost(policy *route.RouteAction_RequestMirrorPolicy, host *api.TrafficRoute_Mirror_Host, authority string) {
	if host.GetSuffix() {
		return
	}
	policy.DisableShadowHostSuffixAppend = true
	policy.HostRewriteLiteral = authority
	if value := host.GetValue(); value != "" {
		policy.HostRewriteLiteral = value
	}
}
