package plugin

import (
	"context"
	"errors"
	"fmt"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/kuma-mirror/kuma-mirror/generator"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// Apply puts the mirrors of the proxy's TrafficRoutes into its resources: mirror
// clusters with their endpoints, and request mirror policies in the routes they
// belong to. Whatever else rs holds stays as it is. Applying twice gives what
// applying once gives.
//
// A mirror that cannot be is left out and reported; Apply never fails the proxy.
func Apply(ctx context.Context, rs *xds.ResourceSet, proxy Proxy, host Host) Report {
	a := &application{rs: rs, host: host, shadows: map[string]*shadow{}, names: map[string]bool{}}
	var report Report
	for _, outbound := range proxy.Outbounds {
		if outbound.Route == nil {
			continue
		}
		for _, o := range a.outbound(ctx, outbound) {
			o.Proxy = proxy.Key
			report = append(report, o)
		}
	}
	return report
}

// application is one run of Apply.
type application struct {
	rs   *xds.ResourceSet
	host Host
	// shadows by the keys of their identities: equal mirrors of one proxy share
	// one cluster.
	shadows map[string]*shadow
	// names of their clusters.
	names map[string]bool
	// memo of what their clusters have in common.
	memo generator.Memo
}

// shadow is a mirror cluster that is built once and added when a route uses it.
type shadow struct {
	cluster   string
	authority string
	resources []*xds.Resource
	err       error
}

func (a *application) outbound(ctx context.Context, outbound Outbound) Report {
	entries := entriesOf(outbound.Route.Spec, outbound.Tags)
	report, pending := survey(outbound, entries)
	if len(pending) == 0 {
		return report
	}

	table := make([]xds.Entry, len(entries))
	for i, e := range entries {
		table[i] = e.Entry
	}
	tables, err := xds.FindTables(a.rs, outbound.Listener, table)
	if err != nil {
		state := Refused
		if errors.Is(err, xds.ErrNotHTTP) {
			state = NotHTTP
		}
		for _, p := range pending {
			p.outcome(report).leaveOut(state, err)
		}
		return report
	}

	policies := make([][]*route.RouteAction_RequestMirrorPolicy, len(entries))
	var used []*shadow
	for _, p := range pending {
		s := a.shadow(ctx, p.id)
		if s.err != nil {
			p.outcome(report).leaveOut(Failed, s.err)
			continue
		}
		p.outcome(report).Cluster = s.cluster
		policies[p.entry] = append(policies[p.entry], xds.Policy(p.mirror, s.cluster, s.authority))
		used = append(used, s)
	}
	if err := tables.Inject(policies); err != nil {
		for _, p := range pending {
			p.outcome(report).leaveOut(Refused, err)
		}
		return report
	}
	for _, s := range used {
		a.rs.Add(s.resources...)
	}
	return report
}

// pending is a mirror that is to be injected.
type pending struct {
	mirrorAt
	entry int // which entry it belongs to
	row   int // its place in the report
	id    generator.Identity
}

func (p pending) outcome(r Report) *Outcome { return &r[p.row] }

// survey lists every mirror of the entries, as injected unless it is off, and
// those that are not.
func survey(outbound Outbound, entries []entry) (Report, []pending) {
	var report Report
	var todo []pending
	for i, e := range entries {
		for _, m := range e.mirrors {
			id := generator.IdentityOf(m.mirror, outbound.Tags)
			o := Outcome{
				Policy:      outbound.Route.Key,
				Listener:    outbound.Listener,
				Path:        m.path,
				Destination: id.Tags,
				Percentage:  xds.Percentage(m.mirror),
				Name:        id.Name,
				State:       Injected,
			}
			if o.Percentage == 0 {
				o.State, o.Reason = Off, "its percentage is 0"
			} else {
				todo = append(todo, pending{mirrorAt: m, entry: i, row: len(report), id: id})
			}
			report = append(report, o)
		}
	}
	return report, todo
}

func (o *Outcome) leaveOut(state State, err error) {
	o.State, o.Reason, o.Cluster = state, err.Error(), ""
}

func (a *application) shadow(ctx context.Context, id generator.Identity) *shadow {
	key := id.Key()
	if a.shadows[key] == nil {
		a.shadows[key] = a.build(ctx, id)
	}
	return a.shadows[key]
}

func (a *application) build(ctx context.Context, id generator.Identity) *shadow {
	name := id.ClusterName()
	if a.taken(name) {
		// A service may be called what a mirror cluster would be; the
		// primary's cluster is never touched.
		name = id.DistinctClusterName()
		if a.taken(name) {
			return &shadow{err: fmt.Errorf("cluster %q belongs to a service of that name; give the mirror another name", name)}
		}
	}
	a.names[name] = true
	base, err := a.host.BaseCluster(ctx, name, id.Tags)
	if err != nil {
		return &shadow{err: fmt.Errorf("cluster for %s: %w", id.Tags, err)}
	}
	if err := id.Configure(base.Cluster, &a.memo); err != nil {
		return &shadow{err: fmt.Errorf("cluster for %s: %w", id.Tags, err)}
	}
	s := &shadow{
		cluster:   name,
		authority: base.Authority,
		resources: []*xds.Resource{{Name: name, Origin: xds.OriginMirror, Resource: base.Cluster}},
	}
	if base.Endpoints != nil {
		s.resources = append(s.resources, &xds.Resource{Name: name, Origin: xds.OriginMirror, Resource: base.Endpoints})
	}
	return s
}

// taken reports whether a cluster of that name belongs to somebody else. Mirror
// clusters from before this run belong to nobody.
func (a *application) taken(name string) bool {
	return a.names[name] || a.rs.Get((*cluster.Cluster)(nil), name) != nil && !a.rs.IsMirror(name)
}
