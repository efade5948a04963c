// Package bootstrap is what every Envoy of the standalone control plane starts
// with, wherever the rest of its configuration comes from.
package bootstrap

import (
	"math"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"sigs.k8s.io/yaml"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	overload "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	connections "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
)

// Node is the Envoy that starts.
type Node struct {
	// ID and Cluster are Envoy's node.id and node.cluster.
	ID, Cluster string
	// AdminPort on 127.0.0.1; 0 takes AdminSocket instead.
	AdminPort uint32
	// AdminSocket is the path of a Unix domain socket; without it and
	// AdminPort, Envoy has no admin API.
	AdminSocket string
}

// New returns a bootstrap without any listener, cluster or xDS server.
func New(n Node) (*bootstrap.Bootstrap, error) {
	unlimited, err := anypb.New(&connections.DownstreamConnectionsConfig{
		MaxActiveDownstreamConnections: math.MaxInt64,
	})
	if err != nil {
		return nil, err
	}
	return &bootstrap.Bootstrap{
		Node:  &core.Node{Id: n.ID, Cluster: n.Cluster},
		Admin: n.admin(),
		LayeredRuntime: &bootstrap.LayeredRuntime{Layers: []*bootstrap.RuntimeLayer{
			{
				// As in Kuma: a TrafficRoute's regex may be longer than
				// Envoy's default of 100 instructions.
				Name: "kuma-mirror",
				LayerSpecifier: &bootstrap.RuntimeLayer_StaticLayer{StaticLayer: &structpb.Struct{
					Fields: map[string]*structpb.Value{
						"re2.max_program_size.error_level": structpb.NewNumberValue(math.MaxUint32),
						"re2.max_program_size.warn_level":  structpb.NewNumberValue(1000),
					},
				}},
			},
			{
				// Without it /runtime_modify is refused.
				Name:           "admin",
				LayerSpecifier: &bootstrap.RuntimeLayer_AdminLayer_{AdminLayer: &bootstrap.RuntimeLayer_AdminLayer{}},
			},
		}},
		// No limit is meant; without a monitor that says so Envoy warns at
		// every start.
		OverloadManager: &overload.OverloadManager{ResourceMonitors: []*overload.ResourceMonitor{{
			Name:       "envoy.resource_monitors.global_downstream_max_connections",
			ConfigType: &overload.ResourceMonitor_TypedConfig{TypedConfig: unlimited},
		}}},
	}, nil
}

// YAML returns a bootstrap as `envoy -c` reads it.
func YAML(b *bootstrap.Bootstrap) ([]byte, error) {
	json, err := protojson.Marshal(b)
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(json)
}

func (n Node) admin() *bootstrap.Admin {
	switch {
	case n.AdminPort != 0:
		return &bootstrap.Admin{Address: SocketAddress("127.0.0.1", n.AdminPort)}
	case n.AdminSocket != "":
		return &bootstrap.Admin{Address: &core.Address{Address: &core.Address_Pipe{
			Pipe: &core.Pipe{Path: n.AdminSocket, Mode: 0o600},
		}}}
	default:
		return nil
	}
}

// SocketAddress is a TCP address as Envoy has it.
func SocketAddress(host string, port uint32) *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address:       host,
		PortSpecifier: &core.SocketAddress_PortValue{PortValue: port},
	}}}
}
