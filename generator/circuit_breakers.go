package generator

import (
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// waitingBytes bounds the bodies of copies that wait for a connection: an
// HTTP/1.1 shadow with all its connections in use has these beside the ones in
// flight.
const waitingBytes = 32 << 20

// breakCircuits bounds the copies in flight. All three bounds are needed:
// HTTP/1.1 runs into connections and pending requests first, HTTP/2 into
// requests. A copy is never retried. Both priorities are bounded, since a
// route's priority is the copy's too.
func (id Identity) breakCircuits(c *cluster.Cluster) {
	limit := id.Limits.MaxConcurrentRequests
	c.CircuitBreakers = &cluster.CircuitBreakers{}
	for _, priority := range []core.RoutingPriority{core.RoutingPriority_DEFAULT, core.RoutingPriority_HIGH} {
		c.CircuitBreakers.Thresholds = append(c.CircuitBreakers.Thresholds, &cluster.CircuitBreakers_Thresholds{
			Priority:           priority,
			MaxConnections:     wrapperspb.UInt32(limit),
			MaxPendingRequests: wrapperspb.UInt32(id.Limits.maxWaiting()),
			MaxRequests:        wrapperspb.UInt32(limit),
			MaxRetries:         wrapperspb.UInt32(0),
			TrackRemaining:     true,
		})
	}
}

// maxWaiting is how many copies may wait for a connection.
func (l Limits) maxWaiting() uint32 {
	if l.MaxRequestBodyBytes == 0 {
		return l.MaxConcurrentRequests
	}
	return min(l.MaxConcurrentRequests, max(1, waitingBytes/l.MaxRequestBodyBytes))
}
