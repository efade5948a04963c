package kuma

import (
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"
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
	// refused are the listeners that the proxy's Envoy did not take with
	// their mirrors.
	refused map[string]error
}

// filter is one and the configuration that it came with.
type filter struct {
	*envoy_listener.Filter
	config *envoy_listener.Filter_TypedConfig
}

func newSet(rs *core_xds.ResourceSet, work work, retrial *retrial) *set {
	s := &set{refused: map[string]error{}}
	for name, r := range rs.Resources(envoy_resource.ClusterType) {
		if generator.CouldBeName(name) {
			s.Add(&xds.Resource{Name: name, Origin: string(r.Origin), Resource: r.Resource})
		}
	}
	listeners := rs.Resources(envoy_resource.ListenerType)
	for _, o := range work.outbounds {
		r := listeners[o.Listener]
		if r == nil {
			continue
		}
		digest := xxhash.New()
		filters := filtersOf(r.Resource)
		for _, f := range filters {
			digest.Write(f.config.TypedConfig.GetValue())
		}
		digest.Write(work.confs[o.Listener])
		if err := retrial.try(resource{envoy_resource.ListenerType, o.Listener}, digest.Sum64()); err != nil {
			s.refused[o.Listener] = err
			continue
		}
		s.Add(&xds.Resource{Name: o.Listener, Origin: string(r.Origin), Resource: r.Resource})
		s.filters = append(s.filters, filters...)
	}
	return s
}

// filtersOf a listener, in which the core puts something else in the place of
// their configuration.
func filtersOf(resource proto.Message) []filter {
	listener, ok := resource.(*envoy_listener.Listener)
	if !ok {
		return nil
	}
	var filters []filter
	// Kuma makes no default chain, but the core would look into one.
	for _, chain := range append(slices.Clip(listener.GetFilterChains()), listener.GetDefaultFilterChain()) {
		for _, f := range chain.GetFilters() {
			if config, ok := f.GetConfigType().(*envoy_listener.Filter_TypedConfig); ok {
				filters = append(filters, filter{f, config})
			}
		}
	}
	return filters
}

// explain gives the mirrors of refused listeners the Envoy's reason: the core has
// not found those listeners.
func (s *set) explain(report plugin.Report) {
	for i, o := range report {
		if err := s.refused[o.Listener]; err != nil && o.State == plugin.Refused {
			report[i].State, report[i].Reason = plugin.Failed, fmt.Sprintf("listener %q with its mirrors: %v", o.Listener, err)
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
