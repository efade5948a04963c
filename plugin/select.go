package plugin

import (
	"cmp"
	"slices"
	"time"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// RouteSelector finds the TrafficRoute that governs each outbound of one proxy.
// It is built once per proxy, reads the routes then and never after, and is
// safe for use by several goroutines.
type RouteSelector struct {
	byService map[string]candidate
	// other is the best of the routes for every service.
	other candidate
}

// candidate is a TrafficRoute that matches the proxy and a destination. The
// zero value is none.
type candidate struct {
	route *api.Resource
	rank  rank
	// order of the route among all, by name.
	order int
}

// NewRouteSelector takes the tags of each inbound of the proxy, or of its
// gateway, and the TrafficRoutes of its mesh in any order; resources of other
// kinds are passed over.
func NewRouteSelector(proxy []api.Tags, routes []*api.Resource) *RouteSelector {
	routes = slices.Clone(routes)
	slices.SortStableFunc(routes, func(a, b *api.Resource) int {
		return cmp.Or(
			cmp.Compare(a.Meta.Name, b.Meta.Name),
			// Names are unique in a mesh; this keeps what breaks that stable.
			cmp.Compare(a.Meta.Mesh, b.Meta.Mesh),
			cmp.Compare(a.Meta.Namespace, b.Meta.Namespace),
			cmp.Compare(a.Source, b.Source),
		)
	})
	s := &RouteSelector{byService: map[string]candidate{}}
	for i, r := range routes {
		spec, ok := r.Spec.(*api.TrafficRoute)
		if !ok {
			continue
		}
		source, ok := bestRank(proxy, spec.GetSources())
		if !ok {
			continue
		}
		for _, d := range spec.GetDestinations() {
			s.offer(d.GetMatch(), candidate{route: r, rank: rankOf(d.GetMatch()).plus(source), order: i})
		}
	}
	return s
}

// For returns the TrafficRoute that governs the outbounds to a service, nil
// where none does: the one with the most specific selectors, as Kuma has it.
// More tags are more specific than fewer, then exact values more than '*'; the
// tags of the source and of the destination count together. Of equals the one
// created last wins, then the first by name.
func (s *RouteSelector) For(service string) *api.Resource {
	return better(s.byService[service], s.other).route
}

// offer enters a candidate for the services that match selects. Outbounds are
// known by their service alone, so a selector with another tag selects none.
func (s *RouteSelector) offer(match api.Tags, c candidate) {
	service, ok := match[api.ServiceTag]
	switch {
	case len(match) == 0, len(match) == 1 && service == api.MatchAll:
		s.other = better(s.other, c)
	case len(match) == 1 && ok:
		s.byService[service] = better(s.byService[service], c)
	}
}

func better(a, b candidate) candidate {
	switch {
	case a.route == nil:
		return b
	case b.route == nil:
		return a
	}
	if cmp.Or(b.rank.compare(a.rank), b.created().Compare(a.created()), cmp.Compare(a.order, b.order)) > 0 {
		return b
	}
	return a
}

func (c candidate) created() time.Time { return c.route.Meta.CreationTime }

// rank says how specific a selector is.
type rank struct{ exact, wildcard int }

func rankOf(match map[string]string) rank {
	var r rank
	for _, v := range match {
		if v == api.MatchAll {
			r.wildcard++
		} else {
			r.exact++
		}
	}
	return r
}

func (r rank) plus(o rank) rank {
	return rank{exact: r.exact + o.exact, wildcard: r.wildcard + o.wildcard}
}

// compare is positive where r is more specific than o.
func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(r.exact+r.wildcard, o.exact+o.wildcard), cmp.Compare(r.exact, o.exact))
}

// bestRank returns the rank of the most specific selector that matches any of
// the proxy's tags.
func bestRank(proxy []api.Tags, selectors []*api.Selector) (best rank, ok bool) {
	for _, s := range selectors {
		match := api.Tags(s.GetMatch())
		matches := len(match) == 0 || slices.ContainsFunc(proxy, func(t api.Tags) bool { return match.Matches(t) })
		if r := rankOf(match); matches && (!ok || r.compare(best) > 0) {
			best, ok = r, true
		}
	}
	return best, ok
}
