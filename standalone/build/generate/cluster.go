package generate

import (
	"math"
	"net"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// Kuma's timeouts where no policy sets others.
const (
	connectTimeout    = 5 * time.Second
	idleTimeout       = time.Hour
	streamIdleTimeout = 30 * time.Minute
	requestTimeout    = 15 * time.Second
)

const httpOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

// cluster builds the cluster of a destination under the given name. The
// endpoints of a service of the mesh come beside it, over EDS; a cluster of
// ExternalServices holds its own. lb may be nil.
func (p *proxy) cluster(name string, tags api.Tags, lb *api.TrafficRoute_LoadBalancer) (*cluster.Cluster, *endpoint.ClusterLoadAssignment, error) {
	service := p.mesh.Service(tags.Service())
	c, err := newCluster(name, service.Protocol())
	if err != nil {
		return nil, nil, err
	}
	if service.IsExternal() {
		return c, nil, p.external(c, service.External(tags))
	}
	c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_EDS}
	c.EdsClusterConfig = &cluster.Cluster_EdsClusterConfig{EdsConfig: overADS()}
	balance(c, lb)
	return c, loadAssignment(name, service.Endpoints(tags)), nil
}

// newCluster is what all clusters have in common; discovery and endpoints are
// left to the caller.
func newCluster(name string, protocol api.Protocol) (*cluster.Cluster, error) {
	c := &cluster.Cluster{
		Name:           name,
		ConnectTimeout: durationpb.New(connectTimeout),
	}
	limit(c, nil)
	if stats := statName(name); stats != name {
		c.AltStatName = stats
	}
	if !protocol.IsHTTP() {
		return c, nil
	}
	options, err := xds.MarshalAny(protocolOptions(protocol))
	if err != nil {
		return nil, err
	}
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpOptions: options}
	return c, nil
}

// limit bounds what is open at once. Without limits of an outbound there are none:
// Envoy's own, 1024 of each, would be reached by the primary of many clients.
func limit(c *cluster.Cluster, limits *api.Dataplane_Networking_Outbound_Limits) {
	value := func(configured *wrapperspb.UInt32Value) *wrapperspb.UInt32Value {
		if configured != nil {
			return configured
		}
		return wrapperspb.UInt32(math.MaxUint32)
	}
	c.CircuitBreakers = &cluster.CircuitBreakers{Thresholds: []*cluster.CircuitBreakers_Thresholds{{
		MaxConnections:     value(limits.GetMaxConnections()),
		MaxPendingRequests: value(limits.GetMaxPendingRequests()),
		MaxRequests:        value(limits.GetMaxRequests()),
		TrackRemaining:     true,
	}}}
}

// protocolOptions has HTTP/1.1 for `http`: what listens there is the
// application, and not a sidecar that is known to speak HTTP/2.
func protocolOptions(protocol api.Protocol) *upstream.HttpProtocolOptions {
	config := &upstream.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &upstream.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
			HttpProtocolOptions: &core.Http1ProtocolOptions{},
		},
	}
	if protocol.IsHTTP2() {
		config.ProtocolConfig = &upstream.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
			Http2ProtocolOptions: &core.Http2ProtocolOptions{},
		}
	}
	common := &core.HttpProtocolOptions{
		IdleTimeout:           durationpb.New(idleTimeout),
		MaxConnectionDuration: durationpb.New(0),
		MaxStreamDuration:     durationpb.New(0),
	}
	if protocol == api.ProtocolGRPC {
		common = &core.HttpProtocolOptions{IdleTimeout: durationpb.New(0)}
	}
	return &upstream.HttpProtocolOptions{
		CommonHttpProtocolOptions: common,
		UpstreamProtocolOptions: &upstream.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: config,
		},
	}
}

func balance(c *cluster.Cluster, lb *api.TrafficRoute_LoadBalancer) {
	switch t := lb.GetLbType().(type) {
	case *api.TrafficRoute_LoadBalancer_LeastRequest_:
		c.LbPolicy = cluster.Cluster_LEAST_REQUEST
		c.LbConfig = &cluster.Cluster_LeastRequestLbConfig_{LeastRequestLbConfig: &cluster.Cluster_LeastRequestLbConfig{
			ChoiceCount: wrapperspb.UInt32(max(t.LeastRequest.GetChoiceCount(), 2)),
		}}
	case *api.TrafficRoute_LoadBalancer_RingHash_:
		ring := &cluster.Cluster_RingHashLbConfig{HashFunction: cluster.Cluster_RingHashLbConfig_HashFunction(
			cluster.Cluster_RingHashLbConfig_HashFunction_value[t.RingHash.GetHashFunction()],
		)}
		if size := t.RingHash.GetMinRingSize(); size > 0 {
			ring.MinimumRingSize = wrapperspb.UInt64(size)
		}
		if size := t.RingHash.GetMaxRingSize(); size > 0 {
			ring.MaximumRingSize = wrapperspb.UInt64(size)
		}
		c.LbPolicy = cluster.Cluster_RING_HASH
		c.LbConfig = &cluster.Cluster_RingHashLbConfig_{RingHashLbConfig: ring}
	case *api.TrafficRoute_LoadBalancer_Random_:
		c.LbPolicy = cluster.Cluster_RANDOM
	case *api.TrafficRoute_LoadBalancer_Maglev_:
		c.LbPolicy = cluster.Cluster_MAGLEV
	}
}

// external completes the cluster of ExternalServices.
func (p *proxy) external(c *cluster.Cluster, endpoints []mesh.ExternalEndpoint) error {
	c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_STATIC}
	c.LoadAssignment = externalAssignment(c.GetName(), endpoints)
	for _, e := range endpoints {
		if net.ParseIP(e.Host) == nil {
			c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_STRICT_DNS}
			c.DnsLookupFamily = p.lookupFamily()
		}
		if e.TLS == nil {
			continue
		}
		socket, err := transportSocket(e)
		if err != nil {
			return err
		}
		c.TransportSocketMatches = append(c.TransportSocketMatches, &cluster.Cluster_TransportSocketMatch{
			Name:            e.Host,
			Match:           tagsMetadata(withoutService(e.Tags), transportSocketMatch)[transportSocketMatch],
			TransportSocket: socket,
		})
	}
	return nil
}

func (p *proxy) lookupFamily() cluster.Cluster_DnsLookupFamily {
	if ip := net.ParseIP(p.networking.GetAddress()); ip != nil && ip.To4() == nil {
		return cluster.Cluster_AUTO
	}
	return cluster.Cluster_V4_ONLY
}
