package plugin_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
)

func selectors(tags ...api.Tags) []*api.Selector {
	var out []*api.Selector
	for _, t := range tags {
		out = append(out, &api.Selector{Match: t})
	}
	return out
}

func service(name string) api.Tags { return api.Tags{api.ServiceTag: name} }

// candidateRoute is a TrafficRoute with the given selectors, created a number
// of minutes after the others.
func candidateRoute(name string, minute int, sources []*api.Selector, destinations ...api.Tags) *api.Resource {
	return &api.Resource{
		Kind: api.KindTrafficRoute,
		Meta: api.Meta{
			Mesh:         "default",
			Name:         name,
			CreationTime: time.Date(2024, 1, 1, 0, minute, 0, 0, time.UTC),
		},
		Spec: &api.TrafficRoute{Sources: sources, Destinations: selectors(destinations...)},
	}
}

var _ = Describe("The TrafficRoute of an outbound", func() {
	web := []api.Tags{{api.ServiceTag: "web", "version": "v1", "region": "eu"}}
	anyone := selectors(service("*"))

	DescribeTable("is the most specific one, whatever the order they come in",
		func(proxy []api.Tags, expected string, routes ...*api.Resource) {
			for range 20 {
				rand.Shuffle(len(routes), func(i, j int) { routes[i], routes[j] = routes[j], routes[i] })
				before := slices.Clone(routes)
				got := plugin.NewRouteSelector(proxy, routes).For("backend")
				Expect(routes).To(Equal(before), "the caller's slice is left as it was")
				if expected == "" {
					Expect(got).To(BeNil())
				} else {
					Expect(got).NotTo(BeNil())
					Expect(got.Meta.Name).To(Equal(expected))
				}
			}
		},
		Entry("none where there are none", web, ""),
		Entry("none where the source is another", web, "",
			candidateRoute("a", 0, selectors(service("api")), service("backend"))),
		Entry("none where the destination is another", web, "",
			candidateRoute("a", 0, anyone, service("frontend"))),
		Entry("a wildcard for both", web, "a",
			candidateRoute("a", 0, anyone, service("*"))),
		Entry("an exact destination over a wildcard", web, "b",
			candidateRoute("a", 9, anyone, service("*")),
			candidateRoute("b", 0, anyone, service("backend"))),
		Entry("an exact source over a wildcard", web, "b",
			candidateRoute("a", 9, anyone, service("*")),
			candidateRoute("b", 0, selectors(service("web")), service("*"))),
		Entry("an exact source counts as much as an exact destination: the later wins", web, "a",
			candidateRoute("a", 9, anyone, service("backend")),
			candidateRoute("b", 0, selectors(service("web")), service("*"))),
		Entry("more tags over exact values: two wildcards and a wildcard beat two exact ones", web, "a",
			candidateRoute("a", 0, selectors(api.Tags{api.ServiceTag: "*", "version": "*"}), service("*")),
			candidateRoute("b", 9, selectors(service("web")), service("backend"))),
		Entry("exact values among as many tags", web, "b",
			candidateRoute("a", 9, selectors(api.Tags{api.ServiceTag: "*", "version": "v1"}), service("*")),
			candidateRoute("b", 0, selectors(api.Tags{api.ServiceTag: "web", "version": "v1"}), service("*"))),
		Entry("the best of several sources counts", web, "b",
			candidateRoute("a", 9, selectors(service("web")), service("backend")),
			candidateRoute("b", 0, selectors(service("*"), api.Tags{api.ServiceTag: "web", "region": "eu"}, service("*")), service("backend"))),
		Entry("of several sources, those that do not match do not count", web, "a",
			candidateRoute("a", 0, selectors(service("web")), service("backend")),
			candidateRoute("b", 9, selectors(service("*"), api.Tags{api.ServiceTag: "web", "region": "us"}), service("backend"))),
		Entry("the best of several destinations counts", web, "b",
			candidateRoute("a", 9, anyone, service("*")),
			candidateRoute("b", 0, anyone, service("*"), service("frontend"), service("backend"))),
		Entry("a tag that the proxy lacks does not match, not even with a wildcard", web, "a",
			candidateRoute("a", 0, anyone, service("*")),
			candidateRoute("b", 9, selectors(api.Tags{api.ServiceTag: "web", "team": "*"}), service("backend"))),
		Entry("the one created last at equal rank", web, "b",
			candidateRoute("a", 0, anyone, service("backend")),
			candidateRoute("b", 2, anyone, service("backend")),
			candidateRoute("c", 1, anyone, service("backend"))),
		Entry("the first by name at equal rank and age", web, "a",
			candidateRoute("c", 0, anyone, service("backend")),
			candidateRoute("a", 0, anyone, service("backend")),
			candidateRoute("b", 0, anyone, service("backend"))),
		Entry("age does not outdo rank", web, "a",
			candidateRoute("a", 0, selectors(service("web")), service("backend")),
			candidateRoute("b", 9, anyone, service("backend"))),
		Entry("any inbound of the proxy may match", []api.Tags{service("admin"), service("web")}, "b",
			candidateRoute("a", 9, anyone, service("backend")),
			candidateRoute("b", 0, selectors(service("web")), service("backend"))),
		Entry("tags of two inbounds do not add up",
			[]api.Tags{{api.ServiceTag: "web"}, {api.ServiceTag: "admin", "version": "v1"}}, "a",
			candidateRoute("a", 0, anyone, service("backend")),
			candidateRoute("b", 9, selectors(api.Tags{api.ServiceTag: "web", "version": "v1"}), service("backend"))),
		Entry("a proxy without tags is matched by an empty selector alone", nil, "b",
			candidateRoute("a", 9, anyone, service("backend")),
			candidateRoute("b", 0, selectors(nil), service("backend"))),
		Entry("an empty destination matches every service, least of all", web, "b",
			candidateRoute("a", 9, anyone, api.Tags{}),
			candidateRoute("b", 0, anyone, service("*"))),
		Entry("a destination with a further tag matches no outbound", web, "",
			candidateRoute("a", 0, anyone, api.Tags{api.ServiceTag: "backend", "version": "v1"})),
		Entry("resources of other kinds are passed over", web, "a",
			candidateRoute("a", 0, anyone, service("backend")),
			&api.Resource{Kind: api.KindMesh, Meta: api.Meta{Name: "default"}, Spec: &api.Mesh{}}),
	)

	It("agrees with Kuma's rules for random routes and any number of services", func() {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		values := []string{"*", "v1", "v2"}
		services := []string{"*", "s0", "s1", "s2"}
		for range 300 {
			proxy := []api.Tags{{api.ServiceTag: "s0", "version": "v1"}, {api.ServiceTag: "s1", "version": "v2"}}
			var routes []*api.Resource
			for i := range 1 + rng.IntN(8) {
				var sources []*api.Selector
				for range 1 + rng.IntN(3) {
					tags := api.Tags{api.ServiceTag: services[rng.IntN(4)]}
					if rng.IntN(2) == 0 {
						tags["version"] = values[rng.IntN(3)]
					}
					sources = append(sources, selectors(tags)...)
				}
				destinations := []api.Tags{service(services[rng.IntN(4)]), service(services[rng.IntN(4)])}
				routes = append(routes, candidateRoute(fmt.Sprint("r", i), rng.IntN(2), sources, destinations...))
			}
			expected := map[string]string{}
			for _, s := range services[1:] {
				expected[s] = bestByKumasRules(proxy, s, routes)
			}
			rng.Shuffle(len(routes), func(i, j int) { routes[i], routes[j] = routes[j], routes[i] })
			selector := plugin.NewRouteSelector(proxy, routes)
			for s, name := range expected {
				got := ""
				if r := selector.For(s); r != nil {
					got = r.Meta.Name
				}
				Expect(got).To(Equal(name), "service %s, seed %d, routes %v", s, seed, routes)
			}
		}
	})
})

// bestByKumasRules tries every pair of selectors of every route, in the order
// of names, and keeps what is strictly better: more tags, more exact values,
// created later.
func bestByKumasRules(proxy []api.Tags, service string, routes []*api.Resource) string {
	var best *api.Resource
	bestKey := []int{-1, -1, -1}
	for _, r := range routes { // named r0, r1, ... in this order
		spec := r.Spec.(*api.TrafficRoute)
		for _, s := range spec.GetSources() {
			if !slices.ContainsFunc(proxy, func(t api.Tags) bool { return api.Tags(s.GetMatch()).Matches(t) }) {
				continue
			}
			for _, d := range spec.GetDestinations() {
				if !api.Tags(d.GetMatch()).Matches(map[string]string{api.ServiceTag: service}) {
					continue
				}
				exact := 0
				for _, tags := range []map[string]string{s.GetMatch(), d.GetMatch()} {
					for _, v := range tags {
						if v != api.MatchAll {
							exact++
						}
					}
				}
				key := []int{len(s.GetMatch()) + len(d.GetMatch()), exact, r.Meta.CreationTime.Minute()}
				if slices.Compare(key, bestKey) > 0 {
					best, bestKey = r, key
				}
			}
		}
	}
	if best == nil {
		return ""
	}
	return best.Meta.Name
}
