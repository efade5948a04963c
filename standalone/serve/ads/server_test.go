package ads_test

import (
	"fmt"
	"runtime"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gleak"

	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

const web = "default.web"

var _ = Describe("Server", func() {
	for _, protocol := range []ads.Protocol{ads.Delta, ads.StateOfTheWorld} {
		Describe("over "+string(protocol), func() { behaves(protocol) })
	}

	Describe("Set", func() {
		DescribeTable("refuses what Envoy could not run and names it",
			func(parts []part, want string) {
				s := ads.New(ads.Options{})
				err := s.Set(web, proxy(parts...))
				Expect(err).To(MatchError(ContainSubstring("proxy default.web: ")))
				Expect(err).To(MatchError(ContainSubstring(want)))
				Expect(s.Statuses()).To(BeEmpty())
			},
			Entry("an EDS cluster without endpoints", []part{edsOnly("a", 1)}, `cluster "a": its endpoints "a" are missing`),
			Entry("a listener without its route table", []part{httpListener("in", "t")}, `route table "t": a listener fetches it, but it is missing`),
			Entry("a type that is not served", []part{func(rs *xds.ResourceSet) {
				rs.Add(&xds.Resource{Name: "x", Resource: &structpb.Struct{}})
			}}, `resource "x": type type.googleapis.com/google.protobuf.Struct is not served`),
			Entry("a resource of another name", []part{func(rs *xds.ResourceSet) {
				rs.Add(&xds.Resource{Name: "x", Resource: &cluster.Cluster{Name: "y"}})
			}}, `Cluster "x": calls itself "y"`),
		)

		It("says all that is wrong at once", func() {
			err := ads.New(ads.Options{}).Set(web, proxy(edsOnly("a", 1), edsOnly("b", 1), httpListener("in", "t")))
			Expect(err).To(MatchError(And(ContainSubstring(`"a"`), ContainSubstring(`"b"`), ContainSubstring(`"t"`))))
		})
	})

	It("ends every stream and goroutine when the gRPC server stops", func() {
		before := gleak.Goroutines()
		h := newHost()
		for _, protocol := range []ads.Protocol{ads.Delta, ads.StateOfTheWorld} {
			p := h.connect(protocol, web)
			Expect(h.Set(web, routed("a"))).To(Succeed())
			p.start("a")
			Expect(h.Set(web, routed("b"))).To(Succeed())
			h.connect(protocol, "default.unknown").subscribe(CDS)
		}
		h.stop()
		Eventually(func() []ads.ProxyStatus { return h.Statuses() }).Should(HaveExactElements(HaveField("Connected", false)))
		Eventually(func() []gleak.Goroutine { return serverGoroutines() }).ShouldNot(gleak.HaveLeaked(before))
	})
})

// serverGoroutines leaves out those of the clients, which end with the test.
func serverGoroutines() []gleak.Goroutine {
	var own []gleak.Goroutine
	for _, g := range gleak.Goroutines() {
		if containsAny(g.Backtrace, "standalone/serve/ads.", "go-control-plane/pkg/server") && !containsAny(g.Backtrace, "ads_test") {
			own = append(own, g)
		}
	}
	return own
}

func behaves(protocol ads.Protocol) {
	var h *host
	delta := protocol == ads.Delta

	BeforeEach(func() { h = newHost() })

	connect := func() *peer { return h.connect(protocol, web) }
	set := func(rs *xds.ResourceSet) {
		GinkgoHelper()
		Expect(h.Set(web, rs)).To(Succeed())
	}

	Describe("a fresh Envoy", func() {
		It("gets clusters, endpoints, listeners and route tables, each as it asks for them", func() {
			set(routed("a", "b"))
			p := connect()
			last := p.start("a", "b")
			Expect(last[CDS].names()).To(Equal([]string{"a", "b"}))
			Expect(last[EDS].names()).To(Equal([]string{"a", "b"}))
			Expect(last[LDS].names()).To(Equal([]string{"in"}))
			Expect(last[RDS].names()).To(Equal([]string{"table"}))
			Eventually(h.inSync(web)).Should(BeTrue())
			p.nothing()
		})

		It("gets listeners and route tables only when its clusters are acknowledged", func() {
			set(routed("a"))
			p := connect()
			p.subscribe(CDS)
			clusters := p.next(CDS)
			p.subscribe(LDS)
			p.subscribe(RDS, "table")
			p.nothing()
			p.ack(clusters)
			p.next(LDS)
			p.next(RDS)
		})

		It("is told that there are no clusters and no listeners", func() {
			set(proxy())
			p := connect()
			p.subscribe(CDS)
			none := p.next(CDS)
			Expect(none.names()).To(BeEmpty())
			p.ack(none)
			p.subscribe(LDS)
			none = p.next(LDS)
			Expect(none.names()).To(BeEmpty())
			p.ack(none)
			Eventually(h.inSync(web)).Should(BeTrue())
		})

		It("is answered nothing for types that are not served", func() {
			set(routed("a"))
			p := connect()
			p.subscribe(resource.SecretType, "s")
			p.nothing()
			p.start("a")
		})

		It("must say who it is", func() {
			h.connect(protocol, "").subscribe(CDS)
			p := h.connect(protocol, "", true)
			p.subscribe(CDS)
			_, err := p.recv()
			Expect(status.Code(err)).To(Equal(codes.InvalidArgument))
			Expect(err).To(MatchError(ContainSubstring("node.id")))
		})
	})

	Describe("a change", func() {
		It("adds clusters, then moves the routes, then removes clusters, each when the step before is acknowledged", func() {
			set(routed("a"))
			p := connect()
			last := p.start("a")

			set(routed("b"))
			clusters := p.next(CDS)
			Expect(p.clusters).To(has("a", "b"))
			p.more(last[EDS], "b")
			endpoints := p.next(EDS)
			Expect(endpoints.names()).To(ContainElement("b"))
			p.ack(endpoints)
			p.nothing() // b is still warming

			p.ack(clusters)
			tables := p.next(RDS)
			Expect(h.status(web).InSync).To(BeFalse())
			p.nothing() // a may still be routed to
			p.ack(tables)

			clusters = p.next(CDS)
			Expect(p.clusters).To(has("b"))
			Expect(h.status(web).InSync).To(BeTrue())
			p.ack(clusters)
			p.nothing()
		})

		It("removes nothing before the grace is over, which holds up no newer routes", func() {
			h = newHostWith(ads.Options{Grace: time.Hour})
			set(routed("a"))
			p := connect()
			p.start("a")
			for _, next := range []string{"b", "c"} {
				set(routed(next))
				p.ack(p.next(CDS))
				p.ack(p.next(RDS))
			}
			p.nothing()
			Expect(p.clusters).To(has("a", "b", "c"))
		})

		It("keeps the clusters of a replaced listener until its connections have drained", func() {
			h = newHostWith(ads.Options{Grace: -1, Drain: 4 * quiet})
			set(proxy(eds("a", 1), inlineListener("in", "a")))
			p := connect()
			p.subscribe(CDS)
			p.ack(p.next(CDS))
			p.subscribe(LDS)
			p.ack(p.next(LDS))

			set(proxy(eds("b", 1), inlineListener("in", "b")))
			p.ack(p.next(CDS))
			listeners := p.next(LDS)
			p.nothing()
			p.ack(listeners)
			p.nothing()
			p.ack(p.next(CDS))
			Expect(p.clusters).To(has("b"))
		})

		It("removes listeners with the new tables and before their clusters", func() {
			set(proxy(eds("a", 1), tcpListener("one", "a"), eds("b", 1), tcpListener("two", "b")))
			p := connect()
			p.subscribe(CDS)
			p.ack(p.next(CDS))
			p.subscribe(LDS)
			p.ack(p.next(LDS))
			Expect(p.listeners).To(has("one", "two"))

			set(proxy(eds("a", 1), tcpListener("one", "a")))
			listeners := p.next(LDS)
			Expect(p.listeners).To(has("one"))
			p.nothing()
			p.ack(listeners)
			p.next(CDS)
			Expect(p.clusters).To(has("a"))
		})

		It("waits for the route table of a new listener before clusters of the old one go", func() {
			set(routed("a"))
			p := connect()
			last := p.start("a")

			set(proxy(eds("b", 1), httpListener("in", "other"), table("other", "b")))
			p.ack(p.next(CDS))
			p.ack(p.next(LDS))
			p.nothing()
			Expect(p.clusters).To(has("a", "b"))
			p.more(last[RDS], "other")
			p.ack(p.next(RDS))
			p.next(CDS)
			Expect(p.clusters).To(has("b"))
		})

		It("of endpoints alone goes out at once, and alone", func() {
			set(routed("a", "b"))
			p := connect()
			p.start("a", "b")
			set(proxy(eds("a", 2), eds("b", 1), httpListener("in", "table"), table("table", "a")))
			endpoints := p.next(EDS)
			Expect(endpoints.names()).To(ContainElement("a"))
			got := unmarshal(endpoints.Bodies["a"], &endpoint.ClusterLoadAssignment{})
			Expect(got.GetEndpoints()[0].GetLbEndpoints()[0].GetEndpoint().GetAddress().GetSocketAddress().GetPortValue()).To(BeEquivalentTo(2))
			p.ack(endpoints)
			Eventually(h.inSync(web)).Should(BeTrue())
			p.nothing()
		})

		It("of a cluster's definition comes before the routes, and its endpoints once more", func() {
			set(routed("a"))
			p := connect()
			p.start("a")
			set(proxy(edsWith("a", 1, 5), httpListener("in", "table"), table("table", "a"), table("unused", "a")))
			clusters := p.next(CDS)
			Expect(unmarshal(clusters.Bodies["a"], &cluster.Cluster{}).GetConnectTimeout().GetSeconds()).To(BeEquivalentTo(5))
			endpoints := p.next(EDS)
			Expect(endpoints.names()).To(Equal([]string{"a"}))
			p.ack(endpoints)
			p.ack(clusters)
			Eventually(h.inSync(web)).Should(BeTrue())
		})

		It("needs no route tables where no listener fetches any", func() {
			set(proxy(eds("a", 1), tcpListener("in", "a")))
			p := connect()
			p.subscribe(CDS)
			p.ack(p.next(CDS))
			p.subscribe(LDS)
			p.ack(p.next(LDS))
			set(proxy(eds("b", 1), tcpListener("in", "b"), table("unused", "b")))
			p.ack(p.next(CDS))
			p.ack(p.next(LDS))
			p.ack(p.next(CDS))
			Expect(p.clusters).To(has("b"))
			Expect(h.status(web).InSync).To(BeTrue())
		})

		It("of nothing pushes nothing", func() {
			set(routed("a"))
			p := connect()
			p.start("a")
			set(routed("a"))
			p.nothing()
		})

		It("of one proxy pushes to that one only", func() {
			set(routed("a"))
			Expect(h.Set("default.other", routed("a"))).To(Succeed())
			p, other := connect(), h.connect(protocol, "default.other")
			p.start("a")
			other.start("a")
			set(routed("b"))
			p.next(CDS)
			other.nothing()
		})

		It("is not affected by what is done to the ResourceSet later", func() {
			rs := routed("a")
			set(rs)
			rs.Clusters()[0].Name = "changed"
			p := connect()
			p.subscribe(CDS)
			Expect(p.next(CDS).names()).To(Equal([]string{"a"}))
		})
	})

	Describe("a change during a change", func() {
		It("is not lost while clusters are being acknowledged, and drops what no route has named", func() {
			set(routed("a"))
			p := connect()
			p.start("a")
			set(routed("b"))
			clusters := p.next(CDS)
			set(routed("c"))
			p.nothing()
			p.ack(clusters)
			clusters = p.next(CDS)
			Expect(p.clusters).To(HaveKey("c"))
			Expect(p.clusters).To(HaveKey("a"))
			p.ack(clusters)
			var tables push
			for tables.Type != RDS { // b's removal may come first
				Eventually(p.pushes).Should(Receive(&tables))
				p.apply(tables)
				if tables.Type == CDS {
					p.ack(tables)
				}
			}
			Expect(routeOf(tables)).To(Equal("c"))
			p.ack(tables)
			p.settle("c")
			Eventually(h.inSync(web)).Should(BeTrue())
		})

		It("answers for the endpoints of a cluster that is warming but no longer wanted", func() {
			set(routed("a"))
			p := connect()
			last := p.start("a")
			set(routed("b"))
			p.next(CDS)
			set(routed("a"))
			p.nothing() // the grace passes
			p.more(last[EDS], "b")
			Expect(p.next(EDS).names()).To(ContainElement("b"))
		})

		It("keeps what either table names while the first is being acknowledged", func() {
			set(routed("a"))
			p := connect()
			p.start("a")
			set(routed("b"))
			p.ack(p.next(CDS))
			tables := p.next(RDS)
			set(routed("c"))
			p.ack(p.next(CDS))
			p.nothing() // the grace passes
			Expect(p.clusters).To(has("a", "b", "c"))
			p.ack(tables)
			tables = p.next(RDS)
			Expect(routeOf(tables)).To(Equal("c"))
			p.nothing()
			p.ack(tables)
			p.settle("c")
		})

		It("may bring back a cluster that was about to go", func() {
			h = newHostWith(ads.Options{Grace: 2 * quiet})
			set(routed("a"))
			p := connect()
			p.start("a")
			set(routed("b"))
			p.ack(p.next(CDS))
			p.ack(p.next(RDS))
			Eventually(h.inSync(web)).Should(BeTrue())
			set(routed("a"))
			p.ack(p.next(RDS))
			p.ack(p.next(CDS))
			Expect(p.clusters).To(has("a"))
		})
	})

	Describe("a refusal", func() {
		It("of clusters is reported, stops the change, and is not repeated", func() {
			set(routed("a"))
			p := connect()
			p.start("a")
			before := h.status(web)

			set(routed("bad", "good"))
			clusters := p.next(CDS)
			p.nack(clusters, "bad: no such thing")
			p.nothing()
			Expect(p.clusters).To(has("a", "bad", "good"))

			st := h.status(web)
			Expect(st.InSync).To(BeFalse())
			Expect(st.Refused).To(HaveValue(And(
				HaveField("Type", CDS), HaveField("Message", "bad: no such thing"), HaveField("Version", clusters.Version),
				HaveField("Time", BeTemporally("~", time.Now(), time.Minute)),
			)))
			Expect(st.Types[0].Refused).To(Equal(st.Refused))
			Expect(st.Types[0].Acknowledged).To(Equal(before.Types[0].Acknowledged))
			Expect(st.Types[0].Sent).To(Equal(clusters.Version))
			Expect(h.seen()).To(ContainElement(And(
				HaveField("Kind", ads.Refused), HaveField("Node", web), HaveField("Type", CDS),
				HaveField("Version", clusters.Version), HaveField("Message", "bad: no such thing"),
			)))
		})

		It("of clusters is tried again with the next change, all that was refused with it", func() {
			set(routed("a"))
			p := connect()
			p.start("a")
			set(routed("bad", "good"))
			p.nack(p.next(CDS), "no")
			p.nothing()

			set(routed("bad", "good", "more"))
			clusters := p.next(CDS)
			Expect(clusters.names()).To(ContainElements("bad", "good", "more"))
			p.nack(clusters, "still no")
			p.nothing()

			set(routed("good"))
			clusters = p.next(CDS)
			Expect(clusters.names()).To(ContainElement("good"))
			Expect(clusters.names()).NotTo(ContainElement("bad"))
			p.ack(clusters)
			tables := p.next(RDS)
			Expect(routeOf(tables)).To(Equal("good"))
			p.ack(tables)
			p.settle("good")
			Eventually(h.inSync(web)).Should(BeTrue())
			Expect(h.status(web).Types[0].Refused).To(BeNil())
		})

		It("of a route table keeps the old clusters and is not repeated", func() {
			set(routed("a"))
			p := connect()
			p.start("a")
			set(routed("b"))
			p.ack(p.next(CDS))
			p.nack(p.next(RDS), "unknown cluster")
			p.nothing()
			Expect(p.clusters).To(has("a", "b"))
			Expect(h.status(web).Refused).To(HaveField("Type", RDS))

			set(routed("c"))
			p.ack(p.next(CDS))
			Expect(p.clusters).To(HaveKey("a"))
			tables := p.next(RDS)
			Expect(routeOf(tables)).To(Equal("c"))
			p.ack(tables)
			p.settle("c")
		})

		It("of a route table is tried again with the next change", func() {
			set(routed("a"))
			p := connect()
			p.start("a")
			set(routed("b"))
			p.ack(p.next(CDS))
			p.nack(p.next(RDS), "no")
			p.nothing()
			set(routed("b", "more"))
			p.ack(p.next(CDS))
			Expect(routeOf(p.next(RDS))).To(Equal("b"))
		})

		It("of a route table is healed by going back", func() {
			set(routed("a"))
			p := connect()
			p.start("a")
			set(routed("b"))
			p.ack(p.next(CDS))
			p.nack(p.next(RDS), "no")
			p.nothing()
			set(routed("a"))
			tables := p.next(RDS)
			Expect(routeOf(tables)).To(Equal("a"))
			p.ack(tables)
			p.settle("a")
			Eventually(h.inSync(web)).Should(BeTrue())
		})

		It("that comes late does not stop a newer change", func() {
			set(routed("a"))
			p := connect()
			p.start("a")
			set(routed("b"))
			p.ack(p.next(CDS))
			tables := p.next(RDS)
			set(routed("c"))
			clusters := p.next(CDS)
			p.nack(tables, "no")
			p.nothing()
			p.ack(clusters)
			tables = p.next(RDS)
			Expect(routeOf(tables)).To(Equal("c"))
			p.ack(tables)
			p.settle("c")
		})

		It("of a listener keeps the old clusters", func() {
			set(proxy(eds("a", 1), tcpListener("in", "a")))
			p := connect()
			p.subscribe(CDS)
			p.ack(p.next(CDS))
			p.subscribe(LDS)
			p.ack(p.next(LDS))
			set(proxy(eds("b", 1), tcpListener("in", "b")))
			p.ack(p.next(CDS))
			p.nack(p.next(LDS), "address in use")
			p.nothing()
			Expect(p.clusters).To(has("a", "b"))
		})

		It("of endpoints does not keep others from being answered", func() {
			set(routed("a", "b"))
			p := connect()
			p.subscribe(CDS)
			p.next(CDS)
			p.subscribe(EDS, "a")
			endpoints := p.next(EDS)
			p.nack(endpoints, "no")
			p.nothing()
			p.more(endpoints, "b")
			Expect(p.next(EDS).names()).To(ContainElement("b"))
		})

		It("of endpoints keeps the routes from going out though the clusters are acknowledged", func() {
			set(routed("a"))
			p := connect()
			last := p.start("a")
			set(routed("b"))
			clusters := p.next(CDS)
			p.more(last[EDS], "b")
			p.nack(p.next(EDS), "no")
			p.ack(clusters)
			p.nothing()
			Expect(h.status(web).InSync).To(BeFalse())
		})

		It("of one proxy leaves the others alone", func() {
			set(routed("a"))
			Expect(h.Set("default.other", routed("a"))).To(Succeed())
			p, other := connect(), h.connect(protocol, "default.other")
			p.start("a")
			other.start("a")
			for _, node := range []string{web, "default.other"} {
				Expect(h.Set(node, routed("b"))).To(Succeed())
			}
			p.nack(p.next(CDS), "no")
			other.ack(other.next(CDS))
			other.ack(other.next(RDS))
			Eventually(h.inSync("default.other")).Should(BeTrue())
			Expect(h.status(web).InSync).To(BeFalse())
		})
	})

	Describe("an Envoy that connects again", func() {
		It("is sent nothing that it has", func() {
			set(routed("a"))
			p := connect()
			last := p.start("a")
			p.close()

			h = newHost() // the same content, a host that knows of nothing
			set(routed("a"))
			p = connect()
			p.ask(CDS, nil, p.holds(last[CDS]))
			p.ask(EDS, []string{"a"}, p.holds(last[EDS]))
			p.ask(LDS, nil, p.holds(last[LDS]))
			p.ask(RDS, []string{"table"}, p.holds(last[RDS]))
			p.nothing()
			Expect(h.status(web).InSync).To(BeTrue())

			set(routed("b"))
			p.ack(p.next(CDS))
			Expect(routeOf(p.next(RDS))).To(Equal("b"))
		})

		It("is not sent tables before it has acknowledged clusters, though it asks for tables first", func() {
			set(routed("a"))
			p := connect()
			last := p.start("a")
			p.close()

			h = newHost()
			set(routed("b"))
			p = connect()
			p.ask(LDS, nil, p.holds(last[LDS]))
			p.ask(RDS, []string{"table"}, p.holds(last[RDS]))
			p.nothing()
			p.ask(CDS, nil, p.holds(last[CDS]))
			p.ack(p.next(CDS))
			p.next(RDS)
		})

		It("gets the endpoints that a warming cluster waits for although it has them", func() {
			set(routed("a"))
			p := connect()
			last := p.start("a")
			p.close()

			h = newHost()
			set(routed("a"))
			p = connect()
			// It asks for clusters only when none is warming.
			p.ask(EDS, []string{"a"}, p.holds(last[EDS]))
			Expect(p.next(EDS).names()).To(Equal([]string{"a"}))
		})

		It("gets the endpoints that a warming cluster waits for although it is no longer wanted", func() {
			set(routed("a"))
			p := connect()
			p.start("a")
			set(routed("b"))
			Expect(p.next(CDS).names()).To(ContainElement("b"))
			p.close()
			set(routed("a"))
			p = connect()
			p.ask(EDS, []string{"a", "b"}, map[string]string{"": "older", "a": "older"})
			Expect(p.next(EDS).names()).To(Equal([]string{"a", "b"}))
		})

		It("gets the endpoints of a cluster that has changed meanwhile although it has them", func() {
			set(routed("a"))
			p := connect()
			last := p.start("a")
			p.close()

			h = newHost()
			set(proxy(edsWith("a", 1, 7), httpListener("in", "table"), table("table", "a")))
			p = connect()
			p.ask(CDS, nil, p.holds(last[CDS]))
			p.next(CDS)
			p.ask(EDS, []string{"a"}, p.holds(last[EDS]))
			Expect(p.next(EDS).names()).To(Equal([]string{"a"}))
		})

		It("keeps its clusters until its old tables are gone, if only the stream broke", func() {
			set(routed("a"))
			p := connect()
			last := p.start("a")
			set(routed("b"))
			clusters := p.next(CDS)
			p.ack(clusters)
			Eventually(func() string { return h.status(web).Types[0].Acknowledged }).Should(Equal(clusters.Version))
			p.close()
			set(routed("c"))

			held := map[string]string{"": clusters.Version}
			if delta {
				held = map[string]string{"a": last[CDS].Resources["a"], "b": clusters.Resources["b"]}
			}
			p = connect()
			p.clusters = map[string]bool{"a": true, "b": true}
			p.ask(CDS, nil, held)
			clusters = p.next(CDS)
			Expect(p.clusters).To(has("a", "b", "c"))
			p.ask(LDS, nil, p.holds(last[LDS]))
			p.ask(RDS, []string{"table"}, p.holds(last[RDS]))
			p.nothing()
			p.ack(clusters)
			tables := p.next(RDS)
			p.nothing()
			p.ack(tables)
			p.settle("c")
		})

		if delta {
			It("is told that the endpoints a warming cluster waits for are not there", func() {
				set(routed("a"))
				p := connect()
				p.ask(EDS, []string{"gone"}, map[string]string{"older": "1"})
				Expect(p.next(EDS).Removed).To(Equal([]string{"gone"}))
				p.nothing()
			})

			It("keeps the clusters it says it has until the connections of listeners that may have been replaced have drained", func() {
				h = newHostWith(ads.Options{Grace: -1, Drain: 4 * quiet})
				set(routed("a"))
				p := connect()
				last := p.start("a")
				p.close()
				p = connect()
				last[CDS].Resources["older"] = "1"
				p.ask(CDS, nil, p.holds(last[CDS]))
				p.ask(LDS, nil, p.holds(last[LDS]))
				p.ask(RDS, []string{"table"}, p.holds(last[RDS]))
				p.nothing()
				Expect(p.next(CDS).Removed).To(Equal([]string{"older"}))
			})

			It("keeps the clusters it says it has until its old tables are gone", func() {
				set(routed("a"))
				p := connect()
				last := p.start("a")
				p.close()

				h = newHost()
				set(routed("b"))
				p = connect()
				p.clusters["a"] = true
				p.ask(CDS, nil, p.holds(last[CDS]))
				clusters := p.next(CDS)
				Expect(clusters.names()).To(Equal([]string{"b"}))
				Expect(clusters.Removed).To(BeEmpty())
				p.ack(clusters)
				p.nothing() // it has not even asked for listeners
				p.ask(RDS, []string{"table"}, p.holds(last[RDS]))
				tables := p.next(RDS)
				p.nothing()
				p.ack(tables)
				p.nothing() // its listeners may still fetch other tables
				p.ask(LDS, nil, p.holds(last[LDS]))
				p.settle("b")
			})
		}

		It("is served by its own stream while an older one is not yet known to be dead", func() {
			set(routed("a"))
			old := connect()
			old.start("a")
			p := connect()
			p.start("a")
			set(routed("b"))
			p.ack(p.next(CDS))
			p.ack(p.next(RDS))
			p.settle("b")
			old.close()
			Eventually(h.inSync(web)).Should(BeTrue())
		})
	})

	Describe("a proxy that is not configured", func() {
		It("waits, and gets its configuration when it is Set", func() {
			p := connect()
			p.subscribe(CDS)
			p.subscribe(LDS)
			p.nothing()
			Expect(h.status(web)).To(And(HaveField("Connected", true), HaveField("Configured", false), HaveField("InSync", false)))
			set(routed("a"))
			p.ack(p.next(CDS))
			p.next(LDS)
		})

		It("keeps all it runs although it connects again", func() {
			set(routed("a"))
			p := connect()
			last := p.start("a")
			p.close()
			h = newHost()
			p = connect()
			p.ask(CDS, nil, p.holds(last[CDS]))
			p.ask(LDS, nil, p.holds(last[LDS]))
			p.nothing()
			set(routed("a"))
			p.nothing()
		})

		It("keeps all it runs when it is removed, connected or not", func() {
			set(routed("a"))
			p := connect()
			last := p.start("a")
			h.Remove(web)
			p.nothing()
			Expect(h.status(web)).To(And(HaveField("Connected", true), HaveField("Configured", false)))
			p.close()
			Eventually(h.Statuses).Should(BeEmpty())

			p = connect()
			p.ask(CDS, nil, p.holds(last[CDS]))
			p.ask(LDS, nil, p.holds(last[LDS]))
			p.nothing()
		})

		It("is in sync again when the same is Set again", func() {
			set(routed("a"))
			p := connect()
			p.start("a")
			h.Remove(web)
			Expect(h.status(web).InSync).To(BeFalse())
			set(routed("a"))
			p.nothing()
			Expect(h.status(web).InSync).To(BeTrue())
		})

		It("may be removed without ever having been known", func() {
			h.Remove("default.nobody")
			Expect(h.Statuses()).To(BeEmpty())
		})
	})

	It("sends again what Envoy asks for again", func() {
		set(routed("a"))
		p := connect()
		last := p.start("a")
		p.more(last[EDS], "a")
		endpoints := p.next(EDS)
		Expect(endpoints.names()).To(Equal([]string{"a"}))
		p.ack(endpoints)
		p.nothing()
	})

	Describe("a client that is stuck", func() {
		const changes = 100

		It("and never reads holds up neither Set nor other proxies", func() {
			deaf := h.connect(protocol, web, true)
			deaf.subscribe(CDS)
			deaf.subscribe(LDS)
			Eventually(func() bool { return h.status(web).Connected }).Should(BeTrue())
			other := h.connect(protocol, "default.other")
			Expect(h.Set("default.other", routed("a"))).To(Succeed())
			other.start("a")
			many := make([]string, 1000) // more than fits a stream that is not read
			for i := range many {
				many[i] = fmt.Sprint("cluster-", i)
			}
			for i := range 5 {
				set(routed(fmt.Sprint("a", i), many...))
			}
			Expect(h.Set("default.other", routed("b"))).To(Succeed())
			other.ack(other.next(CDS))
			other.next(RDS)
		})

		It("and never acknowledges is not remembered things for", func() {
			set(routed("a"))
			p := connect()
			p.start("a")
			heap := func() uint64 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			set(routed("b"))
			clusters := p.next(CDS)
			before := heap()
			for i := range changes {
				parts := make([]string, 50)
				for j := range parts {
					parts[j] = fmt.Sprintf("cluster-%d-%d", i, j)
				}
				set(routed("c", parts...))
			}
			set(routed("c"))
			Expect(int64(heap()) - int64(before)).To(BeNumerically("<", 4<<20)) // one change holds 50 clusters
			p.ack(clusters)
			p.next(CDS)
			Expect(len(p.clusters)).To(BeNumerically("<=", 3))
		})

		if delta {
			It("and asks without ever answering is not answered for ever", func() {
				set(routed("a"))
				p := connect()
				p.subscribe(CDS)
				p.ack(p.next(CDS))
				for range 50 {
					p.subscribe(EDS, "a")
				}
				Eventually(p.pushes).Should(HaveLen(8))
				Consistently(p.pushes, quiet).Should(HaveLen(8))
				Expect(p.next(EDS).names()).To(Equal([]string{"a"}))
			})
		}

		It("and acknowledges clusters but never tables piles up no clusters", func() {
			set(routed("a"))
			p := connect()
			p.start("a")
			set(routed("b"))
			p.ack(p.next(CDS))
			p.next(RDS)
			for i := range 20 {
				set(routed(fmt.Sprintf("c%d", i)))
				p.ack(p.next(CDS))
			}
			p.settle("a", "b", "c19")
		})
	})

	It("tells what happens in order", func() {
		set(routed("a"))
		p := connect()
		last := p.start("a")
		Eventually(h.inSync(web)).Should(BeTrue())
		st := h.status(web)
		Expect(st.Protocol).To(Equal(protocol))
		Expect(st.Connected).To(BeTrue())
		Expect(st.Since).To(BeTemporally("~", time.Now(), time.Minute))
		Expect(st.Refused).To(BeNil())
		for i, t := range []string{CDS, EDS, LDS, RDS} {
			Expect(st.Types[i]).To(Equal(ads.TypeStatus{Type: t, Sent: last[t].Version, Acknowledged: last[t].Version}))
		}
		p.close()
		Eventually(func() []ads.EventKind { return kinds(h.seen()) }).Should(Equal([]ads.EventKind{
			ads.Connected, ads.Acknowledged, ads.Acknowledged, ads.Acknowledged, ads.Acknowledged, ads.Disconnected,
		}))
		events := h.seen()
		Expect(events[3].InSync).To(BeFalse())
		Expect(events[4]).To(And(HaveField("InSync", true), HaveField("Type", RDS), HaveField("Version", last[RDS].Version)))
		Expect(h.status(web)).To(And(HaveField("Connected", false), HaveField("Configured", true), HaveField("Types", BeEmpty())))
	})
}

func kinds(events []ads.Event) []ads.EventKind {
	var out []ads.EventKind
	for _, e := range events {
		out = append(out, e.Kind)
	}
	return out
}

func routeOf(p push) string {
	GinkgoHelper()
	t := unmarshal(p.Bodies["table"], &route.RouteConfiguration{})
	return t.GetVirtualHosts()[0].GetRoutes()[0].GetRoute().GetCluster()
}
