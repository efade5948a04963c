package generate_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
)

var _ = Describe("the stats", func() {
	const resources = `
type: Dataplane
name: client
networking:
  address: 127.0.0.1
  gateway: {tags: {kuma.io/service: client}}
  outbound:
  - {port: 1, tags: {kuma.io/service: back.end}}
  - {port: 2, tags: {kuma.io/service: back.end, version: v1}}
---
type: Dataplane
name: backend
networking:
  address: 127.0.0.1
  inbound: [{port: 3, tags: {kuma.io/service: back.end, kuma.io/protocol: http, version: v1}}]
---
type: TrafficRoute
name: a.route
sources: [{match: {kuma.io/service: '*'}}]
destinations: [{match: {kuma.io/service: '*'}}]
conf:
  http:
  - {match: {path: {prefix: /none}}, destination: {kuma.io/service: '*'}}
  - {match: {path: {prefix: /off}}, destination: {kuma.io/service: '*'}, mirror: {destination: {kuma.io/service: x}, percentage: 0}}
  - {match: {path: {prefix: /on}}, destination: {kuma.io/service: '*'}, mirrors: [{destination: {kuma.io/service: x}, percentage: 0}, {destination: {kuma.io/service: y}}]}
  destination: {kuma.io/service: '*'}
  mirror: {destination: {kuma.io/service: x}}
`

	It("are counted apart for the routes whose mirrors copy anything, and for no others", func(ctx SpecContext) {
		parsed, err := api.Parse("test", []byte(resources))
		Expect(err).NotTo(HaveOccurred())
		rs, _, err := generate.Proxy(ctx, mesh.New(parsed), api.Key{Kind: api.KindDataplane, Mesh: "default", Name: "client"})
		Expect(err).NotTo(HaveOccurred())
		names := map[string][]string{}
		for _, table := range rs.Routes() {
			host := table.GetVirtualHosts()[0]
			for _, r := range host.GetRoutes() {
				names[table.GetName()] = append(names[table.GetName()], generate.StatsOf(host, r))
			}
		}
		plain := api.Tags{"kuma.io/service": "back.end"}
		v1 := api.Tags{"kuma.io/service": "back.end", "version": "v1"}
		policy := api.Key{Kind: api.KindTrafficRoute, Mesh: "default", Name: "a.route"}
		Expect(names).To(Equal(map[string][]string{
			"outbound:" + plain.ClusterName(): {"", "", "", generate.RouteStats(policy, "conf.http[2]", plain), "", generate.RouteStats(policy, "conf", plain)},
			"outbound:" + v1.ClusterName():    {"", "", "", generate.RouteStats(policy, "conf.http[2]", v1), "", generate.RouteStats(policy, "conf", v1)},
		}))
	})

	It("are called after the policy and the entry, without dots, and differ by outbound", func() {
		policy := api.Key{Kind: api.KindTrafficRoute, Mesh: "default", Name: "a.route"}
		tags := api.Tags{"kuma.io/service": "back.end"}
		Expect(generate.RouteStats(policy, "conf.http[2]", tags)).To(Equal("vhost.back.end.route.a_route_http_2"))
		Expect(generate.RouteStats(policy, "conf", tags)).To(Equal("vhost.back.end.route.a_route_default"))
		tags["version"] = "v1"
		Expect(generate.RouteStats(policy, "conf", tags)).To(MatchRegexp(`^vhost\.back\.end\.route\.a_route_default_[0-9a-f]{16}$`))
	})

	DescribeTable("of clusters are called as Envoy calls them", func(c *clusterv3.Cluster, name string) {
		Expect(generate.ClusterStats(c)).To(Equal(name))
	},
		Entry("after the cluster", &clusterv3.Cluster{Name: "backend"}, "cluster.backend"),
		Entry("without colons", &clusterv3.Cluster{Name: "localhost:80"}, "cluster.localhost_80"),
		Entry("after what it is called in stats", &clusterv3.Cluster{Name: "backend", AltStatName: "shadow"}, "cluster.shadow"),
	)
})
