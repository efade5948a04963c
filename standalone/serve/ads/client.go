package ads

import (
	"maps"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// client takes one stream from what its Envoy has to what it is to run. Each
// stream has its own, so that an Envoy that connects again, or a second one
// that was given the same node id, is served by what it has said itself.
//
// All of it is guarded by Server.mu.
type client struct {
	server   *Server
	protocol Protocol
	done     <-chan struct{} // closed when the stream ends
	since    time.Time
	// name and node are known with the first request.
	name   string
	node   *node
	closed bool

	// full is what Envoy is to run, and target the same without out, which is
	// what it refused of mirrors; nil while that is not known.
	full, target *config
	out          map[partKey]*leftOut
	// retrier tries what is left out again.
	retrier *time.Timer
	// tables is the configuration whose listeners and route tables are sent:
	// target, or an earlier one until Envoy has target's clusters.
	tables *config
	// live are the clusters that a table which Envoy may still use can name.
	live map[string]bool
	// kept are the clusters beyond target's that are not to be removed yet.
	kept map[string]*keptCluster
	// replaced says that a listener was replaced or removed since Envoy last had
	// no tables but target's, and drained when the last connection of such a
	// listener is closed: until then it may use the old listener's clusters.
	replaced bool
	drained  time.Time
	// sweeper removes kept clusters when their time is over.
	sweeper *time.Timer

	types map[string]*subscription
	// admissions are not guarded by Server.mu; see there.
	admissions map[string]*admission
	// resumed says that Envoy held a configuration when the stream began.
	resumed bool
	// halted says that Envoy refused something of target: no step is taken and
	// nothing removed until the next one.
	halted  bool
	refusal *Refusal
}

type keptCluster struct {
	*item
	// unnamed is when the last table that could name it was gone; zero before.
	unnamed time.Time
}

func newClient(s *Server, p Protocol, done <-chan struct{}) *client {
	c := &client{
		server: s, protocol: p, done: done, since: time.Now(),
		live: map[string]bool{}, kept: map[string]*keptCluster{}, out: map[partKey]*leftOut{}, admissions: map[string]*admission{},
		types: make(map[string]*subscription, len(served)),
	}
	for _, t := range served {
		c.types[t] = &subscription{typeURL: t, known: items{}, acked: items{}, owed: map[string]bool{}, refused: map[string]string{}}
	}
	return c
}

// aim makes cfg the target. What is on its way stays on its way.
func (c *client) aim(cfg *config) {
	if c.target != nil && c.target.version == cfg.version {
		return
	}
	clusters := c.types[resource.ClusterType]
	if c.target != nil {
		for name, i := range c.target.byType[resource.ClusterType] {
			held := clusters.held(name)
			if held == nil {
				continue
			}
			if held.version == i.version {
				held = i // the same cluster, but i has its latest endpoints
			}
			c.kept[name] = &keptCluster{item: held}
		}
	}
	for name := range cfg.byType[resource.ClusterType] {
		delete(c.kept, name)
	}
	c.target = cfg
	c.halted = false
	// Refused tables stay refused until the tables are the new target's.
	clear(clusters.refused)
	clear(c.types[resource.EndpointType].refused)
}

// advance goes as far as Envoy's acknowledgements allow and sends what is due.
func (c *client) advance() {
	if c.target == nil || c.closed {
		return
	}
	c.stage()
	if c.tablesReady() && c.clustersReady() {
		c.trySuspect()
	}
	for _, t := range served {
		c.respond(c.types[t])
	}
}

// stage moves the stream through the steps of a change.
func (c *client) stage() {
	if c.target == nil {
		return
	}
	c.accept()
	listeners, routes := c.types[resource.ListenerType], c.types[resource.RouteType]
	// Tables on their way are waited for, so that an Envoy that does not answer
	// does not pile up clusters that it may still route to.
	if c.tables != c.target && !c.halted && (listeners.subscribed || routes.subscribed) &&
		listeners.idle() && routes.idle() && c.clustersReady() {
		c.tables = c.target
		clear(listeners.refused)
		clear(routes.refused)
		for name := range c.target.byType[resource.ClusterType] {
			c.live[name] = true
		}
	}
	now := time.Now()
	if c.tablesReady() {
		if c.replaced {
			c.replaced, c.drained = false, now.Add(c.server.drain)
		}
		clear(c.live)
		for name := range c.target.byType[resource.ClusterType] {
			c.live[name] = true
		}
	}
	c.sweep(now)
}

// clustersReady says whether tables may name target's clusters. Envoy does not
// acknowledge clusters before they are warm, so their endpoints are in, too.
func (c *client) clustersReady() bool {
	t := c.types[resource.ClusterType]
	return !c.paused() && t.runs(c.target.byType[resource.ClusterType])
}

// tablesReady says whether Envoy has no listeners and route tables but
// target's.
func (c *client) tablesReady() bool {
	listeners, routes := c.types[resource.ListenerType], c.types[resource.RouteType]
	if c.tables != c.target || c.halted || c.resumed && !listeners.subscribed || !listeners.idle() || !routes.idle() {
		return false
	}
	want := c.target.byType[resource.ListenerType]
	tables := c.target.byType[resource.RouteType]
	if !listeners.runs(want) || !routes.runs(tables) {
		return false
	}
	for name := range listeners.known {
		if want[name] == nil {
			return false
		}
	}
	if !listeners.subscribed {
		return true
	}
	// A new listener is warm, and the old one gone, only with its route table,
	// which Envoy asks for after it has acknowledged the listener.
	for _, name := range c.target.routeTables {
		if !routes.has(tables[name]) {
			return false
		}
	}
	return true
}

func (c *client) inSync() bool {
	clusters, listeners := c.types[resource.ClusterType], c.types[resource.ListenerType]
	desired := c.node.desired
	return desired != nil && c.full != nil && c.full.version == desired.version &&
		clusters.subscribed && listeners.subscribed && c.clustersReady() && c.tablesReady() &&
		c.types[resource.EndpointType].runs(c.target.byType[resource.EndpointType])
}

// sweep lets go of the kept clusters that nothing has named for long enough.
func (c *client) sweep(now time.Time) {
	if c.sweeper != nil {
		c.sweeper.Stop()
		c.sweeper = nil
	}
	clusters := c.types[resource.ClusterType]
	var next time.Duration
	for name, k := range c.kept {
		// A cluster that Envoy has not acknowledged may still be waiting for
		// its endpoints, and Envoy for it.
		if c.live[name] || clusters.sends(name) {
			k.unnamed = time.Time{}
			continue
		}
		if k.unnamed.IsZero() {
			k.unnamed = now
		}
		left := max(c.server.grace-now.Sub(k.unnamed), c.drained.Sub(now))
		if left <= 0 {
			delete(c.kept, name)
		} else if next == 0 || left < next {
			next = left
		}
	}
	if next > 0 && !c.closed {
		c.sweeper = time.AfterFunc(next, func() {
			c.server.mu.Lock()
			defer c.server.mu.Unlock()
			c.advance()
		})
	}
}

// view is what the stream is offered of a type; nil if nothing is to be said
// yet.
func (c *client) view(typeURL string) items {
	switch typeURL {
	case resource.ListenerType, resource.RouteType:
		if c.tables == nil {
			return nil
		}
		return c.tables.byType[typeURL]
	case resource.ClusterType:
		return c.withKept(typeURL)
	}
	view := c.withKept(typeURL)
	if c.paused() {
		view = maps.Clone(view)
		for _, e := range c.earlier() {
			if e.target == nil {
				continue
			}
			for name, i := range e.withKept(typeURL) {
				if view[name] == nil {
					view[name] = i
				}
			}
		}
	}
	return view
}

// paused says whether Envoy withholds its request for clusters. It does while
// one is warming, even on a new stream (Envoy issues 9934, 36951): it asks for
// the rest, and waits for endpoints that may be of no current cluster.
func (c *client) paused() bool { return c.resumed && !c.types[resource.ClusterType].subscribed }

// earlier are the proxy's other streams of the same protocol, those before
// first.
func (c *client) earlier() []*client {
	var out []*client
	for _, e := range append([]*client{c.node.last}, c.node.clients...) {
		if e != nil && e != c && e.protocol == c.protocol {
			out = append(out, e)
		}
	}
	return out
}

// withKept is target's clusters, or their endpoints, and those of the clusters
// that are kept.
func (c *client) withKept(typeURL string) items {
	view := c.target.byType[typeURL]
	if len(c.kept) == 0 {
		return view
	}
	view = maps.Clone(view)
	for _, k := range c.kept {
		i := k.item
		if typeURL == resource.EndpointType {
			i = i.endpoints
		}
		if i != nil && view[i.name] == nil {
			view[i.name] = i
		}
	}
	return view
}

// resume takes in what Envoy said it has when it first asked for the type.
func (c *client) resume(t *subscription, has items) {
	c.resumed = true
	if t.typeURL == resource.EndpointType && c.paused() {
		// Envoy may count among those it has the endpoints it waits for.
		return
	}
	t.acknowledged = has.version()
	has = maps.Clone(has)
	maps.DeleteFunc(has, func(name string, _ *item) bool { return t.owed[name] })
	t.known, t.acked = has, maps.Clone(has)
	if t.typeURL != resource.ClusterType {
		return
	}
	// Whether listeners were replaced before, Envoy does not say.
	c.replaced = true
	for name, i := range has {
		c.live[name] = true
		if c.target == nil || c.target.byType[resource.ClusterType][name] == nil {
			c.kept[name] = &keptCluster{item: i}
		}
	}
}

// remembers returns the clusters that Envoy has if it calls them version. Only
// for state of the world, where a response is all there is.
func (c *client) remembers(version string) (items, bool) {
	t := c.types[resource.ClusterType]
	if t.acknowledged == version {
		return t.acked, true
	}
	for _, r := range t.outstanding {
		if r.version == version {
			return r.sent, true
		}
	}
	return nil, false
}

// answered takes in Envoy's answer to a response; r.of is what the response was
// made from. message is Envoy's complaint if it refused.
func (c *client) answered(t *subscription, r *response, refused bool, message string) {
	if !refused {
		t.acknowledged, t.refusal = r.version, nil
		for _, name := range r.removed {
			delete(t.acked, name)
		}
		maps.Copy(t.acked, r.sent)
		return
	}
	t.refusal = &Refusal{Type: t.typeURL, Version: r.version, Message: message, Time: time.Now()}
	c.refusal = t.refusal
	// Envoy may have taken some of it and not the rest: nothing is known of
	// these resources until it accepts them.
	for name := range r.changed {
		t.known[name] = &item{name: name}
	}
	for _, name := range r.removed {
		t.known[name] = &item{name: name}
	}
	if t.typeURL == resource.ClusterType {
		for name, k := range c.kept {
			if held := t.held(name); held == nil {
				delete(c.kept, name)
			} else {
				k.item = held
			}
		}
	}
	if c.target != nil && c.leaveOut(r, t.refusal) {
		c.retarget() // which sends the rest once more
		return
	}
	for name, i := range r.changed {
		t.refused[name] = i.version
	}
	if r.of == c.target {
		c.halted = true
	} else if !nameClusters(t.typeURL) {
		// The clusters and endpoints of a newer configuration are already
		// being sent; they get their own chance.
		clear(t.refused)
	}
}

// nameClusters says whether the type is one of those that wait for clusters.
func nameClusters(typeURL string) bool {
	return typeURL == resource.ListenerType || typeURL == resource.RouteType
}

func (c *client) close() {
	c.closed = true
	for _, timer := range []*time.Timer{c.sweeper, c.retrier} {
		if timer != nil {
			timer.Stop()
		}
	}
	if c.node == nil {
		return
	}
	for i, other := range c.node.clients {
		if other == c {
			c.node.clients = append(c.node.clients[:i:i], c.node.clients[i+1:]...)
			break
		}
	}
	if t := c.types[resource.ClusterType]; t.acknowledged != "" || len(t.outstanding) > 0 || c.node.last == nil {
		c.node.last = c
	}
	c.server.drop(c.name)
}
