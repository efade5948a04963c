package ads

import (
	"context"
	"log/slog"
	"maps"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	rpc "google.golang.org/genproto/googleapis/rpc/status"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/delta/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/sotw/v3"
)

// service is ADS. go-control-plane speaks the protocol on each stream; what
// the stream is sent, and when, is up to a client of its own, which is both
// the cache and the callbacks of that stream.
type service struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	server *Server
}

// namedOnly are the types where a request without names asks for nothing.
var namedOnly = []string{resource.EndpointType, resource.RouteType}

// StreamAggregatedResources serves state of the world.
func (s service) StreamAggregatedResources(str discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	c := newClient(s.server, StateOfTheWorld, str.Context().Done())
	return sotw.NewServer(str.Context(), c, c, sotw.WithOrderedADS(), sotw.DeactivateLegacyWildcardForTypes(namedOnly)).
		StreamHandler(str, resource.AnyType)
}

// DeltaAggregatedResources serves delta.
func (s service) DeltaAggregatedResources(str discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	c := newClient(s.server, Delta, str.Context().Done())
	return delta.NewServer(str.Context(), c, c, delta.DeactivateLegacyWildcardForTypes(namedOnly)).
		DeltaStreamHandler(str, resource.AnyType)
}

// received takes in a request before its watch is made: who Envoy is, and
// whether it accepted the response with the nonce.
func (c *client) received(n *core.Node, typeURL, nonce string, complaint *rpc.Status) error {
	if len(n.GetId()) > MaxNodeID {
		return status.Errorf(codes.InvalidArgument, "node.id has %d bytes; it must be MESH.DATAPLANE, of at most %d", len(n.GetId()), MaxNodeID)
	}
	if err := c.known(typeURL); err != nil {
		return err
	}
	var events []Event
	err := func() error {
		c.server.mu.Lock()
		defer c.server.mu.Unlock()
		if c.node == nil {
			if n.GetId() == "" {
				return status.Error(codes.InvalidArgument, "the first request of a stream must have a node.id: set node.id in Envoy's bootstrap, or --service-node")
			}
			c.name, c.node = n.GetId(), c.server.node(n.GetId())
			c.node.clients = append(c.node.clients, c)
			if c.node.desired != nil {
				c.inherit()
				c.set(c.node.desired)
			}
			events = append(events, c.event(Connected))
		}
		t := c.types[typeURL]
		if t == nil {
			return nil
		}
		r := t.answers(nonce)
		t.unprompted = r == nil
		if r == nil {
			return nil
		}
		message := clip(complaint.GetMessage(), maxComplaint)
		c.answered(t, r, complaint != nil, message)
		c.stage()
		kind := Acknowledged
		if complaint != nil {
			kind = Refused
		}
		e := c.event(kind)
		e.Type, e.Version, e.Message = t.typeURL, r.version, message
		events = append(events, e)
		return nil
	}()
	c.emit(events)
	return err
}

func (c *client) event(kind EventKind) Event {
	return Event{Kind: kind, Node: c.name, InSync: c.inSync(), Time: time.Now()}
}

func (c *client) emit(events []Event) {
	for _, e := range events {
		log := c.server.log.With("proxy", e.Node)
		switch e.Kind {
		case Refused:
			log.Warn("Envoy refused configuration", "type", shortType(e.Type), "version", e.Version, "error", e.Message)
		case Acknowledged:
			log.Debug("Envoy acknowledged configuration", "type", shortType(e.Type), "version", e.Version, "inSync", e.InSync)
		default:
			log.Info("Envoy "+string(e.Kind), slog.String("protocol", string(c.protocol)))
		}
		if c.server.onEvent != nil {
			c.server.onEvent(e)
		}
	}
}

// open makes w the type's watch, lets it be used, and returns its end.
func (c *client) open(t *subscription, w *watch) func() {
	t.watch = w
	c.advance()
	return func() {
		c.server.mu.Lock()
		defer c.server.mu.Unlock()
		if t.watch == w {
			t.watch = nil
		}
	}
}

// responding takes in that a response is about to be sent.
func (c *client) responding(typeURL, nonce string) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.sending(c.types[typeURL], nonce)
	c.advance()
}

func (c *client) ended() {
	c.server.mu.Lock()
	c.close()
	var events []Event
	if c.node != nil {
		events = append(events, Event{Kind: Disconnected, Node: c.name, Time: time.Now()})
	}
	c.server.mu.Unlock()
	c.emit(events)
}

// CreateWatch implements cache.ConfigWatcher.
func (c *client) CreateWatch(req *cache.Request, sub cache.Subscription, out chan cache.Response) (func(), error) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	t := c.types[req.GetTypeUrl()]
	if t == nil {
		return nil, nil
	}
	// With a new request go-control-plane drops what it had not sent yet.
	t.queued = nil
	first := !t.subscribed
	again := !first && t.unprompted && !sub.IsWildcard() && maps.Equal(t.names, sub.SubscribedResources())
	t.want(sub.IsWildcard(), sub.SubscribedResources())
	if again {
		// Envoy has dropped something and wants it back, such as the endpoints
		// of a cluster that has changed.
		for name := range t.known {
			t.forget(name)
		}
	}
	if first && req.GetVersionInfo() != "" {
		c.resumed = true
		t.claimed = req.GetVersionInfo()
		if t.typeURL == resource.ClusterType {
			c.recall(t)
		} else if t.typeURL == resource.EndpointType && (len(t.owed) > 0 || c.paused()) {
			t.claimed = "" // as in resume
		}
	}
	return c.open(t, &watch{send: func(r *response) {
		// go-control-plane hands the returned resources back as what Envoy
		// has; that is kept here, where answers count.
		out <- &cache.PassthroughResponse{Request: req, DiscoveryResponse: r.stateOfTheWorld(), ReturnedResources: map[string]string{}}
	}}), nil
}

// recall takes up where an earlier stream of this proxy ended, if Envoy has
// the clusters that stream sent last.
func (c *client) recall(t *subscription) {
	for _, e := range c.earlier() {
		if clusters, ok := e.remembers(t.claimed); ok {
			c.resume(t, clusters)
			maps.Copy(c.live, e.live)
			t.settled = true
			return
		}
	}
}

// CreateDeltaWatch implements cache.ConfigWatcher.
func (c *client) CreateDeltaWatch(req *cache.DeltaRequest, sub cache.Subscription, out chan cache.DeltaResponse) (func(), error) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	t := c.types[req.GetTypeUrl()]
	if t == nil {
		return nil, nil
	}
	first := !t.subscribed
	t.want(sub.IsWildcard(), sub.SubscribedResources())
	if first {
		if versions := req.GetInitialResourceVersions(); len(versions) > 0 {
			has := make(items, len(versions))
			for name, version := range versions {
				has[name] = &item{name: name, version: version}
			}
			c.resume(t, has)
		}
	} else {
		// Whoever asks again may have dropped it in between.
		for _, name := range req.GetResourceNamesSubscribe() {
			t.forget(name)
		}
	}
	return c.open(t, &watch{send: func(r *response) {
		out <- &cache.DeltaPassthroughResponse{DeltaRequest: req, DeltaDiscoveryResponse: r.delta(), NextVersionMap: map[string]string{}}
	}}), nil
}

// OnStreamOpen implements sotw.Callbacks.
func (c *client) OnStreamOpen(context.Context, int64, string) error { return nil }

// OnStreamClosed implements sotw.Callbacks.
func (c *client) OnStreamClosed(int64, *core.Node) { c.ended() }

// OnStreamRequest implements sotw.Callbacks.
func (c *client) OnStreamRequest(_ int64, req *discovery.DiscoveryRequest) error {
	if err := c.received(req.GetNode(), req.GetTypeUrl(), req.GetResponseNonce(), req.GetErrorDetail()); err != nil {
		return err
	}
	a := c.admission(req.GetTypeUrl())
	clear(a.rest) // a request has all names that Envoy wants
	a.bytes = 0
	req.ResourceNames = c.admitted(a, req.GetResourceNames())
	return nil
}

// OnStreamResponse implements sotw.Callbacks.
func (c *client) OnStreamResponse(_ context.Context, _ int64, _ *discovery.DiscoveryRequest, resp *discovery.DiscoveryResponse) {
	c.responding(resp.GetTypeUrl(), resp.GetNonce())
}

// OnDeltaStreamOpen implements delta.Callbacks.
func (c *client) OnDeltaStreamOpen(context.Context, int64, string) error { return nil }

// OnDeltaStreamClosed implements delta.Callbacks.
func (c *client) OnDeltaStreamClosed(int64, *core.Node) { c.ended() }

// OnStreamDeltaRequest implements delta.Callbacks.
func (c *client) OnStreamDeltaRequest(_ int64, req *discovery.DeltaDiscoveryRequest) error {
	if err := c.received(req.GetNode(), req.GetTypeUrl(), req.GetResponseNonce(), req.GetErrorDetail()); err != nil {
		return err
	}
	a := c.admission(req.GetTypeUrl())
	for _, name := range req.GetResourceNamesUnsubscribe() {
		a.leave(name)
	}
	req.ResourceNamesSubscribe = c.admitted(a, req.GetResourceNamesSubscribe())
	maps.DeleteFunc(req.GetInitialResourceVersions(), func(name, _ string) bool { return len(a.admit([]string{name})) == 0 })
	return nil
}

// OnStreamDeltaResponse implements delta.Callbacks.
func (c *client) OnStreamDeltaResponse(_ int64, _ *discovery.DeltaDiscoveryRequest, resp *discovery.DeltaDiscoveryResponse) {
	c.responding(resp.GetTypeUrl(), resp.GetNonce())
}
