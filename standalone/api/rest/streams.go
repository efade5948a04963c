package rest

import (
	"sync"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
)

// streams counts what Envoys answer on their xDS streams. It is an observer of
// the host.
type streams struct {
	mu     sync.Mutex
	byNode map[string]subscriptionStatus
	// open counts the streams of each node: one that is broken may end after
	// the next has begun.
	open map[string]int
}

func (s *streams) status(node string) subscriptionStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byNode[node]
}

// Event implements host.Observer.
func (s *streams) Event(e ads.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.byNode[e.Node]
	switch e.Kind {
	case ads.Connected:
		status = subscriptionStatus{}
		s.open[e.Node]++
	case ads.Disconnected:
		if s.open[e.Node]--; s.open[e.Node] <= 0 {
			delete(s.open, e.Node)
			delete(s.byNode, e.Node)
		}
		return
	case ads.Acknowledged:
		status.Total.Sent++
		status.Total.Acknowledged++
		status.LastUpdateTime = e.Time.UTC()
	case ads.Refused:
		status.Total.Sent++
		status.Total.Rejected++
		status.LastUpdateTime = e.Time.UTC()
	}
	s.byNode[e.Node] = status
}

// Updated, Generated and Removed implement host.Observer.
func (s *streams) Updated([]*api.Resource)  {}
func (s *streams) Generated(host.Generated) {}
func (s *streams) Removed(api.Key)          {}
