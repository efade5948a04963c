package status

import (
	"slices"
	"sync"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/generator"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// maxDeparted is how many Envoys that have left are remembered, per data plane.
const maxDeparted = 2

// proxy is one data plane.
type proxy struct {
	key api.Key

	mu sync.Mutex // guards what follows
	// err is why the configuration is not served.
	err    error
	rows   []*row
	groups []*group
	// wanted is what the names of wanted stats begin with. It is replaced,
	// not changed.
	wanted map[string]bool
	// connected is what Envoy was when last looked at; syncing says that it
	// has acknowledged nothing since it connected.
	connected, syncing bool
	// envoys that have sent stats: those that do, and the last that did.
	envoys []*envoyStats
	// flushes of the last minute.
	flushes []*interval
}

// configure takes in what was generated for the data plane; specs are those of
// the TrafficRoutes.
func (p *proxy) configure(g host.Generated, specs func(api.Key) *api.TrafficRoute, now time.Time) {
	if p.err = g.Err; p.err != nil {
		return
	}
	before, groups := map[rowID]*row{}, map[string]*group{}
	for _, r := range p.rows {
		before[r.id] = r
	}
	for _, g := range p.groups {
		g.rows = nil
		groups[g.prefix] = g
	}
	p.rows, p.groups, p.wanted = nil, nil, map[string]bool{}
	ids, rows := specsOf(g, specs)
	for _, id := range ids {
		r, spec := before[id], *rows[id]
		switch {
		case r == nil:
			r = &row{id: id, pending: true, fresh: true, changed: now, since: now}
		case !r.spec.same(&spec):
			r.pending, r.fresh, r.changed = true, !r.spec.mirrors(), now
			r.samples = nil
		}
		r.spec, r.group = spec, nil
		p.rows = append(p.rows, r)
		if spec.mirrors() && spec.foreign == "" {
			r.group = p.join(groups, r)
		}
	}
}

// join puts a row into the group of its cluster; groups has those there were.
func (p *proxy) join(groups map[string]*group, r *row) *group {
	prefix := r.spec.cluster
	g := groups[prefix]
	if g == nil {
		g = &group{prefix: prefix}
		groups[prefix] = g
	}
	if g.rows == nil {
		p.groups = append(p.groups, g)
	}
	g.rows = append(g.rows, r)
	p.wanted[prefix], p.wanted[r.spec.route] = true, true
	return g
}

// specsOf gives the rows that a data plane has, in the order of the report.
func specsOf(g host.Generated, specs func(api.Key) *api.TrafficRoute) (ids []rowID, rows map[rowID]*rowSpec) {
	networking := g.Dataplane.Spec.(*api.Dataplane).GetNetworking()
	outbounds := map[string]api.Tags{}
	for _, o := range networking.GetOutbound() {
		outbounds[generate.OutboundListener(o)] = o.GetTags()
	}
	others := map[string]string{} // clusters of others by the names of their stats
	for _, c := range g.Resources.Clusters() {
		if !g.Resources.IsMirror(c.GetName()) {
			others[generate.ClusterStats(c)] = c.GetName()
		}
	}
	mirrors := map[api.Key]map[api.Path]placed{}

	rows = map[rowID]*rowSpec{}
	for _, o := range g.Report {
		tags := outbounds[o.Listener]
		id := rowID{policy: o.Policy, path: o.Path, outbound: tags.ClusterName(), destination: o.Destination.String(), name: o.Name}
		if have := rows[id]; have != nil {
			// The same outbound on another port has the same route table.
			have.listeners = append(have.listeners, o.Listener)
			continue
		}
		if mirrors[o.Policy] == nil {
			mirrors[o.Policy], _ = mirrorsOf(specs(o.Policy))
		}
		at := mirrors[o.Policy][o.Path]
		spec := &rowSpec{outcome: o, match: at.match, service: tags.Service(), listeners: []string{o.Listener}}
		if spec.mirrors() {
			c := g.Resources.Get((*cluster.Cluster)(nil), o.Cluster).Resource.(*cluster.Cluster)
			spec.cluster = generate.ClusterStats(c)
			spec.route = generate.RouteStats(o.Policy, at.entry, tags)
			spec.table = generate.RouteTable(tags)
			spec.foreign = others[spec.cluster]
			spec.streamed = generator.LimitsOf(at.mirror.GetLimits()).MaxRequestBodyBytes == 0
			spec.endpoints = endpointsOf(g.Resources, c)
			spec.names = namesOf(c)
		}
		ids = append(ids, id)
		rows[id] = spec
	}
	return ids, rows
}

// endpointsOf counts the instances behind a cluster.
func endpointsOf(rs *xds.ResourceSet, c *cluster.Cluster) int {
	assignment := c.GetLoadAssignment()
	if r := rs.Get((*endpoint.ClusterLoadAssignment)(nil), c.GetName()); r != nil {
		assignment = r.Resource.(*endpoint.ClusterLoadAssignment)
	}
	n := 0
	for _, locality := range assignment.GetEndpoints() {
		n += len(locality.GetLbEndpoints())
	}
	return n
}

// namesOf are the names that Envoy looks up for a cluster, of which each is
// there once; none where it is not one by DNS.
func namesOf(c *cluster.Cluster) []string {
	if c.GetType() != cluster.Cluster_STRICT_DNS {
		return nil
	}
	var names []string
	for _, locality := range c.GetLoadAssignment().GetEndpoints() {
		for _, e := range locality.GetLbEndpoints() {
			names = append(names, e.GetEndpoint().GetAddress().GetSocketAddress().GetAddress())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// count takes in a flush of an Envoy.
func (p *proxy) count(e *envoyStats, now time.Time, s *Status) {
	if e.flushed.IsZero() && !p.admit(e, now, s) {
		e.counted(now)
		return
	}
	of := &interval{from: e.flushed, to: now}
	p.flushes = append(slices.DeleteFunc(p.flushes, func(f *interval) bool { return now.Sub(f.to) > window }), of)
	for _, g := range p.groups {
		grown, shadow := e.grown(g.prefix)
		g.resolution = e.resolution(g.prefix)
		routes := make([]sample, len(g.rows))
		for i, r := range g.rows {
			v, primary := e.grown(r.spec.route)
			routes[i] = sample{sent: v[rqTotal], completed: v[rqCompleted], given: answersOf(v, 0), primary: primary}
			if primary != nil {
				routes[i].answers = primary.count
			}
		}
		g.count(copiesOf(grown, g.rows[0].spec.streamed), shadow, of, routes)
	}
	e.counted(now)
}

// admit finds out what the first flush on a connection goes on from. It returns
// false where that is not known: then it is where counting begins.
func (p *proxy) admit(e *envoyStats, now time.Time, s *Status) bool {
	if e.uptime < 0 {
		return false
	}
	e.started = now.Add(-time.Duration(e.uptime * float64(time.Second)))
	before := p.sameEnvoy(e)
	p.envoys = append(p.envoys, e)
	if before != nil {
		e.resume(before)
		return true
	}
	if !e.started.Add(uptimeError).After(s.begun) {
		return false // it has counted before this host did
	}
	// It had nothing to count before it asked for its configuration.
	if e.flushed = s.host.Proxy(p.key).Since; e.flushed.IsZero() || e.flushed.After(now) {
		e.flushed = now
	}
	return true
}

// sameEnvoy takes out of those that are known the one that e is on another
// connection; nil if there is none. The old connection may not have ended yet as
// far as is known here.
func (p *proxy) sameEnvoy(e *envoyStats) *envoyStats {
	for i, other := range p.envoys {
		if d := other.started.Sub(e.started); -sameStart <= d && d <= sameStart && other.sent <= e.sent {
			p.envoys = slices.Delete(p.envoys, i, i+1)
			return other
		}
	}
	return nil
}

// left takes in that the connection of an Envoy has ended. It is remembered, for
// it may come back.
func (p *proxy) left(e *envoyStats) {
	e.left = true
	departed := 0
	for _, other := range slices.Backward(p.envoys) {
		if other.left {
			departed++
		}
		if departed > maxDeparted {
			p.envoys = slices.DeleteFunc(p.envoys, func(o *envoyStats) bool { return o == other })
			return
		}
	}
}
