package envoy

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	httpoptions "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	base "github.com/kuma-mirror/kuma-mirror/standalone/build/bootstrap"
)

// xdsCluster cannot be the name of a service's cluster: no tag value has a
// slash.
const xdsCluster = "kuma-mirror/xds"

// BootstrapConfig is what an Envoy has to know before it asks the host for the
// rest.
type BootstrapConfig struct {
	NodeID      string
	NodeCluster string
	// XDSAddress of the host, as host:port.
	XDSAddress string
	// Security of the connection to it.
	Security Security
	// SecretsDir has the secrets of Security, which Envoy then follows; "" makes
	// it read the files of Security, once.
	SecretsDir string
	// AdminPort on 127.0.0.1; 0 takes AdminSocket instead.
	AdminPort uint32
	// AdminSocket is the path of a Unix domain socket; without it and
	// AdminPort, Envoy has no admin API.
	AdminSocket string
}

// NewBootstrap returns the configuration an Envoy starts with: everything else
// comes from the host over one delta ADS stream. Its stats go there, too.
func NewBootstrap(c BootstrapConfig) (*bootstrap.Bootstrap, error) {
	xds, err := newXDSCluster(c.XDSAddress)
	if err != nil {
		return nil, err
	}
	if err := secureXDS(xds, c.XDSAddress, c.Security, c.SecretsDir); err != nil {
		return nil, err
	}
	b, err := base.New(base.Node{ID: c.NodeID, Cluster: c.NodeCluster, AdminPort: c.AdminPort, AdminSocket: c.AdminSocket})
	if err != nil {
		return nil, err
	}
	ads := func() *core.ConfigSource {
		return &core.ConfigSource{
			ResourceApiVersion:    core.ApiVersion_V3,
			ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}},
			// Wait for the host as long as it takes: an Envoy that came up
			// without listeners would look ready.
			InitialFetchTimeout: durationpb.New(0),
		}
	}
	b.DynamicResources = &bootstrap.Bootstrap_DynamicResources{
		LdsConfig: ads(),
		CdsConfig: ads(),
		AdsConfig: &core.ApiConfigSource{
			ApiType:                   core.ApiConfigSource_DELTA_GRPC,
			TransportApiVersion:       core.ApiVersion_V3,
			SetNodeOnFirstMessageOnly: true,
			GrpcServices: []*core.GrpcService{{
				TargetSpecifier: &core.GrpcService_EnvoyGrpc_{
					EnvoyGrpc: &core.GrpcService_EnvoyGrpc{
						ClusterName: xdsCluster,
						// Envoy's own bounds, 500ms to 30s, leave a
						// restarted host without its proxies for long.
						RetryPolicy: &core.RetryPolicy{RetryBackOff: &core.BackoffStrategy{
							BaseInterval: durationpb.New(100 * time.Millisecond),
							MaxInterval:  durationpb.New(2 * time.Second),
						}},
					},
				},
			}},
		},
	}
	b.StaticResources = &bootstrap.Bootstrap_StaticResources{Clusters: []*cluster.Cluster{xds}}
	if err := sendStats(b); err != nil {
		return nil, err
	}
	return b, nil
}

func newXDSCluster(address string) (*cluster.Cluster, error) {
	host, port, err := splitAddress(address)
	if err != nil {
		return nil, err
	}
	// A name may stand for addresses of both families of which the host listens
	// on one, as localhost does: with all of them Envoy tries one after the
	// other.
	discovery, family := cluster.Cluster_LOGICAL_DNS, cluster.Cluster_ALL
	if net.ParseIP(host) != nil {
		discovery, family = cluster.Cluster_STATIC, cluster.Cluster_AUTO
	}
	http2, err := anypb.New(&httpoptions.HttpProtocolOptions{
		UpstreamProtocolOptions: &httpoptions.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &httpoptions.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &httpoptions.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
					Http2ProtocolOptions: &core.Http2ProtocolOptions{
						// A host that vanished without a FIN is noticed.
						ConnectionKeepalive: &core.KeepaliveSettings{
							Interval: durationpb.New(10 * time.Second),
							Timeout:  durationpb.New(5 * time.Second),
						},
					},
				},
			},
		},
	})
	if err != nil {
		return nil, err
	}
	return &cluster.Cluster{
		Name:                 xdsCluster,
		AltStatName:          XDSStatName,
		ClusterDiscoveryType: &cluster.Cluster_Type{Type: discovery},
		DnsLookupFamily:      family,
		ConnectTimeout:       durationpb.New(time.Second),
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2,
		},
		UpstreamConnectionOptions: &cluster.UpstreamConnectionOptions{
			TcpKeepalive: &core.TcpKeepalive{
				KeepaliveProbes:   wrapperspb.UInt32(3),
				KeepaliveTime:     wrapperspb.UInt32(10),
				KeepaliveInterval: wrapperspb.UInt32(10),
			},
		},
		LoadAssignment: &endpoint.ClusterLoadAssignment{
			ClusterName: xdsCluster,
			Endpoints: []*endpoint.LocalityLbEndpoints{{
				LbEndpoints: []*endpoint.LbEndpoint{{
					HostIdentifier: &endpoint.LbEndpoint_Endpoint{
						Endpoint: &endpoint.Endpoint{Address: base.SocketAddress(host, port)},
					},
				}},
			}},
		},
	}, nil
}

func splitAddress(address string) (host string, port uint32, err error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return "", 0, fmt.Errorf("xDS address %q: has to be host:port, such as 127.0.0.1:5678", address)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("xDS address %q: the port has to be 1 to 65535", address)
	}
	return host, uint32(n), nil
}
