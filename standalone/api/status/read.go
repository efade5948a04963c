package status

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// silent is how long an Envoy may be connected without having sent stats before
// that is worth a note.
const silent = 15 * time.Second

// Mirrors returns the mirrors of a mesh, or of all where mesh is empty: by mesh
// and data plane, and for each in the order of its outbounds and of the
// TrafficRoute. Those of TrafficRoutes that govern nothing come after the data
// planes of their mesh. It is empty for a mesh that is not known.
func (s *Status) Mirrors(ctx context.Context, mesh string) ([]Mirror, error) {
	all := []Mirror{}
	for _, p := range s.sorted(mesh) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		mirrors, _, _ := p.mirrors(s.now(), s.host, 0, math.MaxInt)
		all = append(all, mirrors...)
	}
	all = append(all, s.unmatched(mesh)...)
	slices.SortStableFunc(all, func(a, b Mirror) int { return strings.Compare(a.Mesh, b.Mesh) })
	return all, nil
}

// Snapshot is Mirrors of all meshes.
func (s *Status) Snapshot() []Mirror {
	all, _ := s.Mirrors(context.Background(), "")
	return all
}

// sorted returns the data planes of a mesh, or all.
func (s *Status) sorted(mesh string) []*proxy {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*proxy
	for _, p := range s.byNode {
		if mesh == "" || p.key.Mesh == mesh {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b *proxy) int {
		return cmp.Or(strings.Compare(a.key.Mesh, b.key.Mesh), strings.Compare(a.key.Name, b.key.Name))
	})
	return all
}

// unmatched returns the mirrors of TrafficRoutes that govern no outbound.
func (s *Status) unmatched(mesh string) []Mirror {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Mirror
	for key, p := range s.policies {
		if p.rows > 0 || mesh != "" && key.Mesh != mesh {
			continue
		}
		reason := "it governs no outbound of any data plane: its sources and destinations match none, or more specific TrafficRoutes come first"
		if s.populated[key.Mesh] == 0 {
			reason = "its mesh has no data planes"
		}
		mirrors, paths := mirrorsOf(p.resource.Spec.(*api.TrafficRoute))
		for _, path := range paths {
			at := mirrors[path]
			all = append(all, Mirror{
				Mesh: key.Mesh, Policy: key.Name, Path: string(path), Match: at.match,
				// Wildcards stand for the tags of the outbound there is not.
				Shadow:     Shadow{Tags: at.mirror.GetDestination(), Name: at.mirror.GetName()},
				Percentage: xds.Percentage(at.mirror),
				State:      NoMatch, Reason: reason, Since: p.since,
			})
		}
	}
	slices.SortStableFunc(all, func(a, b Mirror) int {
		return cmp.Or(strings.Compare(a.Mesh, b.Mesh), strings.Compare(a.Policy, b.Policy))
	})
	return all
}

// maxSharedWith bounds what each of many rows that share a cluster says of the
// others.
const maxSharedWith = 10

// mirrors returns the rows of a data plane from start on, at most size of them,
// what they are made of, and how many rows there are.
func (p *proxy) mirrors(now time.Time, host proxies, start, size int) (all []Mirror, specs []rowSpec, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.evaluate(now, host)
	envoy := host.Proxy(p.key)
	rows := p.rows[min(start, len(p.rows)):]
	rows = rows[:min(size, len(rows))]
	all, specs = make([]Mirror, len(rows)), make([]rowSpec, len(rows))
	for i, r := range rows {
		specs[i] = r.spec
		o := &r.spec.outcome
		all[i] = Mirror{
			Mesh: p.key.Mesh, Dataplane: p.key.Name, Policy: o.Policy.Name, Path: string(o.Path), Match: r.spec.match,
			Outbound: r.spec.service, Listeners: r.spec.listeners,
			Shadow:     Shadow{Tags: o.Destination, Name: o.Name, Cluster: o.Cluster, Endpoints: r.spec.endpoints},
			Percentage: o.Percentage,
			State:      r.state, Reason: r.reason, Since: r.since,
			Note: p.note(r, envoy, now),
		}
		if r.group == nil {
			continue
		}
		all[i].Window, all[i].Total = r.window(now, p.flushes), r.totals()
		if w := all[i].Window; w != nil && all[i].Note == "" {
			all[i].Note = difference(w.PrimaryAnswers, w.ShadowAnswers)
		}
		for _, other := range r.group.rows {
			if other == r {
				continue
			}
			if len(all[i].SharedWith) == maxSharedWith {
				all[i].SharedWith = append(all[i].SharedWith, fmt.Sprintf("and %d more", len(r.group.rows)-1-maxSharedWith))
				break
			}
			all[i].SharedWith = append(all[i].SharedWith,
				fmt.Sprintf("%s: %s (%s)", other.spec.outcome.Policy.Name, other.spec.outcome.Path, other.spec.service))
		}
	}
	return all, specs, len(p.rows)
}

// note says what a row's state does not.
func (p *proxy) note(r *row, envoy ads.ProxyStatus, now time.Time) string {
	if !r.spec.mirrors() {
		return ""
	}
	refused := refusalOf(envoy)
	switch {
	case r.spec.foreign != "":
		return fmt.Sprintf("there are no figures: Envoy counts the copies together with the requests to cluster %q, whose stats have the same name; give the mirror another name", r.spec.foreign)
	case refused != nil && r.state != NACK:
		return "Envoy has refused a later configuration and keeps the one it has: " + refused.Message
	case envoy.Connected && now.Sub(envoy.Since) > silent && (len(p.flushes) == 0 || now.Sub(p.flushes[len(p.flushes)-1].to) > window):
		return "there are no figures: its Envoy sends no stats; start it again with this version of kuma-mirror proxy"
	}
	return ""
}
