package generate

import (
	"maps"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
)

// Metadata of an endpoint that Envoy itself reads.
const (
	lbMetadata           = "envoy.lb"
	transportSocketMatch = "envoy.transport_socket_match"
)

func loadAssignment(cluster string, endpoints []mesh.Endpoint) *endpoint.ClusterLoadAssignment {
	var all []*endpoint.LbEndpoint
	for _, e := range endpoints {
		all = append(all, lbEndpoint(e.Address, e.Port, e.Tags, e.Weight))
	}
	return assignment(cluster, all)
}

func externalAssignment(cluster string, endpoints []mesh.ExternalEndpoint) *endpoint.ClusterLoadAssignment {
	var all []*endpoint.LbEndpoint
	for _, e := range endpoints {
		all = append(all, lbEndpoint(e.Host, e.Port, e.Tags, 1))
	}
	return assignment(cluster, all)
}

func assignment(cluster string, endpoints []*endpoint.LbEndpoint) *endpoint.ClusterLoadAssignment {
	a := &endpoint.ClusterLoadAssignment{ClusterName: cluster}
	if len(endpoints) > 0 {
		a.Endpoints = []*endpoint.LocalityLbEndpoints{{LbEndpoints: endpoints}}
	}
	return a
}

func lbEndpoint(address string, port uint32, tags api.Tags, weight uint32) *endpoint.LbEndpoint {
	e := &endpoint.LbEndpoint{
		HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{
			Address: socketAddress(address, port),
		}},
		LoadBalancingWeight: wrapperspb.UInt32(weight),
	}
	if rest := withoutService(tags); len(rest) > 0 {
		e.Metadata = &core.Metadata{FilterMetadata: tagsMetadata(rest, lbMetadata, transportSocketMatch)}
	}
	return e
}

// withoutService leaves out the tag that the cluster's name says already.
func withoutService(tags api.Tags) api.Tags {
	rest := maps.Clone(tags)
	delete(rest, api.ServiceTag)
	return rest
}
