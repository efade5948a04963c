package check_test

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/check"
)

const dataplanes = `
type: Dataplane
name: client
networking:
  address: 127.0.0.1
  gateway: {tags: {kuma.io/service: client}}
  outbound:
  - {port: 10001, tags: {kuma.io/service: backend}}
---
type: Dataplane
name: client-2
networking:
  address: 127.0.0.1
  gateway: {tags: {kuma.io/service: client}}
  outbound:
  - {port: 10001, tags: {kuma.io/service: backend}}
---
type: Dataplane
name: backend
networking:
  address: 192.0.2.1
  inbound:
  - {port: 80, tags: {kuma.io/service: backend, kuma.io/protocol: http, version: v1}}
  - {port: 81, tags: {kuma.io/service: backend, kuma.io/protocol: http, version: v2}}
`

const route = `---
type: TrafficRoute
name: route
sources: [{match: {kuma.io/service: client}}]
destinations: [{match: {kuma.io/service: backend}}]
conf:
  destination: {kuma.io/service: backend, version: v1}
  mirror: {destination: {kuma.io/service: backend, version: v2}}
`

var _ = Describe("a check", func() {
	checked := func(ctx SpecContext, documents string) (errors, warnings api.Violations) {
		GinkgoHelper()
		resources, err := api.Parse("input.yaml", []byte(documents))
		Expect(err).NotTo(HaveOccurred())
		return check.Resources(ctx, resources, check.ReadFile)
	}
	// warnings are "object: path: message", where the object is its name alone.
	warnings := func(ctx SpecContext, documents string) []string {
		GinkgoHelper()
		errors, warnings := checked(ctx, documents)
		Expect(errors).To(BeEmpty())
		out := []string{}
		for _, w := range warnings {
			Expect(w.Source).To(HavePrefix("input.yaml#"))
			name := strings.Split(w.Object, `"`)[1]
			out = append(out, name+": "+w.Path+": "+w.Message)
		}
		return out
	}

	It("warns of copies of gRPC calls without their messages", func(ctx SpecContext) {
		omitting := strings.Replace(route, "version: v2}", "version: v2}, body: omit", 1)
		Expect(warnings(ctx, dataplanes+omitting)).To(BeEmpty())
		Expect(warnings(ctx, strings.ReplaceAll(dataplanes, "protocol: http", "protocol: grpc")+omitting)).To(ConsistOf(
			ContainSubstring(`conf.mirror.body: leaves out the messages of gRPC calls on the outbound to "backend"`)))
	})

	// shadowed is the route with a mirror to the service "shadow", and that service.
	shadowed := func(shadow string) string {
		return dataplanes + strings.Replace(route, "{kuma.io/service: backend, version: v2}", "{kuma.io/service: shadow}", 1) + "---\n" + shadow
	}
	inbound := func(tags string) string {
		return "type: Dataplane\nname: shadow\nnetworking:\n  address: 192.0.2.2\n  inbound:\n  - {port: 80, tags: {kuma.io/service: shadow" + tags + "}}\n"
	}
	external := func(name, address, more string) string {
		return "---\ntype: ExternalService\nname: " + name + "\ntags: {kuma.io/service: shadow, kuma.io/protocol: http}\nnetworking: {address: \"" + address + "\"" + more + "}\n"
	}

	DescribeTable("warns of a shadow that does not speak what copies are",
		func(ctx SpecContext, documents string, want ...any) {
			Expect(warnings(ctx, documents)).To(HaveExactElements(want...))
		},
		Entry("no protocol", shadowed(inbound("")), HavePrefix(`route: conf.mirror.destination: copies go to "shadow" as HTTP/1.1, though it is not known to speak HTTP`)),
		Entry("kafka", shadowed(inbound(", kuma.io/protocol: kafka")), HavePrefix(`route: conf.mirror.destination: copies go to "shadow" as HTTP/1.1`)),
		Entry("http", shadowed(inbound(", kuma.io/protocol: http"))),
		Entry("http of gRPC calls", strings.ReplaceAll(shadowed(""), "protocol: http", "protocol: grpc")+inbound(", kuma.io/protocol: http"),
			HavePrefix(`route: conf.mirror.destination: copies of gRPC calls on the outbound to "backend" go to "shadow" as HTTP/1.1`)),
		Entry("grpc of gRPC calls", strings.ReplaceAll(shadowed(""), "protocol: http", "protocol: grpc")+inbound(", kuma.io/protocol: grpc")),
		Entry("port 443 without TLS", shadowed(external("a", "a.test:443", "")), HavePrefix(`route: conf.mirror.destination: copies go to a.test:443 of "shadow" without TLS`)),
		Entry("port 443 with TLS", shadowed(external("a", "a.test:443", ", tls: {enabled: true}"))),
		Entry("several hosts", shadowed(external("a", "a.test:80", "")+external("b", "b.test:80", "")),
			HavePrefix(`route: conf.mirror.destination: "shadow" has instances of several hosts, and all copies carry the first one's: a.test, not b.test`)),
		Entry("several hosts that a mirror's own replaces", strings.Replace(shadowed(external("a", "a.test:80", "")+external("b", "b.test:80", "")),
			"mirror: {destination", "mirror: {host: {value: c.test}, destination", 1)),
	)

	It("has nothing to say of what is right", func(ctx SpecContext) {
		Expect(warnings(ctx, dataplanes+route)).To(BeEmpty())
	})

	It("gives errors, and no warnings beside them", func(ctx SpecContext) {
		errors, warnings := checked(ctx, dataplanes+strings.ReplaceAll(route, "kuma.io/service: backend, version: v2", "version: v2"))
		Expect(errors).To(HaveLen(1))
		Expect(errors[0].Path).To(HavePrefix("conf.mirror.destination"))
		Expect(warnings).To(BeEmpty())
	})

	It("warns of a mirror on an outbound that is not HTTP, once for all data planes", func(ctx SpecContext) {
		Expect(warnings(ctx, strings.ReplaceAll(dataplanes, "kuma.io/protocol: http, ", "")+route)).To(HaveExactElements(
			HavePrefix(`route: conf.mirror: copies nothing on the outbound to "backend": the outbound is not HTTP`)))
	})

	DescribeTable("warns of a destination that nobody serves",
		func(ctx SpecContext, from, to, want string) {
			Expect(route).To(ContainSubstring(from))
			Expect(warnings(ctx, dataplanes+strings.Replace(route, from, to, 1))).To(HaveExactElements(want))
		},
		Entry("a shadow's service", "{kuma.io/service: backend, version: v2}", "{kuma.io/service: nowhere}",
			`route: conf.mirror.destination: no data plane and no ExternalService serves "nowhere"`),
		Entry("a shadow's tags", "version: v2", "version: v3",
			`route: conf.mirror.destination: no ready instance has the tags kuma.io/service=backend,version=v3`),
		Entry("a primary", "version: v1", "version: v3",
			`route: conf.destination: no ready instance has the tags kuma.io/service=backend,version=v3`),
		Entry("a share of a split", "destination: {kuma.io/service: backend, version: v1}",
			"split: [{weight: 0, destination: {kuma.io/service: zero}}, {weight: 1, destination: {kuma.io/service: backend}}, {weight: 1, destination: {kuma.io/service: nowhere}}]",
			`route: conf.split[2].destination: no data plane and no ExternalService serves "nowhere"`),
		Entry("one shadow of several in an entry", "conf:\n",
			"conf:\n  http: [{match: {path: {prefix: /x}}, destination: {kuma.io/service: backend}, mirrors: ["+
				"{destination: {kuma.io/service: backend, version: v2}}, {destination: {kuma.io/service: nowhere}}]}]\n",
			`route: conf.http[0].mirrors[1].destination: no data plane and no ExternalService serves "nowhere"`),
	)

	It("says where a destination stands in the form that was written", func(ctx SpecContext) {
		Expect(warnings(ctx, dataplanes+`---
apiVersion: kuma.io/v1alpha1
kind: TrafficRoute
mesh: default
metadata: {name: route}
spec:
  sources: [{match: {kuma.io/service: client}}]
  destinations: [{match: {kuma.io/service: backend}}]
  conf: {destination: {kuma.io/service: nowhere}}
`)).To(HaveExactElements(HavePrefix("route: spec.conf.destination: ")))
	})

	It("passes on what the plugin has to say of a TrafficRoute", func(ctx SpecContext) {
		Expect(warnings(ctx, dataplanes+strings.Replace(route, "version: v2}}", "version: v2}, percentage: 0}", 1))).To(HaveExactElements(
			HavePrefix("route: conf.mirror.percentage: is 0")))
	})

	It("warns of a TrafficRoute that governs nothing, and of an outbound that none governs", func(ctx SpecContext) {
		Expect(warnings(ctx, dataplanes+strings.Replace(route, "service: client", "service: nobody", 1))).To(HaveExactElements(
			HavePrefix("client: networking.outbound[0]: no TrafficRoute governs it: it goes to its service"),
			HavePrefix("client-2: networking.outbound[0]: no TrafficRoute governs it"),
			HavePrefix("route: : governs no outbound of any data plane"),
		))
	})

	It("takes outbounds without TrafficRoutes as they are, but for services nobody serves", func(ctx SpecContext) {
		Expect(warnings(ctx, dataplanes)).To(BeEmpty())
		Expect(warnings(ctx, strings.Replace(dataplanes, "kuma.io/service: backend}", "kuma.io/service: nowhere}", 1))).To(HaveExactElements(
			`client: networking.outbound[0].tags: no data plane and no ExternalService serves "nowhere"`))
	})

	It("warns of inbounds that an ExternalService takes the traffic from", func(ctx SpecContext) {
		Expect(warnings(ctx, dataplanes+"---\ntype: ExternalService\nname: outside\n"+
			"tags: {kuma.io/service: backend, kuma.io/protocol: http}\nnetworking: {address: 'backend.example:80'}\n")).To(HaveExactElements(
			HavePrefix(`outside: tags["kuma.io/service"]: Dataplane "backend" in mesh "default" has an inbound of the same service`)))
	})

	// world has a client that calls two services, and a shadow.
	const world = `
type: Dataplane
name: client
networking:
  address: 127.0.0.1
  gateway: {tags: {kuma.io/service: client}}
  outbound:
  - {port: 10001, tags: {kuma.io/service: backend}}
  - {port: 10002, tags: {kuma.io/service: 'web:1'}}
---
type: Dataplane
name: servers
networking:
  address: 192.0.2.1
  inbound:
  - {port: 80, tags: {kuma.io/service: backend, kuma.io/protocol: http, region: a}}
  - {port: 81, tags: {kuma.io/service: 'web:1', kuma.io/protocol: http}}
  - {port: 82, tags: {kuma.io/service: shadow, kuma.io/protocol: http, version: v1, region: b}}
`
	// routed is a TrafficRoute of that name for a service, or for all: '*'.
	routed := func(name, service, conf string) string {
		return "---\ntype: TrafficRoute\nname: " + name + "\nsources: [{match: {kuma.io/service: client}}]\n" +
			"destinations: [{match: {kuma.io/service: '" + service + "'}}]\nconf:\n  destination: {kuma.io/service: '*'}\n" + conf + "\n"
	}
	// mirrored has the mirrors on the outbound to backend alone.
	mirrored := func(mirrors string) string {
		return routed("other", "*", "") + routed("route", "backend", "  mirrors:"+mirrors)
	}

	DescribeTable("warns where Envoy adds up the stats of two clusters",
		func(ctx SpecContext, routes string, want ...string) {
			for i := range want {
				want[i] += ": Envoy adds them up"
			}
			Expect(warnings(ctx, world+routes)).To(HaveExactElements(want))
		},
		Entry("a mirror is called as a primary", mirrored(`
  - {name: backend, destination: {kuma.io/service: shadow}}`),
			`route: conf.mirrors[0].name: its stats are called "backend", as are those of cluster "backend"`),
		Entry("a mirror is called as the stats of a primary", mirrored(`
  - {name: web_1, destination: {kuma.io/service: shadow}}`),
			`route: conf.mirrors[0].name: its stats are called "web_1", as are those of cluster "web:1"`),
		Entry("two mirrors differ in their destinations", mirrored(`
  - {name: s, destination: {kuma.io/service: shadow}}
  - {name: s, destination: {kuma.io/service: shadow, version: v1}}`),
			`route: conf.mirrors[1].name: its stats are called "s", as are those of conf.mirrors[0]`),
		Entry("two mirrors differ in their limits", routed("route", "*", `
  mirror: {name: s, destination: {kuma.io/service: shadow}}
  http:
  - match: {path: {prefix: /a}}
    destination: {kuma.io/service: '*'}
    mirror: {name: s, destination: {kuma.io/service: shadow}, limits: {maxConcurrentRequests: 1}}`),
			`route: conf.mirror.name: its stats are called "s", as are those of conf.http[0].mirror`),
		Entry("one without a name has another's", mirrored(`
  - {destination: {kuma.io/service: shadow}}
  - {name: shadow_mirror, destination: {kuma.io/service: shadow, version: v1}}`),
			`route: conf.mirrors[1].name: its stats are called "shadow_mirror", as are those of conf.mirrors[0]`),
		Entry("two TrafficRoutes have mirrors of one name", routed("b", "backend", `
  mirror: {name: s, destination: {kuma.io/service: shadow}}`)+routed("a", "*", `
  mirror: {name: s, destination: {kuma.io/service: shadow, version: v1}}`),
			`b: conf.mirror.name: its stats are called "s", as are those of TrafficRoute "a" in mesh "default": conf.mirror`),
		Entry("one mirror has a cluster for each outbound", routed("route", "*", `
  http:
  - match: {path: {prefix: /a}}
    destination: {kuma.io/service: shadow}
    mirror: {name: s, destination: {kuma.io/service: '*'}}`),
			`route: conf.http[0].mirror.name: its stats are called "s", as are those of the same mirror on another outbound`),
		Entry("not where one name is one cluster, though its tags are written differently",
			routed("b", "backend", `
  http:
  - match: {path: {prefix: /a}}
    destination: {kuma.io/service: shadow}
    mirror: {name: s, destination: {kuma.io/service: backend}}`)+routed("a", "*", `
  http:
  - match: {path: {prefix: /a}}
    destination: {kuma.io/service: 'web:1'}
    mirror: {name: s, destination: {kuma.io/service: backend, region: '*'}}`)),
	)

	It("leaves mirrors that are off out of account", func(ctx SpecContext) {
		Expect(warnings(ctx, world+mirrored(`
  - {name: s, destination: {kuma.io/service: shadow}}
  - {name: s, destination: {kuma.io/service: shadow, version: v1}, percentage: 0}`))).To(HaveExactElements(
			HavePrefix("route: conf.mirrors[1].percentage: is 0")))
	})

	It("warns of mirrors of one entry that an outbound makes the same", func(ctx SpecContext) {
		mirrors := `
  mirrors:
  - {destination: {kuma.io/service: shadow}}
  - {destination: {kuma.io/service: shadow, version: '*'}}
  - {name: more, destination: {kuma.io/service: shadow}}
  http:
  - match: {path: {prefix: /a}}
    destination: {kuma.io/service: '*'}
    mirror: {destination: {kuma.io/service: shadow}}`
		Expect(warnings(ctx, world+routed("route", "*", mirrors))).To(HaveExactElements(
			`route: conf.mirrors[1]: is the same as conf.mirrors[0] on the outbound to "backend": both copy to kuma.io/service=shadow`,
			`route: conf.mirrors[1]: is the same as conf.mirrors[0] on the outbound to "web:1": both copy to kuma.io/service=shadow`,
		))
	})

	DescribeTable("warns of a shadow that is the primary",
		func(ctx SpecContext, conf string, want ...string) {
			Expect(warnings(ctx, world+routed("other", "*", "")+routed("route", "backend", conf))).To(HaveExactElements(want))
		},
		Entry("once where they are written alike", "  mirror: {destination: {kuma.io/service: '*'}}",
			"route: conf.mirror.destination: is the primary's: it gets each of these requests twice"),
		Entry("on the outbound that makes them alike", "  mirror: {destination: {kuma.io/service: backend}}",
			`route: conf.mirror.destination: is the primary's on the outbound to "backend": it gets each of these requests twice`),
		Entry("where it is all of a split", `
  http:
  - match: {path: {prefix: /a}}
    split:
    - {weight: 1, destination: {kuma.io/service: '*'}}
    - {weight: 1, destination: {kuma.io/service: backend, version: '*'}}
    - {weight: 0, destination: {kuma.io/service: shadow}}
    mirror: {destination: {kuma.io/service: backend}}`,
			`route: conf.http[0].mirror.destination: is the primary's on the outbound to "backend": it gets each of these requests twice`),
		Entry("not where it is a part of a split", `
  http:
  - match: {path: {prefix: /a}}
    split:
    - {weight: 1, destination: {kuma.io/service: '*'}}
    - {weight: 1, destination: {kuma.io/service: shadow}}
    mirror: {destination: {kuma.io/service: backend}}`),
		Entry("not where it is another", "  mirror: {destination: {kuma.io/service: shadow}}"),
	)

	It("says which tags of a destination that nobody serves are the outbound's", func(ctx SpecContext) {
		inRegion := func(tags string) string {
			return strings.Replace(world, "{kuma.io/service: backend}", "{kuma.io/service: backend, "+tags+"}", 1)
		}
		mirrors := mirrored(`
  - {destination: {kuma.io/service: shadow, version: v1}}`)
		Expect(warnings(ctx, inRegion("region: b")+mirrors)).To(HaveExactElements(
			`route: conf.destination: no ready instance has the tags kuma.io/service=backend,region=b (kuma.io/service, region come from the outbound's tags)`))
		Expect(warnings(ctx, inRegion("region: a")+mirrors)).To(HaveExactElements(
			`route: conf.mirrors[0].destination: no ready instance has the tags kuma.io/service=shadow,region=a,version=v1 (region comes from the outbound's tags)`))
	})

	It("asks for no data plane where the mesh has none", func(ctx SpecContext) {
		inMesh := strings.Replace(route, "name: route", "name: route\nmesh: empty", 1)
		Expect(warnings(ctx, route)).To(BeEmpty())
		Expect(warnings(ctx, dataplanes+"---\n{type: Mesh, name: empty}\n"+inMesh)).To(BeEmpty())
	})
})
