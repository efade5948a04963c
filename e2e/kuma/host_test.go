package kuma_test

import (
	"context"
	"fmt"
	"regexp"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// BaseCluster builds clusters as Kuma does, from what it built for the same
// service: the recorded cluster with another name, the server name of the tags,
// and the endpoints that have them.
func (r *recording) BaseCluster(_ context.Context, name string, tags api.Tags) (*plugin.BaseCluster, error) {
	recorded := r.clusterOf(tags.Service())
	if recorded == nil {
		return nil, fmt.Errorf("Kuma knows no service %q", tags.Service())
	}
	c := proto.CloneOf(recorded)
	c.Name = name
	if c.GetType() != cluster.Cluster_EDS {
		if len(tags) > 1 {
			return nil, fmt.Errorf("no ExternalService has the tags %s", tags)
		}
		c.LoadAssignment.ClusterName = name
		external := c.LoadAssignment.Endpoints[0].LbEndpoints[0].GetEndpoint().GetAddress().GetSocketAddress()
		return &plugin.BaseCluster{Cluster: c, Authority: external.GetAddress()}, nil // on a standard port
	}
	if err := setServerName(c, r.serverName(tags)); err != nil {
		return nil, err
	}
	return &plugin.BaseCluster{Cluster: c, Endpoints: r.endpointsFor(name, tags)}, nil
}

// withHash matches what Kuma's names of clusters end in where a destination has
// more than a service.
var withHash = regexp.MustCompile(`-[0-9a-f]{16}$`)

// clusterOf returns the first recorded cluster of a service, nil where there is
// none.
func (r *recording) clusterOf(service string) *cluster.Cluster {
	for _, name := range sorted(r.clusters) {
		if withHash.ReplaceAllString(name, "") == service {
			return r.clusters[name]
		}
	}
	return nil
}

// serverName is how a zone ingress knows the destination.
func (r *recording) serverName(tags api.Tags) string {
	rest := api.Tags{"mesh": r.mesh}
	for name, value := range tags {
		if name != api.ServiceTag {
			rest[name] = value
		}
	}
	return tags.Service() + "{" + rest.String() + "}"
}

// setServerName sets it where the cluster has TLS.
func setServerName(c *cluster.Cluster, name string) error {
	if c.GetTransportSocket() == nil {
		return nil
	}
	context := &tls.UpstreamTlsContext{}
	if err := c.GetTransportSocket().GetTypedConfig().UnmarshalTo(context); err != nil {
		return err
	}
	context.Sni = name
	value, err := xds.MarshalAny(context)
	c.TransportSocket.ConfigType = &core.TransportSocket_TypedConfig{TypedConfig: value}
	return err
}

// endpointsFor returns the inbounds of the mesh that have the tags.
func (r *recording) endpointsFor(name string, tags api.Tags) *endpoint.ClusterLoadAssignment {
	assignment := &endpoint.ClusterLoadAssignment{ClusterName: name}
	var all []*endpoint.LbEndpoint
	for _, d := range r.dataplanes {
		for _, inbound := range d.Networking.Inbound {
			have := api.Tags{"kuma.io/zone": "default"}
			for name, value := range inbound.Tags {
				have[name] = value
			}
			if tags.Matches(have) {
				all = append(all, r.lbEndpoint(d.Networking.Address, inbound.Port, have))
			}
		}
	}
	if len(all) > 0 {
		assignment.Endpoints = []*endpoint.LocalityLbEndpoints{{
			Locality:    &core.Locality{Zone: "default"},
			LbEndpoints: all,
		}}
	}
	return assignment
}

func (r *recording) lbEndpoint(address string, port uint32, tags api.Tags) *endpoint.LbEndpoint {
	delete(tags, api.ServiceTag)
	return &endpoint.LbEndpoint{
		HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{
			Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
				Address:       address,
				PortSpecifier: &core.SocketAddress_PortValue{PortValue: port},
			}}},
		}},
		Metadata: &core.Metadata{FilterMetadata: map[string]*structpb.Struct{
			"envoy.lb":                     texts(tags),
			"envoy.transport_socket_match": texts(tags),
			"io.kuma.labels": texts(map[string]string{
				"kuma.io/env": "universal", "kuma.io/mesh": r.mesh, "kuma.io/origin": "zone",
				"kuma.io/proxy-type": "sidecar", "kuma.io/zone": "default",
			}),
		}},
		LoadBalancingWeight: wrapperspb.UInt32(1),
	}
}

func texts(m map[string]string) *structpb.Struct {
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for name, value := range m {
		s.Fields[name] = structpb.NewStringValue(value)
	}
	return s
}
