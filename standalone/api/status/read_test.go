package status

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
)

var _ = Describe("the mirrors", func() {
	var w *world
	BeforeEach(func() { w = newWorld() })

	const inShop = `
type: Mesh
name: default
---
type: Mesh
name: shop
---
type: Mesh
name: aisle
---
type: Dataplane
mesh: shop
name: till
networking: {address: 127.0.0.1, gateway: {tags: {kuma.io/service: till}}, outbound: [{port: 10009, tags: {kuma.io/service: stock}}]}
---
type: Dataplane
mesh: shop
name: stock
networking: {address: 127.0.0.1, inbound: [{port: 9, tags: {kuma.io/service: stock, kuma.io/protocol: http}}]}
---
type: TrafficRoute
mesh: shop
name: all
sources: [{match: {kuma.io/service: '*'}}]
destinations: [{match: {kuma.io/service: '*'}}]
conf: {destination: {kuma.io/service: '*'}, mirror: {destination: {kuma.io/service: stock}}}
---
type: TrafficRoute
mesh: aisle
name: none
sources: [{match: {kuma.io/service: '*'}}]
destinations: [{match: {kuma.io/service: '*'}}]
conf: {destination: {kuma.io/service: '*'}, mirror: {destination: {kuma.io/service: stock}}}`

	It("are those of a mesh, or of all, in order", func(ctx SpecContext) {
		w.use(web, v1, v2, inShop, route(`{http: [{match: {headers: {x-b: {prefix: b}, x-a: {regex: a+}}}, destination: {kuma.io/service: backend, version: v1}, mirrors: [
  {destination: {kuma.io/service: backend, version: v2}, name: first}, {destination: {kuma.io/service: backend, version: v2}, name: second}]}],
  destination: {kuma.io/service: backend, version: v1}, mirror: {destination: {kuma.io/service: backend, version: v2}, percentage: 0}}`))
		of := func(mesh string) []string {
			all, err := w.Mirrors(ctx, mesh)
			Expect(err).NotTo(HaveOccurred())
			said := []string{}
			for _, m := range all {
				said = append(said, m.Mesh+" "+m.Dataplane+" "+m.Path+" "+m.Match+" "+m.Shadow.Name)
			}
			return said
		}
		inDefault := []string{
			"default web conf.http[0].mirrors[0] header x-a regex a+, header x-b prefix b first",
			"default web conf.http[0].mirrors[1] header x-a regex a+, header x-b prefix b second",
			"default web conf.mirror everything else ",
		}
		Expect(of("default")).To(Equal(inDefault))
		Expect(of("shop")).To(Equal([]string{"shop till conf.mirror everything "}))
		Expect(of("")).To(Equal(append(append([]string{"aisle  conf.mirror everything "}, inDefault...), "shop till conf.mirror everything ")))
		Expect(of("nowhere")).To(BeEmpty())
		Expect(w.Snapshot()).To(HaveLen(5))
	})

	It("are not read for somebody who does not wait", func() {
		w.use(web, v1, v2, mirrored(50))
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := w.Mirrors(ctx, "")
		Expect(err).To(MatchError(context.Canceled))
	})

	It("can be inspected down to what Envoy is given", func(ctx SpecContext) {
		w.use(web, v1, v2, mirrored(50))
		w.connect()
		all, _, err := w.Inspect(ctx, "default", "web", 0, 100)
		Expect(err).NotTo(HaveOccurred())
		Expect(all).To(HaveLen(1))
		e := all[0].Envoy
		all[0].Envoy = nil
		Expect(all[0]).To(Equal(w.mirror()))
		Expect(e.RouteTable).To(Equal("outbound:backend"))
		Expect(e.RouteStats + ".").To(Equal(onRoute))
		Expect(e.ClusterStats + ".").To(Equal(onShadow))
		var route struct {
			Route struct{ RequestMirrorPolicies []struct{ Cluster string } }
		}
		Expect(json.Unmarshal(e.Route, &route)).To(Succeed())
		Expect(route.Route.RequestMirrorPolicies[0].Cluster).To(Equal(all[0].Shadow.Cluster))
		Expect(string(e.Cluster)).To(ContainSubstring(`"name":"` + all[0].Shadow.Cluster + `"`))
		Expect(string(e.Endpoints)).To(ContainSubstring(`"portValue":2`))
	})

	It("can be inspected where Envoy is given nothing", func(ctx SpecContext) {
		w.use(web, v1, v2, mirrored(0))
		all, _, err := w.Inspect(ctx, "default", "web", 0, 100)
		Expect(err).NotTo(HaveOccurred())
		Expect(all).To(ConsistOf(And(HaveField("State", Off), HaveField("Envoy", BeNil()))))
		_, _, err = w.Inspect(ctx, "default", "wbe", 0, 100)
		Expect(err).To(MatchError(generate.ErrNoDataplane))
	})

	It("are built one page at a time where one data plane has many, until the caller leaves", func() {
		const mirrors = 1600
		w.use(web, v1, v2, crowd(mirrors))
		page, total, err := w.Inspect(context.Background(), "default", "web", 20, 5)
		Expect(err).NotTo(HaveOccurred())
		Expect(total).To(Equal(mirrors))
		Expect(page).To(HaveLen(5))
		Expect(page[0].Path).To(Equal("conf.http[20].mirror"))
		Expect(page[0].Envoy.Index).To(Equal(41), "each of 20 routes before it, and itself, is preceded by one for copies")
		Expect(page[0].SharedWith).To(And(HaveLen(maxSharedWith+1), ContainElement("and 1589 more")))

		ctx := &leaving{Context: context.Background(), after: 10}
		_, _, err = w.Inspect(ctx, "default", "web", 0, mirrors)
		Expect(err).To(MatchError(context.Canceled))
		Expect(ctx.asked).To(BeNumerically("<", 20), "no work is done for who has gone")
	})
})

// leaving is a context that ends once it has been asked often enough.
type leaving struct {
	context.Context
	after, asked int
}

func (l *leaving) Err() error {
	if l.asked++; l.asked > l.after {
		return context.Canceled
	}
	return nil
}

// crowd is a TrafficRoute of many entries, the mirrors of which share a cluster.
func crowd(entries int) string {
	var b strings.Builder
	b.WriteString("type: TrafficRoute\nname: crowd\nsources: [{match: {kuma.io/service: '*'}}]\n" +
		"destinations: [{match: {kuma.io/service: backend}}]\nconf:\n  destination: {kuma.io/service: backend, version: v1}\n  http:\n")
	for i := range entries {
		fmt.Fprintf(&b, "  - {match: {path: {prefix: /%d}}, destination: {kuma.io/service: backend, version: v1}, mirror: {destination: {kuma.io/service: backend, version: v2}}}\n", i)
	}
	return b.String()
}
