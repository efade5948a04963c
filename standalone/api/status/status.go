// Package status says how each mirror does: whether it copies requests, how
// many, what is dropped and why.
//
// What an Envoy does it says itself: its bootstrap lets it send its stats every
// few seconds over the connection it has its configuration from. Of those the
// package keeps the few that are about mirrors: counters of mirror clusters, and
// of the routes they copy from, which have a stat_prefix for that.
package status

import (
	"context"
	"sync"
	"time"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/envoy"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// Status gathers what Envoys count. Its methods may be called from any
// goroutine.
type Status struct {
	host  proxies
	now   func() time.Time
	begun time.Time
	// perMessage is how many metrics a message has that others follow.
	perMessage int

	mu sync.Mutex // guards what follows; never taken while a proxy's is held
	// proxies by the node ids of their Envoys.
	byNode   map[string]*proxy
	policies map[api.Key]*policy
	// populated has the number of data planes of each mesh.
	populated map[string]int
}

// proxies is what Status has to know of the host.
type proxies interface {
	Proxy(dataplane api.Key) ads.ProxyStatus
	Generate(ctx context.Context, dataplane api.Key) (*xds.ResourceSet, plugin.Report, error)
}

// policy is a TrafficRoute with mirrors.
type policy struct {
	resource *api.Resource
	// rows is how many rows are its; without any, since says since when.
	rows  int
	since time.Time
}

// New returns the Status of a host, which does not serve yet.
func New(h *host.Host) *Status {
	s := newStatus(h, time.Now)
	h.Observe(s)
	h.AddService(s.register)
	return s
}

func newStatus(h proxies, now func() time.Time) *Status {
	return &Status{
		host: h, now: now, begun: now(), perMessage: envoy.MetricsPerMessage,
		byNode: map[string]*proxy{}, policies: map[api.Key]*policy{}, populated: map[string]int{},
	}
}

// Updated implements host.Observer.
func (s *Status) Updated(resources []*api.Resource) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.populated = map[string]int{}
	seen := map[api.Key]bool{}
	for _, r := range resources {
		switch spec := r.Spec.(type) {
		case *api.Dataplane:
			s.populated[r.Meta.Mesh]++
		case *api.TrafficRoute:
			if _, paths := mirrorsOf(spec); len(paths) == 0 {
				continue
			}
			seen[r.Key()] = true
			if s.policies[r.Key()] == nil {
				s.policies[r.Key()] = &policy{since: now}
			}
			s.policies[r.Key()].resource = r
		}
	}
	for key := range s.policies {
		if !seen[key] {
			delete(s.policies, key)
		}
	}
}

// Generated implements host.Observer.
func (s *Status) Generated(g host.Generated) {
	now := s.now()
	key := g.Dataplane.Key()
	s.mu.Lock()
	node := mesh.NodeID(key)
	p := s.byNode[node]
	if p == nil {
		p = &proxy{key: key, wanted: map[string]bool{}}
		s.byNode[node] = p
	}
	specs := map[api.Key]*api.TrafficRoute{}
	for _, o := range g.Report {
		if policy := s.policies[o.Policy]; policy != nil {
			specs[o.Policy] = policy.resource.Spec.(*api.TrafficRoute)
		}
	}
	s.mu.Unlock()

	p.mu.Lock()
	before := p.policies()
	p.configure(g, func(policy api.Key) *api.TrafficRoute { return specs[policy] }, now)
	p.evaluate(now, s.host)
	after := p.policies()
	p.mu.Unlock()
	s.recount(before, after, now)
}

// Removed implements host.Observer.
func (s *Status) Removed(dataplane api.Key) {
	now := s.now()
	s.mu.Lock()
	node := mesh.NodeID(dataplane)
	p := s.byNode[node]
	delete(s.byNode, node)
	s.mu.Unlock()
	if p == nil {
		return
	}
	p.mu.Lock()
	before := p.policies()
	p.mu.Unlock()
	s.recount(before, nil, now)
}

// Event implements host.Observer.
func (s *Status) Event(e ads.Event) {
	if p := s.proxy(e.Node); p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.evaluate(s.now(), s.host)
	}
}

func (s *Status) proxy(node string) *proxy {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byNode[node]
}

// recount takes in how many rows a data plane had, and has, of each policy.
func (s *Status) recount(before, after map[api.Key]int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, n := range before {
		if p := s.policies[key]; p != nil {
			if p.rows -= n; p.rows == 0 {
				p.since = now
			}
		}
	}
	for key, n := range after {
		if p := s.policies[key]; p != nil {
			p.rows += n
		}
	}
}

// policies counts the rows of each.
func (p *proxy) policies() map[api.Key]int {
	n := map[api.Key]int{}
	for _, r := range p.rows {
		n[r.id.policy]++
	}
	return n
}
