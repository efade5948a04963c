package ads

import (
	"maps"
	"slices"
	"strings"
	"time"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	"github.com/kuma-mirror/kuma-mirror/xds"
)

// DefaultRetry is how long what Envoy refused of a mirror is left out before it
// is tried again, unchanged: a file on Envoy's machine may be there by then.
const DefaultRetry = 30 * time.Second

// leftOut is a mirror cluster, or the mirrors of a route table, that Envoy
// refused.
type leftOut struct {
	partKey
	// version of the refused part, with its endpoints.
	version string
	refusal *Refusal
	// suspected says that Envoy refused several parts at once and named none of
	// them: each is tried alone as soon as Envoy runs the rest.
	suspected bool
	// due is when it is tried again, and trying that it is being tried.
	due    time.Time
	trying bool
}

// partKey is a cluster or a route table.
type partKey struct{ typeURL, name string }

// version is that of a cluster with its endpoints, or of a route table; empty
// if there is none.
func (c *config) partVersion(k partKey) string {
	i := c.byType[k.typeURL][k.name]
	switch {
	case i == nil:
		return ""
	case i.endpoints != nil:
		return i.version + i.endpoints.version
	}
	return i.version
}

// without is the configuration as it is where the mirrors of those clusters and
// route tables are at 0 %.
func (c *config) without(parts map[partKey]bool) (*config, error) {
	if len(parts) == 0 {
		return c, nil
	}
	out := &config{byType: maps.Clone(c.byType), routeTables: c.routeTables, mirrors: maps.Clone(c.mirrors), mirrored: map[string][]string{}}
	clusters, endpoints := maps.Clone(c.byType[resource.ClusterType]), maps.Clone(c.byType[resource.EndpointType])
	for k := range parts {
		if i := clusters[k.name]; k.typeURL == resource.ClusterType && i != nil {
			delete(clusters, k.name)
			delete(out.mirrors, k.name)
			if i.endpoints != nil {
				delete(endpoints, i.endpoints.name)
			}
		}
	}
	tables := maps.Clone(c.byType[resource.RouteType])
	for name, mirrors := range c.mirrored {
		gone := func(cluster string) bool {
			return c.mirrors[cluster] && (!out.mirrors[cluster] || parts[partKey{resource.RouteType, name}])
		}
		left := slices.DeleteFunc(slices.Clone(mirrors), gone)
		if len(left) > 0 {
			out.mirrored[name] = left
		}
		if len(left) == len(mirrors) {
			continue
		}
		table := &route.RouteConfiguration{}
		if err := tables[name].body.UnmarshalTo(table); err != nil {
			return nil, err
		}
		body, err := xds.MarshalAny(xds.WithoutMirrors(table, gone))
		if err != nil {
			return nil, err
		}
		tables[name] = newItem(name, body)
	}
	out.byType[resource.ClusterType], out.byType[resource.EndpointType], out.byType[resource.RouteType] = clusters, endpoints, tables
	out.version = out.hash()
	return out, nil
}

// newItem is the resource with the version of its content.
func newItem(name string, body *anypb.Any) *item {
	return &item{name: name, version: versionOf(body.GetValue()), body: body}
}

// set makes cfg what Envoy is to run. What Envoy refused of mirrors stays left
// out if it is what it was.
func (c *client) set(cfg *config) {
	c.full = cfg
	maps.DeleteFunc(c.out, func(k partKey, l *leftOut) bool { return l.suspected || cfg.partVersion(k) != l.version })
	c.retarget()
}

// inherit takes over which route tables the proxy's other streams left the
// mirrors out of: a listener that starts with a refused table answers 404 until
// it gets another. Refused clusters delay nothing; they are tried at once.
func (c *client) inherit() {
	for _, e := range append([]*client{c.node.last}, c.node.clients...) {
		if e == nil || e == c {
			continue
		}
		for k, l := range e.out {
			if k.typeURL == resource.RouteType {
				l := *l
				l.trying = false
				c.out[k] = &l
			}
		}
	}
}

// retarget aims at the configuration without what is left out.
func (c *client) retarget() {
	parts := map[partKey]bool{}
	for k, l := range c.out {
		if !l.trying {
			parts[k] = true
		}
	}
	target, err := c.full.without(parts)
	if err != nil {
		// It was packed here; it can be unpacked.
		c.server.log.Error("internal error: a route table cannot be read", "proxy", c.name, "error", err)
		return
	}
	c.aim(target)
	c.schedule()
}

// leaveOut takes in a refusal, and says whether it can be about mirrors alone:
// those that Envoy names or, if it names nothing, all in the response. They are
// then left out of what Envoy is to run.
func (c *client) leaveOut(r *response, refusal *Refusal) bool {
	var suspects, named []partKey
	primary := false // is named
	for name, i := range r.changed {
		k := partKey{r.typeURL, name}
		if r.typeURL == resource.EndpointType {
			k = partKey{resource.ClusterType, c.full.clusterOf(name)}
		}
		mine := c.target.mirrors[k.name]
		if k.typeURL == resource.RouteType {
			mine = len(c.target.mirrored[name]) > 0
		}
		current := c.target.byType[r.typeURL][name]
		switch isNamed := names(refusal.Message, name); {
		case mine && current != nil && current.version == i.version:
			suspects = append(suspects, k)
			if isNamed {
				named = append(named, k)
			}
		case isNamed:
			primary = true
		}
	}
	if len(named) == 0 && !primary {
		named = suspects
	}
	for _, k := range named {
		c.out[k] = &leftOut{
			partKey: k, version: c.full.partVersion(k), refusal: refusal,
			suspected: len(named) > 1 && !names(refusal.Message, k.name), due: time.Now().Add(c.server.retry),
		}
	}
	return len(named) > 0
}

// names says whether Envoy's complaint is about the resource: it names those of
// clusters and listeners as "Error adding/updating cluster(s) NAME: why, NAME:
// why".
func names(message, name string) bool { return strings.Contains(message, " "+name+": ") }

// accept ends the trials of what Envoy has accepted.
func (c *client) accept() {
	for k, l := range c.out {
		i := c.target.byType[k.typeURL][k.name]
		if !l.trying || i == nil || !c.types[k.typeURL].has(i) {
			continue
		}
		if e := i.endpoints; e == nil || c.types[resource.EndpointType].runs(items{e.name: e}) {
			delete(c.out, k)
		}
	}
}

// trySuspect tries one of the parts of which Envoy refused some.
func (c *client) trySuspect() {
	var next *leftOut
	for _, l := range c.out {
		if l.trying {
			return
		}
		if l.suspected && (next == nil || l.name < next.name) {
			next = l
		}
	}
	if next != nil {
		next.trying = true
		c.retarget()
	}
}

// schedule sets the time when the next part that is left out is tried again.
func (c *client) schedule() {
	if c.retrier != nil {
		c.retrier.Stop()
		c.retrier = nil
	}
	var due time.Time
	for _, l := range c.out {
		if !l.trying && !l.suspected && (due.IsZero() || l.due.Before(due)) {
			due = l.due
		}
	}
	if due.IsZero() || c.closed {
		return
	}
	c.retrier = time.AfterFunc(time.Until(due), func() {
		c.server.mu.Lock()
		defer c.server.mu.Unlock()
		if c.closed {
			return
		}
		now := time.Now()
		for _, l := range c.out {
			l.trying = l.trying || !l.suspected && !now.Before(l.due)
		}
		c.retarget()
		c.advance()
	})
}
