package kuma

import (
	"slices"

	envoy_cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	envoy_endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	envoy_listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	envoy_resource "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	core_xds "github.com/kumahq/kuma/v2/pkg/core/xds"
	"github.com/kumahq/kuma/v2/pkg/core/xds/origin"
	"google.golang.org/protobuf/proto"

	"github.com/kuma-mirror/kuma-mirror/generator"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// Origin of all that the plugin adds. Kuma's policies pick clusters by theirs
// and leave these alone.
const Origin origin.Origin = xds.OriginMirror

// set is the part of a proxy's resources that the core works on: the listeners
// of the mirrored outbounds, in which Kuma has their routes, and the clusters
// whose name a mirror cluster could want.
type set struct {
	xds.ResourceSet
	// filters of the listeners and what is in them.
	filters []filter
}

// filter is one and the configuration that it came with.
type filter struct {
	*envoy_listener.Filter
	config *envoy_listener.Filter_TypedConfig
}

func newSet(rs *core_xds.ResourceSet, outbounds []plugin.Outbound) *set {
	s := &set{}
	for name, r := range rs.Resources(envoy_resource.ClusterType) {
		if generator.CouldBeName(name) {
			s.Add(&xds.Resource{Name: name, Origin: string(r.Origin), Resource: r.Resource})
		}
	}
	listeners := rs.Resources(envoy_resource.ListenerType)
	for _, o := range outbounds {
		if r := listeners[o.Listener]; r != nil {
			s.Add(&xds.Resource{Name: o.Listener, Origin: string(r.Origin), Resource: r.Resource})
			s.remember(r.Resource)
		}
	}
	return s
}

// remember takes down what the core puts something else in the place of.
func (s *set) remember(resource proto.Message) {
	listener, ok := resource.(*envoy_listener.Listener)
	if !ok {
		return
	}
	// Kuma makes no default chain, but the core would look into one.
	for _, chain := range append(slices.Clip(listener.GetFilterChains()), listener.GetDefaultFilterChain()) {
		for _, f := range chain.GetFilters() {
			if config, ok := f.GetConfigType().(*envoy_listener.Filter_TypedConfig); ok {
				s.filters = append(s.filters, filter{f, config})
			}
		}
	}
}

// undo gives the listeners back what they had.
func (s *set) undo() {
	for _, f := range s.filters {
		f.ConfigType = f.config
	}
}

// commit adds to rs what the report says was injected; the listeners have it.
func (s *set) commit(rs *core_xds.ResourceSet, report plugin.Report) {
	for _, o := range report {
		if o.State != plugin.Injected {
			continue
		}
		for _, like := range []proto.Message{(*envoy_cluster.Cluster)(nil), (*envoy_endpoint.ClusterLoadAssignment)(nil)} {
			if r := s.Get(like, o.Cluster); r != nil {
				rs.Add(&core_xds.Resource{Name: r.Name, Origin: Origin, Resource: r.Resource})
			}
		}
	}
}
