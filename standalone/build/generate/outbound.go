package generate

import (
	"cmp"
	"fmt"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
)

// destination is a cluster that an outbound sends to.
type destination struct {
	tags    api.Tags
	weight  uint32
	service *mesh.Service // nil where nobody serves it
}

func (d destination) cluster() string { return d.tags.ClusterName() }

// entry is one route of an outbound.
type entry struct {
	match        *api.TrafficRoute_Http_Match
	modify       *api.TrafficRoute_Http_Modify
	destinations []destination
	stats        string // see RouteStats; empty for none
}

// outbounds adds the listeners, route tables, clusters and endpoints of the data
// plane's outbounds and returns what the mirror policy has to know of them.
func (p *proxy) outbounds() ([]plugin.Outbound, error) {
	var out []plugin.Outbound
	for i, o := range p.networking.GetOutbound() {
		outbound, err := p.outbound(o)
		if err != nil {
			return nil, fmt.Errorf("networking.outbound[%d]: %w", i, err)
		}
		out = append(out, outbound)
	}
	return out, nil
}

// OutboundListener is the name of an outbound's listener, as in the report.
func OutboundListener(o *api.Dataplane_Networking_Outbound) string {
	return "outbound:" + mesh.OutboundAddress(o).String()
}

func (p *proxy) outbound(o *api.Dataplane_Networking_Outbound) (plugin.Outbound, error) {
	tags := api.Tags(o.GetTags())
	route := p.route(tags)
	entries, fallback := p.entries(tags, route)
	protocol := commonProtocol(entries)

	chain, err := p.outboundFilters(protocol, tags, entries, fallback)
	if err != nil {
		return plugin.Outbound{}, err
	}
	at := mesh.OutboundAddress(o)
	l := &listener.Listener{
		Name:             OutboundListener(o),
		Address:          socketAddress(at.IP, at.Port),
		FilterChains:     []*listener.FilterChain{{Filters: chain}},
		Metadata:         &core.Metadata{FilterMetadata: tagsMetadata(tags, "io.kuma.tags")},
		TrafficDirection: core.TrafficDirection_OUTBOUND,
	}
	p.add(OriginOutbound, l.GetName(), l)

	for _, e := range entries {
		for _, d := range e.destinations {
			if err := p.addCluster(d, loadBalancer(route), o.GetLimits()); err != nil {
				return plugin.Outbound{}, err
			}
		}
	}
	return plugin.Outbound{Listener: l.GetName(), Tags: tags, Route: route}, nil
}

// route returns the TrafficRoute that governs an outbound, or nil.
func (p *proxy) route(outbound api.Tags) *plugin.Route {
	r := p.routes.For(outbound.Service())
	if r == nil {
		return nil
	}
	return &plugin.Route{Key: r.Key(), Spec: r.Spec.(*api.TrafficRoute)}
}

func loadBalancer(route *plugin.Route) *api.TrafficRoute_LoadBalancer {
	if route == nil {
		return nil
	}
	return route.Spec.GetConf().GetLoadBalancer()
}

// entries returns the routes of an outbound in Envoy's order, and the
// destinations of whatever matches none of conf.http, which is the last of them.
// An outbound that no TrafficRoute governs goes to the service it names.
func (p *proxy) entries(outbound api.Tags, route *plugin.Route) (all []entry, fallback []destination) {
	if route == nil {
		fallback = []destination{p.destination(outbound, 1, outbound)}
		return []entry{{destinations: fallback}}, fallback
	}
	for at, e := range route.Spec.Entries() {
		ds := p.destinations(e.GetSplit(), e.GetDestination(), outbound)
		http, ok := e.(*api.TrafficRoute_Http)
		if !ok {
			fallback = ds
		}
		if len(ds) > 0 {
			all = append(all, entry{
				match: http.GetMatch(), modify: http.GetModify(), destinations: ds,
				stats: routeStats(route.Key, at, e, outbound),
			})
		}
	}
	return all, fallback
}

// destinations are those of a split, or the one destination, that get any
// traffic at all: Envoy has no weight 0.
func (p *proxy) destinations(split []*api.TrafficRoute_Split, one, outbound api.Tags) []destination {
	if len(one) > 0 {
		return []destination{p.destination(one, 1, outbound)}
	}
	var out []destination
	for _, s := range split {
		if weight := s.GetWeight().GetValue(); weight > 0 {
			out = append(out, p.destination(s.GetDestination(), weight, outbound))
		}
	}
	return out
}

func (p *proxy) destination(tags api.Tags, weight uint32, outbound api.Tags) destination {
	tags = tags.Resolve(outbound)
	return destination{tags: tags, weight: weight, service: p.mesh.Service(tags.Service())}
}

// commonProtocol is the most specific protocol that all destinations can be
// taken for.
func commonProtocol(entries []entry) api.Protocol {
	var protocol api.Protocol
	for _, e := range entries {
		for _, d := range e.destinations {
			switch {
			case d.service == nil:
			case protocol == "":
				protocol = d.service.Protocol()
			default:
				protocol = api.CommonProtocol(protocol, d.service.Protocol())
			}
		}
	}
	return cmp.Or(protocol, api.ProtocolTCP)
}

func (p *proxy) outboundFilters(protocol api.Protocol, tags api.Tags, entries []entry, fallback []destination) ([]*listener.Filter, error) {
	if !protocol.IsHTTP() {
		if len(fallback) == 0 {
			return nil, nil // Envoy closes connections to a chain without filters
		}
		return filters(tcpProxy(tags.Service(), fallback))
	}
	table := routeTable(tags, entries)
	if !p.has((*routev3.RouteConfiguration)(nil), table.GetName()) {
		p.add(OriginOutbound, table.GetName(), table)
	}
	manager, err := outboundHTTP(tags.Service(), protocol, table.GetName())
	if err != nil {
		return nil, err
	}
	return filters(manager)
}

// addCluster adds the destination's cluster with its endpoints. Where several
// outbounds send to one destination, load balancer and limits of the first are taken.
func (p *proxy) addCluster(d destination, lb *api.TrafficRoute_LoadBalancer, limits *api.Dataplane_Networking_Outbound_Limits) error {
	name := d.cluster()
	if p.has((*cluster.Cluster)(nil), name) {
		return nil
	}
	c, endpoints, err := p.cluster(name, d.tags, lb)
	if err != nil {
		return err
	}
	limit(c, limits)
	p.add(OriginOutbound, name, c)
	if endpoints != nil {
		p.add(OriginOutbound, name, endpoints)
	}
	return nil
}
