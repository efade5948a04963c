package generate

import (
	"fmt"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxy "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
)

// inbounds adds a listener and a cluster for each inbound, except where the
// application itself listens on the inbound's address and port.
func (p *proxy) inbounds() error {
	for i, inbound := range p.networking.GetInbound() {
		if mesh.ApplicationAddress(p.networking, inbound) == mesh.InboundAddress(p.networking, inbound) {
			continue
		}
		if err := p.inbound(inbound); err != nil {
			return fmt.Errorf("networking.inbound[%d]: %w", i, err)
		}
	}
	return nil
}

func (p *proxy) inbound(inbound *api.Dataplane_Networking_Inbound) error {
	tags := api.Tags(inbound.GetTags())
	protocol := api.ParseProtocol(tags[api.ProtocolTag])
	at := mesh.InboundAddress(p.networking, inbound)
	name := "inbound:" + at.String()

	local, err := p.applicationCluster(name, mesh.ApplicationAddress(p.networking, inbound), protocol)
	if err != nil {
		return err
	}
	chain, err := inboundFilters(tags.Service(), protocol, local)
	if err != nil {
		return err
	}
	p.add(OriginInbound, name, &listener.Listener{
		Name:             name,
		Address:          socketAddress(at.IP, at.Port),
		FilterChains:     []*listener.FilterChain{{Filters: chain}},
		Metadata:         &core.Metadata{FilterMetadata: tagsMetadata(tags, "io.kuma.tags")},
		TrafficDirection: core.TrafficDirection_INBOUND,
		EnableReusePort:  wrapperspb.Bool(true),
	})
	return nil
}

func inboundFilters(service string, protocol api.Protocol, cluster string) ([]*listener.Filter, error) {
	if !protocol.IsHTTP() {
		return filters(&tcpproxy.TcpProxy{
			StatPrefix:       statName(cluster),
			ClusterSpecifier: &tcpproxy.TcpProxy_Cluster{Cluster: cluster},
			IdleTimeout:      durationpb.New(idleTimeout),
		})
	}
	m, err := inboundHTTP(service, protocol, cluster)
	if err != nil {
		return nil, err
	}
	return filters(m)
}

// applicationCluster adds the cluster of the application at the address and
// returns its name: Kuma's, localhost:PORT, or that of the listener where
// another inbound has a different application on that port.
func (p *proxy) applicationCluster(listener string, at mesh.Address, protocol api.Protocol) (string, error) {
	name := fmt.Sprintf("localhost:%d", at.Port)
	c, err := localCluster(name, at, protocol)
	if err != nil {
		return "", err
	}
	if have := p.resources.Get(c, name); have != nil && !proto.Equal(have.Resource, c) {
		name = listener
		if c, err = localCluster(name, at, protocol); err != nil {
			return "", err
		}
	}
	p.add(OriginInbound, name, c)
	return name, nil
}

func localCluster(name string, at mesh.Address, protocol api.Protocol) (*cluster.Cluster, error) {
	c, err := newCluster(name, protocol)
	if err != nil {
		return nil, err
	}
	c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_STATIC}
	c.LoadAssignment = assignment(name, []*endpoint.LbEndpoint{{
		HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{Address: socketAddress(at.IP, at.Port)}},
	}})
	return c, nil
}
