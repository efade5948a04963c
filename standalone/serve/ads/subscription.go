package ads

import (
	"maps"
	"slices"
	"strings"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// maxOutstanding bounds what an Envoy that asks without ever answering can
// make us remember.
const maxOutstanding = 8

// subscription is one type of resources on one stream.
type subscription struct {
	typeURL string
	// subscribed says whether Envoy has asked for the type at all; then
	// wildcard and names are what it wants of it.
	subscribed bool
	wildcard   bool
	names      map[string]struct{}
	// claimed is the version of Envoy's first request, in state of the world.
	claimed string

	// known is what Envoy has been sent or said it has; an empty version where
	// it refused. acked is what it accepted last.
	known, acked items
	// owed are to be sent once Envoy has asked for the type, even if it says
	// that it has them.
	owed map[string]bool
	// refused are versions that are not to be sent again.
	refused map[string]string

	// watch is open while Envoy can be sent something.
	watch *watch
	// queued is made but not yet sent, outstanding sent but not yet answered.
	queued      *response
	outstanding []*response
	// settled says that the first request has had its answer.
	settled bool
	// unprompted says that the last request answered no response.
	unprompted bool

	sent, acknowledged string
	refusal            *Refusal
}

// watch takes one response.
type watch struct{ send func(*response) }

// response is what Envoy is sent at once.
type response struct {
	typeURL string
	version string
	// of is the configuration it was made from.
	of *config
	// sent are its resources, and changed those that Envoy did not have.
	sent    items
	changed items
	removed []string
	nonce   string
}

// wanted is the part of view that Envoy wants.
func (t *subscription) wanted(view items) items {
	if t.wildcard {
		return view
	}
	some := make(items, len(t.names))
	for name := range t.names {
		if i := view[name]; i != nil {
			some[name] = i
		}
	}
	return some
}

// has says whether Envoy has accepted i and nothing else was sent since.
func (t *subscription) has(i *item) bool {
	k, a := t.known[i.name], t.acked[i.name]
	return k != nil && a != nil && k.version == i.version && a.version == i.version && !t.sends(i.name)
}

// runs says whether Envoy has all it wants of view.
func (t *subscription) runs(view items) bool {
	if !t.subscribed {
		return true
	}
	for _, i := range t.wanted(view) {
		if !t.has(i) {
			return false
		}
	}
	return true
}

// idle says whether nothing is on its way.
func (t *subscription) idle() bool { return t.queued == nil && len(t.outstanding) == 0 }

// sends says whether a version that Envoy did not have is on its way.
func (t *subscription) sends(name string) bool {
	return t.queued != nil && t.queued.changed[name] != nil ||
		slices.ContainsFunc(t.outstanding, func(r *response) bool { return r.changed[name] != nil })
}

// held is what Envoy has, or is about to have, under the name; nil if nothing
// that it is known to accept.
func (t *subscription) held(name string) *item {
	if t.queued != nil && t.queued.changed[name] != nil {
		return t.queued.changed[name]
	}
	if k := t.known[name]; k == nil || k.version != "" {
		return k
	}
	return t.acked[name]
}

// want takes in what Envoy wants from now on.
func (t *subscription) want(wildcard bool, names map[string]struct{}) {
	t.subscribed = true
	t.wildcard = wildcard
	t.names = maps.Clone(names)
	if wildcard {
		return
	}
	// What Envoy does not want it forgets.
	gone := func(name string, _ *item) bool { _, ok := t.names[name]; return !ok }
	maps.DeleteFunc(t.known, gone)
	maps.DeleteFunc(t.acked, gone)
}

// forget makes the resource be sent again if Envoy wants it.
func (t *subscription) forget(name string) {
	if !t.subscribed {
		t.owed[name] = true
	} else if t.known[name] != nil {
		t.known[name] = &item{name: name}
	}
}

// respond sends what the stream is to have next of the type, if it can be sent
// anything.
func (c *client) respond(t *subscription) {
	if t.watch == nil || t.queued != nil || len(t.outstanding) >= maxOutstanding {
		return
	}
	view := c.view(t.typeURL)
	if view == nil {
		return
	}
	wanted := t.wanted(view)
	sotw := c.protocol == StateOfTheWorld
	if sotw && !t.settled && t.claimed != "" && t.claimed == wanted.version() {
		t.settled = true
		t.known, t.acked, t.acknowledged = maps.Clone(wanted), maps.Clone(wanted), t.claimed
		return
	}

	r := &response{typeURL: t.typeURL, of: c.target, changed: items{}}
	if nameClusters(t.typeURL) {
		r.of = c.tables
	}
	for name, i := range wanted {
		k := t.known[name]
		if i.body != nil && (k == nil || k.version != i.version) && t.refused[name] != i.version {
			r.changed[name] = i
		}
	}
	if fullState(t.typeURL) {
		for name := range t.known {
			if wanted[name] == nil {
				r.removed = append(r.removed, name)
			}
		}
	}
	if c.halted && !sotw {
		r.removed = nil
	}
	if t.typeURL == resource.EndpointType && c.paused() && !sotw && !t.settled {
		// The cluster that waits is none of target's: without an answer Envoy
		// waits for its initial_fetch_timeout. Clusters in use keep their
		// endpoints (seen with 1.38.2 and 1.40.0).
		for name := range t.names {
			if wanted[name] == nil {
				r.removed = append(r.removed, name)
			}
		}
	}
	// An Envoy that starts waits for an answer, though it be empty.
	starts := !t.settled && t.wildcard && (sotw || len(t.known) == 0)
	if len(r.changed) == 0 && (len(r.removed) == 0 || c.halted) && !starts {
		return
	}
	if sotw {
		r.sent = maps.Clone(wanted)
		r.version = wanted.version()
	} else {
		r.sent = r.changed
		after := maps.Clone(t.known)
		maps.Copy(after, r.sent)
		for _, name := range r.removed {
			delete(after, name)
		}
		r.version = after.version()
	}
	slices.Sort(r.removed)
	t.queued = r
	w := t.watch
	t.watch = nil
	w.send(r)
}

// sending takes in that the queued response goes out.
func (c *client) sending(t *subscription, nonce string) {
	r := t.queued
	t.queued = nil
	r.nonce = nonce
	t.outstanding = append(t.outstanding, r)
	t.settled = true
	t.sent = r.version
	for name, i := range r.sent {
		k := t.known[name]
		t.known[name] = i
		if k != nil && k.version == i.version {
			continue
		}
		c.replaced = c.replaced || k != nil && t.typeURL == resource.ListenerType
		if i.endpoints != nil {
			// Envoy warms a changed cluster, too, and waits for endpoints
			// although it has them, without asking (Envoy issue 13009).
			c.types[i.endpoints.body.GetTypeUrl()].forget(i.endpoints.name)
		}
	}
	for _, name := range r.removed {
		delete(t.known, name)
		c.replaced = c.replaced || t.typeURL == resource.ListenerType
	}
}

// answers takes the response with the nonce off the outstanding ones.
func (t *subscription) answers(nonce string) *response {
	for i, r := range t.outstanding {
		if r.nonce == nonce {
			t.outstanding = slices.Delete(t.outstanding, i, i+1)
			return r
		}
	}
	return nil
}

func (r *response) stateOfTheWorld() *discovery.DiscoveryResponse {
	out := &discovery.DiscoveryResponse{TypeUrl: r.typeURL, VersionInfo: r.version}
	for _, i := range r.ordered() {
		out.Resources = append(out.Resources, i.body)
	}
	return out
}

func (r *response) delta() *discovery.DeltaDiscoveryResponse {
	out := &discovery.DeltaDiscoveryResponse{TypeUrl: r.typeURL, SystemVersionInfo: r.version, RemovedResources: r.removed}
	for _, i := range r.ordered() {
		out.Resources = append(out.Resources, &discovery.Resource{Name: i.name, Version: i.version, Resource: i.body})
	}
	return out
}

func (r *response) ordered() []*item {
	return slices.SortedFunc(maps.Values(r.sent), func(a, b *item) int { return strings.Compare(a.name, b.name) })
}
