package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/client"
)

var _ = Describe("kuma-mirror get", func() {
	It("shows each kind in a table", func() {
		resources, err := api.Parse("test", []byte(shopMesh+`---
type: TrafficRoute
mesh: shop
name: many
creationTime: 2026-01-02T03:00:00Z
modificationTime: 2026-01-02T03:01:00Z
sources: [{match: {kuma.io/service: till}}]
destinations: [{match: {kuma.io/service: bank}}]
conf:
  http:
  - {match: {path: {prefix: /a}}, destination: {kuma.io/service: bank}, mirrors: [{destination: {kuma.io/service: a}}, {destination: {kuma.io/service: b}, percentage: 1}]}
  - {match: {path: {prefix: /b}}, destination: {kuma.io/service: bank}, mirror: {destination: {kuma.io/service: a}}}
  destination: {kuma.io/service: bank}
---
type: TrafficRoute
mesh: shop
name: none
sources: [{match: {kuma.io/service: till}}]
destinations: [{match: {kuma.io/service: bank}}]
conf: {destination: {kuma.io/service: bank}}
---
type: Dataplane
mesh: shop
name: server
networking:
  address: 192.0.2.1
  inbound:
  - {port: 80, tags: {kuma.io/service: web}}
  - {port: 81, tags: {kuma.io/service: web}}
  - {port: 82, tags: {kuma.io/service: admin}}
`))
		Expect(err).NotTo(HaveOccurred())
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		var out bytes.Buffer
		for _, kind := range []api.Kind{api.KindMesh, api.KindDataplane, api.KindExternalService, api.KindTrafficRoute} {
			var some []client.Item
			for _, r := range resources {
				if r.Kind == kind {
					some = append(some, client.Item{Resource: r})
				}
			}
			some[0].File = "conf/a.yaml"
			Expect(writeTable(&out, kind, some, now)).To(Succeed())
			out.WriteString("\n")
		}
		Expect(out.String()).To(Equal(`NAME  AGE  SOURCE
shop  -    conf/a.yaml

MESH  NAME    ADDRESS    SERVICES    OUTBOUNDS  AGE  SOURCE
shop  till    127.0.0.1  till        1          -    conf/a.yaml
shop  server  192.0.2.1  web, admin  0          -    -

MESH  NAME  SERVICE  ADDRESS           TLS  AGE  SOURCE
shop  bank  bank     bank.example:443  yes  -    conf/a.yaml

MESH  NAME  MIRRORS                     AGE  SOURCE
shop  bank  0.5 % to bank (version=v2)  -    conf/a.yaml
shop  many  100 % to a; 1 % to b        4m   api
shop  none  -                           -    -

`))
	})

	DescribeTable("gives the age in its largest unit", func(d time.Duration, want string) {
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		Expect(age(now.Add(-d), now)).To(Equal(want))
	},
		Entry(nil, -time.Second, "0s"), // clocks differ
		Entry(nil, 59*time.Second, "59s"),
		Entry(nil, time.Hour-1, "59m"),
		Entry(nil, 47*time.Hour, "47h"),
		Entry(nil, 49*time.Hour, "2d"),
	)

	Describe("of a host", func() {
		var h *apiHost
		BeforeEach(func(ctx SpecContext) {
			h = startAPI("")
			h.applied(ctx, shopMesh)
		})

		get := func(ctx SpecContext, args ...string) ran { return h.run(ctx, newGetCommand(), "", args...) }

		It("shows what is there", func(ctx SpecContext) {
			Expect(get(ctx, "traffic-routes", "-m", "shop").stdout).To(MatchRegexp(
				`^MESH  NAME  MIRRORS +AGE +SOURCE\nshop  bank  0.5 % to bank \(version=v2\)  \d+s +api\n$`))
			Expect(get(ctx, "tr", "bank", "--mesh", "shop").stdout).To(Equal(get(ctx, "tr", "-m", "shop").stdout))
			Expect(get(ctx, "dp", "-A").stdout).To(ContainSubstring("\nshop  till "))
			Expect(get(ctx, "meshes").stdout).To(MatchRegexp(`^NAME +AGE +SOURCE\ndefault  - +-\nshop +\d+s +api\n$`))
		})

		DescribeTable("knows a kind by any name", func(ctx SpecContext, names ...string) {
			for _, name := range names {
				r := get(ctx, name, "-m", "shop", "-o", "yaml")
				Expect(r.code).To(Equal(exitOK), r.stderr)
				Expect(r.stdout).To(ContainSubstring("type: "))
			}
		},
			Entry(nil, "meshes", "mesh", "m", "Mesh"),
			Entry(nil, "dataplanes", "dataplane", "dp", "Dataplane"),
			Entry(nil, "external-services", "external-service", "externalservices", "externalservice", "ExternalService", "es"),
			Entry(nil, "traffic-routes", "traffic-route", "trafficroutes", "TrafficRoute", "tr"),
		)

		It("names the files that the host has resources from", func(ctx SpecContext) {
			h := startAPI(toV2)
			Expect(h.run(ctx, newGetCommand(), "", "tr").stdout).To(MatchRegexp(`backend  10 % to backend \(version=v2\)  - +/.*/resources.yaml#?1?\n$`))
			Expect(h.run(ctx, newGetCommand(), "", "tr").stdout).To(Equal(h.run(ctx, newGetCommand(), "", "tr", "backend").stdout))
		})

		It("says that there are none", func(ctx SpecContext) {
			r := get(ctx, "traffic-routes")
			Expect(r.code).To(Equal(exitOK))
			Expect(r.stdout).To(BeEmpty())
			Expect(r.stderr).To(Equal("There are no traffic-routes in mesh \"default\".\n"))
			Expect(get(ctx, "traffic-routes", "-o", "json").stdout).To(MatchJSON(`{"apiVersion": "v1", "kind": "List", "items": []}`))
		})

		It("names what is not there", func(ctx SpecContext) {
			r := get(ctx, "traffic-route", "web", "-m", "shop")
			Expect(r.code).To(Equal(exitFailed))
			Expect(r.stderr).To(Equal("Error: there is no TrafficRoute \"web\" in mesh \"shop\"\n"))
			r = get(ctx, "traffic-routes", "-m", "nowhere")
			Expect(r.code).To(Equal(exitFailed))
			Expect(r.stderr).To(Equal("Error: there is no Mesh \"nowhere\"\n"))
			Expect(get(ctx, "mesh", "nowhere").stderr).To(Equal("Error: there is no Mesh \"nowhere\"\n"))
		})

		DescribeTable("gives what can be applied again", func(ctx SpecContext, format string, args ...string) {
			r := get(ctx, append(args, "-o", format)...)
			Expect(r.code).To(Equal(exitOK), r.stderr)
			Expect(strings.Split(strings.TrimSpace(h.applied(ctx, r.stdout)), "\n")).To(HaveEach(HaveSuffix(" unchanged")))
		},
			Entry("one as YAML", "yaml", "tr", "bank", "-m", "shop"),
			Entry("one as JSON", "json", "tr", "bank", "-m", "shop"),
			Entry("all as YAML", "yaml", "dp", "-A"),
			Entry("all as JSON", "json", "tr", "-A"),
		)

		It("follows the pages of a long list", func(ctx SpecContext) {
			var many strings.Builder
			for i := range 1100 {
				fmt.Fprintf(&many, "---\ntype: Mesh\nname: mesh-%04d\n", i)
			}
			h.applied(ctx, many.String())
			r := get(ctx, "meshes")
			Expect(strings.Count(r.stdout, "\nmesh-")).To(Equal(1100))
		})
	})
})
