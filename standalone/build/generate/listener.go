package generate

import (
	"regexp"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	grpcstats "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_stats/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxy "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// Envoy's names of the network filters.
const (
	httpConnectionManager = "envoy.filters.network.http_connection_manager"
	tcpProxyFilter        = "envoy.filters.network.tcp_proxy"
)

func socketAddress(address string, port uint32) *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address:       address,
		PortSpecifier: &core.SocketAddress_PortValue{PortValue: port},
	}}}
}

// tagsMetadata puts the tags under each of the keys.
func tagsMetadata(tags api.Tags, keys ...string) map[string]*structpb.Struct {
	out := make(map[string]*structpb.Struct, len(keys))
	for _, key := range keys {
		fields := make(map[string]*structpb.Value, len(tags))
		for k, v := range tags {
			fields[k] = structpb.NewStringValue(v)
		}
		out[key] = &structpb.Struct{Fields: fields}
	}
	return out
}

var notForStats = regexp.MustCompile(`[^a-zA-Z0-9_-]`)

// statName is the name as statsd and Prometheus take it, as Kuma writes it.
func statName(name string) string { return notForStats.ReplaceAllString(name, "_") }

// filters is a filter chain of the one filter m, HTTP or TCP.
func filters(m proto.Message) ([]*listener.Filter, error) {
	config, err := xds.MarshalAny(m)
	if err != nil {
		return nil, err
	}
	name := tcpProxyFilter
	if _, ok := m.(*hcm.HttpConnectionManager); ok {
		name = httpConnectionManager
	}
	return []*listener.Filter{{Name: name, ConfigType: &listener.Filter_TypedConfig{TypedConfig: config}}}, nil
}

func tcpProxy(service string, destinations []destination) *tcpproxy.TcpProxy {
	p := &tcpproxy.TcpProxy{StatPrefix: statName(service), IdleTimeout: durationpb.New(0)}
	if len(destinations) == 1 {
		p.ClusterSpecifier = &tcpproxy.TcpProxy_Cluster{Cluster: destinations[0].cluster()}
		return p
	}
	weighted := &tcpproxy.TcpProxy_WeightedCluster{}
	for _, d := range destinations {
		weighted.Clusters = append(weighted.Clusters, &tcpproxy.TcpProxy_WeightedCluster_ClusterWeight{
			Name:   d.cluster(),
			Weight: d.weight,
		})
	}
	p.ClusterSpecifier = &tcpproxy.TcpProxy_WeightedClusters{WeightedClusters: weighted}
	return p
}

// httpManager is what inbounds and outbounds have in common.
func httpManager(stats string, protocol api.Protocol) (*hcm.HttpConnectionManager, error) {
	m := &hcm.HttpConnectionManager{
		StatPrefix:                statName(stats),
		CommonHttpProtocolOptions: &core.HttpProtocolOptions{IdleTimeout: durationpb.New(0)},
		InternalAddressConfig: &hcm.HttpConnectionManager_InternalAddressConfig{CidrRanges: []*core.CidrRange{
			cidr("10.0.0.0", 8),
			cidr("192.168.0.0", 16),
			cidr("172.16.0.0", 12),
			cidr("fc00::", 7),
			cidr("fd00::", 8),
			cidr("127.0.0.1", 32),
			cidr("::1", 128),
		}},
	}
	if protocol == api.ProtocolHTTP {
		m.UpgradeConfigs = []*hcm.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}}
	}
	if protocol == api.ProtocolGRPC {
		if err := addHTTPFilter(m, "envoy.filters.http.grpc_stats", &grpcstats.FilterConfig{EmitFilterState: true}); err != nil {
			return nil, err
		}
	}
	return m, addHTTPFilter(m, "envoy.filters.http.router", &router.Router{})
}

func cidr(prefix string, length uint32) *core.CidrRange {
	return &core.CidrRange{AddressPrefix: prefix, PrefixLen: wrapperspb.UInt32(length)}
}

func addHTTPFilter(m *hcm.HttpConnectionManager, name string, config proto.Message) error {
	packed, err := xds.MarshalAny(config)
	if err != nil {
		return err
	}
	m.HttpFilters = append(m.HttpFilters, &hcm.HttpFilter{
		Name:       name,
		ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: packed},
	})
	return nil
}

// outboundHTTP takes its routes from a table of its own. Inline, as in Kuma, a
// changed table would replace the filter chain, and connections that are open
// would go on with the old routes until they drain.
func outboundHTTP(service string, protocol api.Protocol, table string) (*hcm.HttpConnectionManager, error) {
	m, err := httpManager(service, protocol)
	if err != nil {
		return nil, err
	}
	m.RouteSpecifier = &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{
		RouteConfigName: table,
		ConfigSource:    overADS(),
	}}
	m.StreamIdleTimeout = durationpb.New(0)
	return m, nil
}

func overADS() *core.ConfigSource {
	return &core.ConfigSource{
		ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}},
		ResourceApiVersion:    core.ApiVersion_V3,
	}
}

// inboundHTTP has the one route to the application inline, since it never
// changes.
func inboundHTTP(service string, protocol api.Protocol, cluster string) (*hcm.HttpConnectionManager, error) {
	m, err := httpManager(cluster, protocol)
	if err != nil {
		return nil, err
	}
	m.RouteSpecifier = &hcm.HttpConnectionManager_RouteConfig{RouteConfig: &route.RouteConfiguration{
		Name: "inbound:" + service,
		VirtualHosts: []*route.VirtualHost{{
			Name:    service,
			Domains: []string{"*"},
			Routes: []*route.Route{{
				Match: &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/"}},
				Action: &route.Route_Route{Route: &route.RouteAction{
					ClusterSpecifier: &route.RouteAction_Cluster{Cluster: cluster},
					Timeout:          durationpb.New(requestTimeout),
					IdleTimeout:      durationpb.New(streamIdleTimeout),
				}},
			}},
		}},
		// The caller may be a proxy of Kuma's.
		RequestHeadersToRemove: []string{"x-kuma-tags"},
		ValidateClusters:       wrapperspb.Bool(false),
	}}
	m.StreamIdleTimeout = durationpb.New(2 * streamIdleTimeout)
	m.RequestHeadersTimeout = durationpb.New(0)
	m.ForwardClientCertDetails = hcm.HttpConnectionManager_SANITIZE_SET
	m.SetCurrentClientCertDetails = &hcm.HttpConnectionManager_SetCurrentClientCertDetails{Uri: true}
	return m, nil
}
