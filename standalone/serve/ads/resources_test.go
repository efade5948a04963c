package ads_test

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/xds"
)

// part is one resource of a proxy, or several that belong together.
type part func(*xds.ResourceSet)

func proxy(parts ...part) *xds.ResourceSet {
	rs := &xds.ResourceSet{}
	for _, p := range parts {
		p(rs)
	}
	return rs
}

// eds is a cluster whose endpoint listens on port.
func eds(name string, port uint32) part { return edsWith(name, port, 1) }

// edsWith is one whose definition differs by its connect timeout.
func edsWith(name string, port uint32, seconds int64) part {
	return func(rs *xds.ResourceSet) {
		edsOnly(name, seconds)(rs)
		rs.Add(&xds.Resource{Name: name, Resource: &endpoint.ClusterLoadAssignment{
			ClusterName: name,
			Endpoints: []*endpoint.LocalityLbEndpoints{{LbEndpoints: []*endpoint.LbEndpoint{{
				HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{Address: address(port)}},
			}}}},
		}})
	}
}

func edsOnly(name string, seconds int64) part {
	return func(rs *xds.ResourceSet) {
		rs.Add(&xds.Resource{Name: name, Resource: &cluster.Cluster{
			Name:                 name,
			ConnectTimeout:       &durationpb.Duration{Seconds: seconds},
			ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS},
			EdsClusterConfig:     &cluster.Cluster_EdsClusterConfig{EdsConfig: viaADS()},
		}})
	}
}

// httpListener is one that fetches the route table.
func httpListener(name, table string) part {
	return func(rs *xds.ResourceSet) {
		rs.Add(listenerOf(name, &hcm.HttpConnectionManager{
			RouteSpecifier: &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{RouteConfigName: table, ConfigSource: viaADS()}},
		}))
	}
}

// inlineListener is one with its route table inside.
func inlineListener(name, to string) part {
	return func(rs *xds.ResourceSet) {
		rs.Add(listenerOf(name, &hcm.HttpConnectionManager{
			RouteSpecifier: &hcm.HttpConnectionManager_RouteConfig{RouteConfig: tableOf(name, to)},
		}))
	}
}

func tcpListener(name, to string) part {
	return func(rs *xds.ResourceSet) {
		rs.Add(listenerOf(name, &tcp.TcpProxy{ClusterSpecifier: &tcp.TcpProxy_Cluster{Cluster: to}}))
	}
}

func table(name, to string) part {
	return func(rs *xds.ResourceSet) { rs.Add(&xds.Resource{Name: name, Resource: tableOf(name, to)}) }
}

func listenerOf(name string, filter proto.Message) *xds.Resource {
	config := &anypb.Any{}
	Expect(anypb.MarshalFrom(config, filter, proto.MarshalOptions{Deterministic: true})).To(Succeed())
	return &xds.Resource{Name: name, Resource: &listener.Listener{
		Name:    name,
		Address: address(10000),
		FilterChains: []*listener.FilterChain{{Filters: []*listener.Filter{{
			Name: "filter", ConfigType: &listener.Filter_TypedConfig{TypedConfig: config},
		}}}},
	}}
}

func tableOf(name, to string) *route.RouteConfiguration {
	return &route.RouteConfiguration{Name: name, VirtualHosts: []*route.VirtualHost{{
		Name: "all", Domains: []string{"*"},
		Routes: []*route.Route{{
			Match:  &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/"}},
			Action: &route.Route_Route{Route: &route.RouteAction{ClusterSpecifier: &route.RouteAction_Cluster{Cluster: to}}},
		}},
	}}}
}

func viaADS() *core.ConfigSource {
	return &core.ConfigSource{ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}}}
}

func address(port uint32) *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address: "127.0.0.1", PortSpecifier: &core.SocketAddress_PortValue{PortValue: port},
	}}}
}

// routed is a proxy with one HTTP listener that routes to one cluster, and
// clusters beside it.
func routed(to string, others ...string) *xds.ResourceSet {
	parts := []part{eds(to, 1), httpListener("in", "table"), table("table", to)}
	for _, o := range others {
		parts = append(parts, eds(o, 1))
	}
	return proxy(parts...)
}
