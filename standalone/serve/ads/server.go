package ads

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/kuma-mirror/kuma-mirror/xds"
)

// DefaultGrace is how long a cluster outlives the last table that named it. A
// request looks its cluster up after the filters before the router have run,
// and again for a retry: a buffered body or a retry's back-off takes that long.
// Requests that have reached the cluster do not need it, Envoy drains them.
const DefaultGrace = time.Second

// DefaultDrain is Envoy's default of --drain-time-s: how long the connections of
// a listener that was replaced or removed may live.
const DefaultDrain = 600 * time.Second

// Options of a Server. The zero value is good.
type Options struct {
	// Log hears of streams and refusals; slog.Default() if nil.
	Log *slog.Logger
	// Grace replaces DefaultGrace if positive; a negative one means none.
	Grace time.Duration
	// Drain replaces DefaultDrain if positive; a negative one means none. It
	// must be at least the --drain-time-s of the Envoys.
	Drain time.Duration
	// Retry replaces DefaultRetry if positive.
	Retry time.Duration
	// OnEvent is told what happens on the streams. The events of one stream
	// come in order, from the goroutine that serves it: until it returns,
	// that proxy is served nothing more. It may call the Server.
	OnEvent func(Event)
}

// Server holds what each proxy is to run and brings it there. Its methods may
// be called from several goroutines and never wait for a proxy.
type Server struct {
	log     *slog.Logger
	grace   time.Duration
	drain   time.Duration
	retry   time.Duration
	onEvent func(Event)

	// mu guards everything below, the clients included. No one sends to the
	// network or calls out under it.
	mu    sync.Mutex
	nodes map[string]*node
}

// node is what is known of one proxy. It exists while it has a configuration
// or a stream.
type node struct {
	desired *config
	// clients are the streams, in the order they came: one, or a second one
	// while the first is not yet known to be dead.
	clients []*client
	// last is the stream that ended last; see client.recall.
	last *client
}

// New returns a Server without any proxies.
func New(opts Options) *Server {
	s := &Server{log: opts.Log, grace: opts.Grace, drain: opts.Drain, retry: opts.Retry, onEvent: opts.OnEvent, nodes: map[string]*node{}}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.grace == 0 {
		s.grace = DefaultGrace
	}
	if s.drain == 0 {
		s.drain = DefaultDrain
	}
	if s.retry <= 0 {
		s.retry = DefaultRetry
	}
	return s
}

// Register makes g serve ADS. Streams last as long as Envoy wants: end g with
// Stop, for GracefulStop would wait for them.
func (s *Server) Register(g *grpc.Server) {
	discovery.RegisterAggregatedDiscoveryServiceServer(g, service{server: s})
}

// ServerOptions are the options a gRPC server for Envoys needs: dead
// connections are noticed within 40 s, those without a stream are closed after
// a minute, and Envoy's own pings are allowed.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: 30 * time.Second, Timeout: 10 * time.Second, MaxConnectionIdle: time.Minute,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	}
}

// Set makes rs what the proxy called name (Envoy's node id, "mesh.name") is
// served. rs may be changed afterwards. The content it already had pushes
// nothing, even where Envoy refused it. The error, if any, names every
// resource that cannot be served; the proxy then keeps what it had.
func (s *Server) Set(name string, rs *xds.ResourceSet) error {
	cfg, err := newConfig(rs)
	if err != nil {
		return fmt.Errorf("proxy %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(name)
	if n.desired != nil && n.desired.version == cfg.version {
		return nil
	}
	n.desired = cfg
	for _, c := range n.clients {
		c.set(cfg)
		c.advance()
	}
	return nil
}

// Remove forgets the proxy. A connected Envoy keeps running what it has, and
// so does one that connects later: it is answered nothing until the next Set.
func (s *Server) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.nodes[name]; ok {
		n.desired = nil
		s.drop(name)
	}
}

func (s *Server) node(name string) *node {
	n, ok := s.nodes[name]
	if !ok {
		n = &node{}
		s.nodes[name] = n
	}
	return n
}

// drop forgets a node that is neither configured nor connected.
func (s *Server) drop(name string) {
	if n := s.nodes[name]; n.desired == nil && len(n.clients) == 0 {
		delete(s.nodes, name)
	}
}

// Statuses returns the status of every proxy that is configured or connected,
// ordered by name.
func (s *Server) Statuses() []ProxyStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]ProxyStatus, 0, len(s.nodes))
	for _, name := range slices.Sorted(maps.Keys(s.nodes)) {
		all = append(all, s.nodes[name].status(name))
	}
	return all
}

// Status returns the status of one proxy; false if it is neither configured
// nor connected.
func (s *Server) Status(name string) (ProxyStatus, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.nodes[name]
	if !ok {
		return ProxyStatus{}, false
	}
	return n.status(name), true
}
