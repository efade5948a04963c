package ads_test

import (
	"time"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// mirrored is a proxy that routes to one cluster and copies to others.
func mirrored(to string, mirrors ...string) *xds.ResourceSet {
	return mirroredWith(to, 1, mirrors...)
}

// mirroredWith is one whose mirror clusters differ by their connect timeout.
func mirroredWith(to string, seconds int64, mirrors ...string) *xds.ResourceSet {
	rs := routed(to)
	action := rs.Routes()[0].GetVirtualHosts()[0].GetRoutes()[0].GetRoute()
	for _, m := range mirrors {
		edsWith(m, 1, seconds)(rs)
		for _, r := range rs.All() {
			if r.Name == m {
				r.Origin = xds.OriginMirror
			}
		}
		action.RequestMirrorPolicies = append(action.RequestMirrorPolicies, &route.RouteAction_RequestMirrorPolicy{Cluster: m})
	}
	return rs
}

// copiesTo is where a pushed route table copies to.
func copiesTo(tables push) []string {
	GinkgoHelper()
	table := unmarshal(tables.Bodies["table"], &route.RouteConfiguration{})
	return xds.MirrorsOf(table, func(string) bool { return true })
}

var _ = Describe("what Envoy refuses of a mirror", func() {
	const complaint = "Error adding/updating cluster(s) m1: Invalid path: /ca.pem"

	for _, protocol := range []ads.Protocol{ads.Delta, ads.StateOfTheWorld} {
		Describe("over "+string(protocol), func() {
			var (
				h *host
				p *peer
			)
			// open starts a host that tries again after a while, and an Envoy.
			open := func(retry time.Duration) {
				GinkgoHelper()
				h = newHostWith(ads.Options{Grace: grace, Drain: drain, Retry: retry})
				Expect(h.Set(web, routed("a"))).To(Succeed())
				p = h.connect(protocol, web)
				p.start("a")
			}
			set := func(rs *xds.ResourceSet) {
				GinkgoHelper()
				Expect(h.Set(web, rs)).To(Succeed())
			}
			leftOut := func() (names []string) {
				for _, l := range h.status(web).LeftOut {
					names = append(names, l.Name)
				}
				return names
			}
			// until acknowledges what comes until a route table does, and that.
			until := func() push {
				GinkgoHelper()
				tables := p.nextOf(RDS)
				p.ack(tables)
				return tables
			}

			It("is left out, and all else is served as if the mirror were at 0 %", func() {
				open(time.Hour)
				set(mirrored("b", "m1", "m2"))
				p.nack(p.next(CDS), complaint)
				tables := until()
				Expect(routeOf(tables)).To(Equal("b"))
				Expect(copiesTo(tables)).To(HaveExactElements("m2"))
				p.settle("b", "m2")
				Eventually(h.inSync(web)).Should(BeTrue())
				Expect(h.status(web).LeftOut).To(HaveExactElements(And(
					HaveField("Type", CDS), HaveField("Name", "m1"), HaveField("Refusal.Message", complaint))))
			})

			It("holds up no later change", func() {
				open(time.Hour)
				set(mirrored("b", "m1"))
				p.nack(p.next(CDS), complaint)
				until()
				set(mirrored("c", "m1"))
				tables := until()
				Expect(routeOf(tables)).To(Equal("c"))
				Expect(copiesTo(tables)).To(BeEmpty())
				p.settle("c")
			})

			It("holds up no Envoy that starts", func() {
				open(time.Hour)
				set(mirrored("b", "m1"))
				p.nack(p.next(CDS), complaint)
				until()
				p.close()
				p = h.connect(protocol, web)
				p.subscribe(CDS)
				p.nack(p.next(CDS), complaint)
				p.ack(p.next(CDS))
				Expect(p.clusters).To(HaveKey("b"))
				Expect(p.clusters).NotTo(HaveKey("m1"))
				p.subscribe(LDS)
				p.ack(p.next(LDS))
			})

			It("is tried again when it changes", func() {
				open(time.Hour)
				set(mirrored("b", "m1"))
				p.nack(p.next(CDS), complaint)
				until()
				set(mirroredWith("b", 2, "m1"))
				Expect(copiesTo(until())).To(HaveExactElements("m1"))
				Expect(leftOut()).To(BeEmpty())
			})

			It("is tried again after a while, and reported until it is accepted", func() {
				open(30 * time.Millisecond)
				set(mirrored("b", "m1"))
				p.nack(p.next(CDS), complaint)
				Expect(copiesTo(until())).To(BeEmpty())
				Expect(leftOut()).To(HaveExactElements("m1"))
				Expect(copiesTo(until())).To(HaveExactElements("m1"))
				Eventually(leftOut).Should(BeEmpty())
				Eventually(h.inSync(web)).Should(BeTrue())
			})

			It("is found by trying each alone where Envoy names none", func() {
				open(time.Hour)
				set(mirrored("b", "m1", "m2", "m3"))
				// The Envoy refuses whatever m2 is new in.
				had := map[string]bool{}
				Eventually(func(g Gomega) {
					select {
					case got := <-p.pushes:
						_, bad := got.Resources["m2"]
						if got.Type == CDS && bad {
							p.nack(got, "something is wrong")
						} else {
							p.apply(got)
							p.ack(got)
						}
						if got.Type == RDS {
							clear(had)
							for _, m := range copiesTo(got) {
								had[m] = true
							}
						}
					default:
					}
					g.Expect(had).To(has("m1", "m3"))
					g.Expect(leftOut()).To(HaveExactElements("m2"))
					g.Expect(h.status(web).InSync).To(BeTrue())
				}).WithPolling(time.Millisecond).Should(Succeed())
			})

			It("is not blamed for a primary that Envoy names", func() {
				open(time.Hour)
				set(mirrored("b", "m1"))
				p.nack(p.next(CDS), "Error adding/updating cluster(s) b: no")
				p.nothing()
				Expect(leftOut()).To(BeEmpty())
				Expect(h.status(web).InSync).To(BeFalse())
			})

			It("leaves a route table without mirrors, also for an Envoy that starts", func() {
				open(time.Hour)
				set(mirrored("b", "m1"))
				p.ack(p.next(CDS))
				refused := p.nextOf(RDS)
				Expect(copiesTo(refused)).To(HaveExactElements("m1"))
				p.nack(refused, "Invalid header configuration")
				tables := until()
				Expect(routeOf(tables)).To(Equal("b"))
				Expect(copiesTo(tables)).To(BeEmpty())
				Expect(h.status(web).LeftOut).To(HaveExactElements(And(HaveField("Type", RDS), HaveField("Name", "table"))))
				p.close()
				p = h.connect(protocol, web)
				Expect(copiesTo(p.start("b", "m1")[RDS])).To(BeEmpty())
			})

			It("ends the change where a route table is refused without its mirrors, too", func() {
				open(time.Hour)
				set(mirrored("b", "m1"))
				p.ack(p.next(CDS))
				p.nack(p.nextOf(RDS), "no")
				p.nack(p.nextOf(RDS), "still no")
				p.nothing()
				Expect(h.status(web).InSync).To(BeFalse())
				Expect(p.clusters).To(HaveKey("a"))
			})
		})
	}
})
