package status

import (
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("figures", func() {
	var w *world
	var e *sim
	BeforeEach(func() {
		w = newWorld()
		w.use(web, v1, v2, mirrored(50))
		w.pass(time.Second)
		w.connect()
		e = w.envoy()
	})

	It("set what is copied beside what should be", func() {
		e.requests(200, 98)
		e.add(onRoute+"upstream_rq_5xx", 20, onShadow+"upstream_rq_5xx", 49)
		e.add(onRoute+"upstream_rq_2xx", 177, onShadow+"upstream_rq_2xx", 40)
		e.add(onRoute+"upstream_rq_3xx", 2, onShadow+"upstream_rq_3xx", 3)
		e.add(onRoute+"upstream_rq_4xx", 1, onShadow+"upstream_rq_4xx", 6)
		e.times[onRoute+"upstream_rq_time"] = []float64{1, 1, 1}
		e.times[onShadow+"upstream_rq_time"] = []float64{5, 5}
		e.flushAfter(2 * time.Second)
		m := w.mirror()
		Expect(m.Percentage).To(BeEquivalentTo(50))
		Expect(m.Window).To(Equal(&Window{
			Seconds:             2,
			Counts:              Counts{Requests: 200, Copies: 98, PrimaryErrors: 20, ShadowErrors: 49},
			PrimaryAnswers:      Answers{Success: 177, Redirect: 2, ClientError: 1, ServerError: 20},
			ShadowAnswers:       Answers{Success: 40, Redirect: 3, ClientError: 6, ServerError: 49},
			EffectivePercentage: new(49.0),
			CopiesPerSecond:     49,
			RequestsPerSecond:   100,
			PrimaryErrorRate:    new(0.1),
			ShadowErrorRate:     new(0.5),
			PrimaryLatency:      &Latency{Count: 3, Mean: 1, P50: 1, P90: 1, P99: 1},
			ShadowLatency:       &Latency{Count: 2, Mean: 5, P50: 5, P90: 5, P99: 5},
		}))
	})

	It("have no shares of nothing", func() {
		Expect(w.mirror().Window).To(BeNil())
		e.flushAfter(2 * time.Second)
		Expect(w.mirror().Window).To(Equal(&Window{Seconds: 2}))
		Expect(w.total()).To(BeZero())
	})

	It("are of the last minute, while totals go on", func() {
		for range 60 {
			e.requests(10, 5)
			e.flushAfter(2 * time.Second)
		}
		m := w.mirror()
		Expect(m.Window.Seconds).To(BeEquivalentTo(60))
		Expect(m.Window.Requests).To(BeEquivalentTo(300))
		Expect(m.Total.Requests).To(BeEquivalentTo(600))
		for range 31 {
			e.flushAfter(2 * time.Second)
		}
		m = w.mirror()
		Expect(m.Window.Requests).To(BeZero())
		Expect(m.Window.Seconds).To(BeEquivalentTo(60))
		Expect(m.Total.Requests).To(BeEquivalentTo(600))
		p := w.byNode["default.web"]
		Expect(len(p.flushes)).To(BeNumerically("<=", 31))
		Expect(p.rows[0].samples).To(BeEmpty())
	})

	It("end when Envoy sends no more", func() {
		e.requests(10, 5)
		e.flushAfter(2 * time.Second)
		w.pass(2 * time.Minute)
		Expect(w.mirror().Window).To(BeNil())
		Expect(w.total()).To(Equal(Counts{Requests: 10, Copies: 5}))
	})

	It("begin anew when the mirror is changed, and do not mix what was before with what is after", func() {
		e.requests(100, 50)
		e.flushAfter(2 * time.Second)
		e.requests(50, 25)
		w.pass(time.Second)
		w.says("web", withSync(w, false))
		w.use(web, v1, v2, mirrored(10))
		w.says("web", withSync(w, true))
		e.requests(50, 5)
		e.flushAfter(time.Second) // has some of both
		Expect(w.mirror().Window).To(BeNil())
		e.requests(100, 10)
		e.flushAfter(2 * time.Second)
		Expect(w.mirror().Window.EffectivePercentage).To(HaveValue(BeEquivalentTo(10)))
		Expect(w.mirror().Window.Seconds).To(BeEquivalentTo(2))
		Expect(w.total()).To(Equal(Counts{Requests: 300, Copies: 90}))
	})

	It("of a new mirror are there with the first flush", func() {
		e.flushAfter(2 * time.Second)
		w.pass(time.Second)
		w.use(web, v1, v2, route("{destination: {kuma.io/service: backend, version: v1}, mirror: {destination: {kuma.io/service: backend, version: v2}, name: other}}"))
		e.add(onRoute+"upstream_rq_total", 7, "cluster.other.upstream_rq_total", 7)
		e.flushAfter(time.Second)
		Expect(w.mirror().Window.Seconds).To(BeEquivalentTo(1))
		Expect(w.mirror().Window.Copies).To(BeEquivalentTo(7))
	})

	It("go on when something else is changed", func() {
		e.requests(100, 50)
		e.flushAfter(2 * time.Second)
		since := w.mirror().Since
		w.pass(time.Second)
		w.says("web", withSync(w, false))
		w.use(web, v1, v2, mirrored(50), "type: Dataplane\nname: v3\nnetworking: {address: 127.0.0.1, inbound: [{port: 3, tags: {kuma.io/service: backend, version: v2, kuma.io/protocol: http}}]}")
		Expect(w.mirror().State).To(Equal(Active))
		w.says("web", withSync(w, true))
		e.flushAfter(time.Second)
		m := w.mirror()
		Expect(m.Since).To(Equal(since))
		Expect(m.Window.Requests).To(BeEquivalentTo(100))
		Expect(m.Shadow.Endpoints).To(Equal(2))
	})

	It("never fall, though a copy turns out later not to have been sent", func() {
		e.requests(10, 5)
		e.flushAfter(2 * time.Second)
		Expect(w.total().Copies).To(BeEquivalentTo(5))
		e.add(onShadow+"upstream_rq_tx_reset", 2)
		e.flushAfter(2 * time.Second)
		Expect(w.total().Copies).To(BeEquivalentTo(5))
		Expect(w.mirror().Window.Copies).To(BeEquivalentTo(3))
		Expect(w.total().Dropped.Body).To(BeEquivalentTo(2))
		e.requests(10, 5)
		e.flushAfter(2 * time.Second)
		Expect(w.total().Copies).To(BeEquivalentTo(8))
	})

	Describe("of mirrors that Envoy counts together", func() {
		const twoEntries = `{http: [{match: {path: {prefix: /a}}, destination: {kuma.io/service: backend, version: v1}, mirror: {destination: {kuma.io/service: backend, version: v2}, name: shadow, percentage: 10}},
  {match: {path: {prefix: /b}}, destination: {kuma.io/service: backend, version: v1}, mirror: {destination: {kuma.io/service: backend, version: v2}, name: shadow, percentage: 90}}],
  destination: {kuma.io/service: backend, version: v1}}`
		BeforeEach(func() { w.use(web, v1, v2, route(twoEntries)) })
		count := func(a, b, copies int) {
			GinkgoHelper()
			e.add("vhost.backend.route.route_http_0.upstream_rq_total", a, "vhost.backend.route.route_http_1.upstream_rq_total", b,
				onShadow+"upstream_rq_total", copies)
			e.flushAfter(2 * time.Second)
		}

		It("are shared as they should have been copied, and say so", func() {
			count(300, 100, 60) // 30 and 90 should have been
			a, b := w.mirror("conf.http[0].mirror"), w.mirror("conf.http[1].mirror")
			Expect(a.Window.Copies).To(BeNumerically("~", 15))
			Expect(b.Window.Copies).To(BeNumerically("~", 45))
			Expect(a.Window.EffectivePercentage).To(HaveValue(BeNumerically("~", 5)))
			Expect(a.SharedWith).To(Equal([]string{"route: conf.http[1].mirror (backend)"}))
			Expect(b.SharedWith).To(Equal([]string{"route: conf.http[0].mirror (backend)"}))
		})

		It("are exact where one of them has all the requests", func() {
			count(100, 0, 12)
			Expect(w.mirror("conf.http[0].mirror").Window.Copies).To(BeEquivalentTo(12))
			Expect(w.mirror("conf.http[1].mirror").Window.Copies).To(BeZero())
			count(0, 0, 4) // of the same requests
			Expect(w.mirror("conf.http[0].mirror").Window.Copies).To(BeEquivalentTo(16))
		})

		It("are shared evenly where nothing is known", func() {
			count(0, 0, 4)
			Expect(w.mirror("conf.http[0].mirror").Window.Copies).To(BeEquivalentTo(2))
		})
	})

	It("are counted once for an outbound that has two ports", func() {
		w.use(strings.Replace(web, "}}]", "}}, {port: 10002, tags: {kuma.io/service: backend}}]", 1), v1, v2, mirrored(50))
		e.requests(10, 5)
		e.flushAfter(2 * time.Second)
		m := w.mirror()
		Expect(m.Listeners).To(Equal([]string{"outbound:127.0.0.1:10001", "outbound:127.0.0.1:10002"}))
		Expect(m.SharedWith).To(BeEmpty())
		Expect(m.Total.Counts).To(Equal(Counts{Requests: 10, Copies: 5}))
	})

	It("are not given where Envoy counts the copies with somebody else's requests", func() {
		w.use(web, v1, v2, route("{destination: {kuma.io/service: backend}, mirror: {destination: {kuma.io/service: backend, version: v2}, name: backend}}"))
		e.add("cluster.backend.upstream_rq_total", 7)
		e.flushAfter(2 * time.Second)
		m := w.mirror()
		Expect(m.State).To(Equal(Active))
		Expect(m.Window).To(BeNil())
		Expect(m.Total).To(BeNil())
		Expect(m.Note).To(ContainSubstring(`cluster "backend", whose stats have the same name; give the mirror another name`))
	})
})
