package status

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
)

var _ = Describe("the state", func() {
	var w *world
	BeforeEach(func() { w = newWorld() })

	// is checks the state of the only mirror and, where it is not empty, a part
	// of the reason.
	is := func(state State, reason string) {
		GinkgoHelper()
		m := w.mirror()
		Expect(m.State).To(Equal(state))
		if state == Active {
			Expect(m.Reason).To(BeEmpty())
		} else {
			Expect(m.Reason).NotTo(BeEmpty())
			Expect(m.Reason).To(ContainSubstring(reason))
		}
		Expect(States()).To(ContainElement(state))
	}

	It("follows the Envoy, and says since when", func() {
		w.use(web, v1, v2, mirrored(50))
		begun := w.clock
		is(NotConnected, "kuma-mirror proxy --dataplane web")
		w.pass(time.Minute)
		Expect(w.mirror().Since).To(Equal(begun))
		w.says("web", ads.ProxyStatus{Connected: true})
		is(PendingACK, "has not acknowledged")
		w.pass(time.Second)
		w.connect()
		is(Active, "")
		active := w.clock
		w.pass(time.Hour)
		is(Active, "")
		Expect(w.mirror().Since).To(Equal(active))
		w.says("web", ads.ProxyStatus{})
		is(NotConnected, "")
		// A new Envoy has to be given all.
		w.says("web", ads.ProxyStatus{Connected: true})
		is(PendingACK, "")
		w.connect()
		is(Active, "")
		Expect(w.mirror().Since).To(Equal(w.clock))
	})

	It("is nack where Envoy refuses what the mirror needs", func() {
		w.use(web, v1, v2)
		w.connect()
		w.says("web", withSync(w, false))
		w.use(web, v1, v2, mirrored(50))
		refused := ads.ProxyStatus{Connected: true, Types: []ads.TypeStatus{{Type: "x"}, {Type: "y", Refused: &ads.Refusal{Message: "no such thing"}}}}
		w.says("web", refused)
		is(NACK, "Envoy refuses its configuration and keeps the one it has: no such thing")
		w.connect()
		is(Active, "")
	})

	DescribeTable("is nack where Envoy runs everything else without the mirror", func(refusedPart func(Mirror) ads.LeftOut) {
		w.use(web, v1, v2, mirrored(50))
		w.connect()
		leftOut := refusedPart(w.mirror())
		leftOut.Refusal = &ads.Refusal{Message: "no such file"}
		w.says("web", ads.ProxyStatus{Connected: true, InSync: true, LeftOut: []ads.LeftOut{leftOut}})
		is(NACK, "Envoy refuses this mirror and runs everything else without it; it is tried again when it changes, and every half a minute: no such file")
		w.connect()
		is(Active, "")
		leftOut.Name = "another"
		w.says("web", ads.ProxyStatus{Connected: true, InSync: true, LeftOut: []ads.LeftOut{leftOut}})
		is(Active, "")
	},
		Entry("of its cluster", func(m Mirror) ads.LeftOut {
			return ads.LeftOut{Type: resource.ClusterType, Name: m.Shadow.Cluster}
		}),
		Entry("of its route table", func(Mirror) ads.LeftOut {
			return ads.LeftOut{Type: resource.RouteType, Name: "outbound:backend"}
		}),
	)

	It("stays where Envoy refuses something else, with a note", func() {
		w.use(web, v1, v2, mirrored(50))
		w.connect()
		is(Active, "")
		w.says("web", ads.ProxyStatus{Connected: true, Types: []ads.TypeStatus{{Refused: &ads.Refusal{Message: "no such thing"}}}})
		is(Active, "")
		Expect(w.mirror().Note).To(ContainSubstring("Envoy has refused a later configuration and keeps the one it has: no such thing"))
	})

	It("is off at 0 %", func() {
		w.use(web, v1, v2, mirrored(0))
		is(Off, "its percentage is 0")
		Expect(w.mirror().Shadow.Cluster).To(BeEmpty())
		Expect(w.mirror().Window).To(BeNil())
		w.use(web, v1, v2, mirrored(1))
		w.connect()
		is(Active, "")
	})

	It("is not-http on a TCP outbound", func() {
		const tcp = "type: Dataplane\nname: v1\nnetworking: {address: 127.0.0.1, inbound: [{port: 1, tags: {kuma.io/service: backend, version: v1}}]}"
		w.use(web, tcp, mirrored(50))
		is(NotHTTP, "kuma.io/protocol")
	})

	It("is no-endpoints where nobody is the shadow", func() {
		w.use(web, v1, mirrored(50))
		w.connect()
		is(NoEndpoints, "version=v2")
		w.use(web, v1, v2, mirrored(50))
		is(Active, "")
	})

	DescribeTable("is what the outcome says", func(outcome plugin.State, state State) {
		w.use(web, v1, v2, mirrored(50))
		w.connect()
		rs, report, err := generate.Proxy(context.Background(), w.index, w.known["web"].Key())
		Expect(err).NotTo(HaveOccurred())
		report[0].State, report[0].Reason, report[0].Cluster = outcome, "because", ""
		w.Generated(host.Generated{Dataplane: w.known["web"], Resources: rs, Report: report})
		is(state, "because")
	},
		Entry("refused", plugin.Refused, Refused),
		Entry("failed", plugin.Failed, Failed),
		Entry("damaged", plugin.Damaged, Failed),
	)

	It("is failed where the data plane cannot be served", func() {
		w.use(web, v1, v2, mirrored(50))
		w.connect()
		w.Generated(host.Generated{Dataplane: w.known["web"], Err: context.Canceled})
		is(Failed, "cannot be served, and its Envoy keeps what it has: context canceled")
		w.use(web, v1, v2, mirrored(50))
		is(Active, "")
	})

	It("is unreachable while copies do not get through", func() {
		w.use(web, v1, v2, mirrored(50))
		w.connect()
		e := w.envoy()
		e.requests(2, 1)
		e.flushAfter(2 * time.Second)
		is(Active, "")
		e.add(onRoute+"upstream_rq_total", 2, onShadow+"upstream_rq_pending_failure_eject", 1)
		e.flushAfter(2 * time.Second)
		is(Unreachable, "connections to its only instance fail")
		failing := w.clock
		e.flushAfter(2 * time.Second) // no requests: nothing is new
		e.add(onShadow+"upstream_cx_none_healthy", 1)
		e.flushAfter(2 * time.Second)
		is(Unreachable, "")
		Expect(w.mirror().Since).To(Equal(failing))
		e.requests(2, 1)
		e.flushAfter(2 * time.Second)
		is(Active, "")
	})

	Describe("of a shadow that is known by name", func() {
		const collector = "type: ExternalService\nname: collector\ntags: {kuma.io/service: collector, kuma.io/protocol: http}\nnetworking: {address: 'collector.example:80'}"
		toCollector := route("{destination: {kuma.io/service: backend, version: v1}, mirror: {destination: {kuma.io/service: collector}, name: shadow}}")
		var e *sim
		BeforeEach(func() {
			w.use(web, v1, collector, toCollector)
			w.connect()
			e = w.envoy()
		})

		DescribeTable("is waiting while Envoy has no address, and says what became of its lookups", func(reason string, counters ...any) {
			e.add(counters...)
			e.flushAfter(2 * time.Second)
			is(Waiting, "Envoy has no address of collector.example: "+reason)
		},
			Entry("of a name server that is silent", "of 1 DNS lookups 0 were answered, 0 failed and 1 had no answer yet",
				onShadow+"update_attempt", 1),
			Entry("of one that fails", "of 3 DNS lookups 0 were answered, 3 failed and 0 had no answer yet",
				onShadow+"update_attempt", 3, onShadow+"update_failure", 3),
			Entry("of a name that does not exist", "of 6 DNS lookups 6 were answered, 0 failed and 0 had no answer yet",
				onShadow+"update_attempt", 6, onShadow+"update_success", 6),
			Entry("of a name that has no address any more", "of 9 DNS lookups 7 were answered, 1 failed and 1 had no answer yet",
				onShadow+"update_attempt", 9, onShadow+"update_success", 7, onShadow+"update_failure", 1, onShadow+"membership_total", 0),
		)

		It("ends with its first address, and is waiting rather than unreachable", func() {
			e.add(onShadow+"update_attempt", 1, onShadow+"upstream_cx_none_healthy", 1)
			e.flushAfter(2 * time.Second)
			is(Waiting, "")
			waiting := w.clock
			e.add(onShadow+"update_attempt", 1, onShadow+"update_failure", 1)
			e.flushAfter(2 * time.Second)
			is(Waiting, "of 2 DNS lookups")
			Expect(w.mirror().Since).To(Equal(waiting))
			e.add(onShadow+"update_success", 1, onShadow+"membership_total", 1)
			e.requests(1, 1)
			e.flushAfter(2 * time.Second)
			is(Active, "")
		})

		It("is unreachable where the address takes no connections", func() {
			e.add(onShadow+"update_attempt", 1, onShadow+"update_success", 1, onShadow+"membership_total", 1, onShadow+"upstream_rq_pending_failure_eject", 1)
			e.flushAfter(2 * time.Second)
			is(Unreachable, "connections to its only instance fail")
		})

		It("is active where Envoy says nothing of the name", func() {
			e.flushAfter(2 * time.Second)
			is(Active, "")
		})
	})

	It("is never waiting where the shadow has no name to look up", func() {
		w.use(web, v1, v2, mirrored(50))
		w.connect()
		e := w.envoy()
		// Envoy counts what it is sent of endpoints so, too.
		e.add(onShadow+"update_attempt", 1, onShadow+"update_success", 1)
		e.flushAfter(2 * time.Second)
		is(Active, "")
	})

	Describe("of a TrafficRoute that governs nothing", func() {
		const elsewhere = `
type: TrafficRoute
name: elsewhere
sources: [{match: {kuma.io/service: nobody}}]
destinations: [{match: {kuma.io/service: '*'}}]
conf:
  http: [{match: {path: {exact: /x}, method: {exact: GET}}, destination: {kuma.io/service: '*'}, mirror: {destination: {kuma.io/service: '*', version: v2}, percentage: 3}}]
  destination: {kuma.io/service: '*'}`

		It("is no-match", func() {
			w.use(web, v1, v2, elsewhere)
			begun := w.clock
			w.pass(time.Minute)
			is(NoMatch, "governs no outbound of any data plane")
			m := w.mirror()
			Expect(m).To(And(HaveField("Mesh", "default"), HaveField("Dataplane", ""), HaveField("Policy", "elsewhere"),
				HaveField("Path", "conf.http[0].mirror"), HaveField("Match", "path /x, method GET"), HaveField("Since", begun),
				HaveField("Percentage", BeEquivalentTo(3)), HaveField("Shadow.Tags", HaveKeyWithValue("version", "v2"))))
		})

		It("names the lack of data planes", func() {
			w.use(elsewhere)
			is(NoMatch, "its mesh has no data planes")
		})

		It("ends when it governs something, and begins when it does no more", func() {
			w.use(elsewhere)
			w.use(web, v1, v2, mirrored(50))
			is(NotConnected, "")
			w.pass(time.Minute)
			w.use(v1, v2, mirrored(50))
			is(NoMatch, "")
			Expect(w.mirror().Since).To(Equal(w.clock))
			w.use(v1, v2)
			Expect(w.Snapshot()).To(BeEmpty())
		})
	})

	It("comes with a note where Envoy sends no stats", func() {
		w.use(web, v1, v2, mirrored(50))
		w.connect()
		Expect(w.mirror().Note).To(BeEmpty())
		w.pass(time.Minute)
		Expect(w.mirror().Note).To(ContainSubstring("its Envoy sends no stats"))
		e := w.envoy()
		e.flushAfter(time.Second)
		Expect(w.mirror().Note).To(BeEmpty())
	})
})
