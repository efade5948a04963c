package kuma_test

import (
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kuma-mirror/kuma-mirror/xds"
)

// withManagers returns a listener whose HTTP connection managers are changed;
// what is no listener is returned as it is.
func withManagers(m proto.Message, change func(*hcm.HttpConnectionManager)) proto.Message {
	GinkgoHelper()
	l, ok := proto.Clone(m).(*listener.Listener)
	if !ok {
		return m
	}
	for _, chain := range l.GetFilterChains() {
		for _, filter := range chain.GetFilters() {
			manager := &hcm.HttpConnectionManager{}
			if !filter.GetTypedConfig().MessageIs(manager) {
				continue
			}
			Expect(filter.GetTypedConfig().UnmarshalTo(manager)).To(Succeed())
			change(manager)
			value, err := xds.MarshalAny(manager)
			Expect(err).NotTo(HaveOccurred())
			filter.ConfigType = &listener.Filter_TypedConfig{TypedConfig: value}
		}
	}
	return l
}

// takesCopies says whether a route is there for copies alone.
func takesCopies(r *route.Route) bool {
	return slices.ContainsFunc(r.GetMatch().GetHeaders(), func(h *route.HeaderMatcher) bool {
		return h.GetName() == xds.MarkHeader && h.GetPresentMatch()
	})
}

// withoutMirrors takes the mirror policies out of a listener's routes, and the
// routes that are there for copies.
func withoutMirrors(m proto.Message) proto.Message {
	GinkgoHelper()
	return withManagers(m, func(manager *hcm.HttpConnectionManager) {
		for _, host := range manager.GetRouteConfig().GetVirtualHosts() {
			host.Routes = slices.DeleteFunc(host.GetRoutes(), takesCopies)
			for _, r := range host.GetRoutes() {
				if action := r.GetRoute(); action != nil {
					action.RequestMirrorPolicies = nil
				}
			}
		}
	})
}

// bootstrapOf is a configuration of all the resources, with an ADS server to get
// secrets and endpoints from. Kuma has Envoy take routes to clusters that are
// not there; here they would be mistakes.
func bootstrapOf(rs *xds.ResourceSet) *bootstrap.Bootstrap {
	GinkgoHelper()
	b := &bootstrap.Bootstrap{
		Node: &core.Node{Id: "client", Cluster: "client"},
		DynamicResources: &bootstrap.Bootstrap_DynamicResources{AdsConfig: &core.ApiConfigSource{
			ApiType:             core.ApiConfigSource_GRPC,
			TransportApiVersion: core.ApiVersion_V3,
			GrpcServices: []*core.GrpcService{{TargetSpecifier: &core.GrpcService_EnvoyGrpc_{
				EnvoyGrpc: &core.GrpcService_EnvoyGrpc{ClusterName: "ads"},
			}}},
		}},
		StaticResources: &bootstrap.Bootstrap_StaticResources{
			Clusters: append(rs.Clusters(), &cluster.Cluster{Name: "ads", ConnectTimeout: durationpb.New(1e9)}),
		},
	}
	for _, l := range rs.Listeners() {
		checked := withManagers(l, func(manager *hcm.HttpConnectionManager) {
			if table := manager.GetRouteConfig(); table != nil {
				table.ValidateClusters = nil
			}
		})
		b.StaticResources.Listeners = append(b.StaticResources.Listeners, checked.(*listener.Listener))
	}
	return b
}
