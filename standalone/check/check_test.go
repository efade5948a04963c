package check_test

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/check"
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
		return check.Resources(ctx, resources)
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
})
