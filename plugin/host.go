// Package plugin is the mirror policy: what is valid, which TrafficRoute
// governs an outbound, and Apply, which puts the mirrors of the matched
// TrafficRoutes into a proxy's resources. It runs the same in every host.
package plugin

import (
	"context"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// Host is what the core needs of the control plane it runs in.
type Host interface {
	// BaseCluster builds the cluster called name for the destination's tags
	// exactly as the host builds the cluster of an ordinary outbound:
	// endpoints, TLS, protocol. The cluster is the caller's to change, the
	// endpoints may be shared and are not. tags have no wildcards and always
	// `kuma.io/service`.
	//
	// An error means that this mirror cannot be; it never fails the proxy.
	BaseCluster(ctx context.Context, name string, tags api.Tags) (*BaseCluster, error)
}

// BaseCluster is a shadow's cluster before the protections are added.
type BaseCluster struct {
	Cluster *cluster.Cluster
	// Endpoints of an EDS cluster; nil where Cluster holds them itself.
	Endpoints *endpoint.ClusterLoadAssignment
	// Authority is the host header an external service expects, as host or
	// host:port; empty for a service of the mesh.
	Authority string
}

// Outbound is one service that a proxy calls.
type Outbound struct {
	// Listener is the name of its listener in the ResourceSet.
	Listener string
	// Tags of the outbound; `kuma.io/service` at least.
	Tags api.Tags
	// Route is the TrafficRoute that governs the outbound, as
	// RouteSelector picks it; nil where none does.
	Route *Route
}

// Route is a TrafficRoute and its name.
type Route struct {
	// Key identifies the TrafficRoute in reports.
	Key api.Key
	// Spec as written; wildcards of its destinations are resolved by Apply.
	Spec *api.TrafficRoute
}

// Proxy is what Apply works on beside the resources.
type Proxy struct {
	// Key is the proxy's Dataplane.
	Key       api.Key
	Outbounds []Outbound
}
