package metrics

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
)

var _ = Describe("the metric of what is stale", func() {
	It("counts by kind", func() {
		stale := []status.Stale{{Kind: status.StaleFile}, {Kind: status.StaleFile}, {Kind: status.StaleDataplane}}
		Expect(scrapeOf(newStaleMetrics(func() []status.Stale { return stale }))).To(ConsistOf(
			`kuma_mirror_stale{kind="file"} 2`, `kuma_mirror_stale{kind="resource"} 0`, `kuma_mirror_stale{kind="dataplane"} 1`))
	})
})

var _ = Describe("the metrics of mirrors", func() {
	row := func(dataplane string, change ...func(*status.Mirror)) status.Mirror {
		m := status.Mirror{
			Mesh: "default", Dataplane: dataplane, Outbound: "backend", Policy: "route", Path: "conf.mirror",
			Shadow: status.Shadow{Name: "shadow", Cluster: "backend_mirror", Endpoints: 2}, Percentage: 12.5, State: status.Active,
			Total: &status.Total{Counts: status.Counts{
				Requests: 800, Copies: 90, PrimaryErrors: 8, ShadowErrors: 9,
				Dropped: status.Dropped{Concurrency: 1, Body: 2, Duration: 3, NoHealthyEndpoint: 4, ConnectionFailure: 5},
			}, PrimaryAnswers: status.Answers{Success: 790, ClientError: 2, ServerError: 8},
				ShadowAnswers: status.Answers{Success: 70, Redirect: 1, ClientError: 10, ServerError: 9}},
			Window: &status.Window{
				PrimaryLatency: &status.Latency{Count: 10, P50: 1, P90: 2, P99: 4},
				ShadowLatency:  &status.Latency{Count: 10, P50: 10, P90: 20, P99: 40},
			},
		}
		for _, c := range change {
			c(&m)
		}
		return m
	}
	of := func(rows ...status.Mirror) []string {
		GinkgoHelper()
		return scrapeOf(newMirrorMetrics(func() []status.Mirror { return rows }))
	}
	const web = `dataplane="web",mesh="default",mirror="shadow",outbound="backend",path="conf.mirror",policy="route"`
	// at are the labels of a percentile, in their order.
	at := func(percentile string) string {
		return strings.Replace(web, ",policy", `,percentile="`+percentile+`",policy`, 1)
	}

	It("are what the status says", func() {
		Expect(of(row("web"))).To(ConsistOf(append(states("active"),
			`kuma_mirror_mirrors_left_out 0`,
			`kuma_mirror_state{`+web+`,state="active"} 1`,
			`kuma_mirror_active{`+web+`} 1`,
			`kuma_mirror_configured_ratio{`+web+`} 0.125`,
			`kuma_mirror_shadow_endpoints{`+web+`} 2`,
			`kuma_mirror_route_requests_total{`+web+`} 800`,
			`kuma_mirror_route_errors_total{`+web+`} 8`,
			`kuma_mirror_copies_total{`+web+`} 90`,
			`kuma_mirror_copies_dropped_total{`+web+`,reason="concurrency"} 1`,
			`kuma_mirror_copies_dropped_total{`+web+`,reason="body"} 2`,
			`kuma_mirror_copies_dropped_total{`+web+`,reason="duration"} 3`,
			`kuma_mirror_copies_dropped_total{`+web+`,reason="no_healthy_endpoint"} 4`,
			`kuma_mirror_copies_dropped_total{`+web+`,reason="connection_failure"} 5`,
			`kuma_mirror_shadow_errors_total{`+web+`} 9`,
			`kuma_mirror_route_answers_total{class="2xx",`+web+`} 790`,
			`kuma_mirror_route_answers_total{class="3xx",`+web+`} 0`,
			`kuma_mirror_route_answers_total{class="4xx",`+web+`} 2`,
			`kuma_mirror_route_answers_total{class="5xx",`+web+`} 8`,
			`kuma_mirror_shadow_answers_total{class="2xx",`+web+`} 70`,
			`kuma_mirror_shadow_answers_total{class="3xx",`+web+`} 1`,
			`kuma_mirror_shadow_answers_total{class="4xx",`+web+`} 10`,
			`kuma_mirror_shadow_answers_total{class="5xx",`+web+`} 9`,
			`kuma_mirror_route_duration_seconds{`+at("50")+`} 0.001`,
			`kuma_mirror_route_duration_seconds{`+at("90")+`} 0.002`,
			`kuma_mirror_route_duration_seconds{`+at("99")+`} 0.004`,
			`kuma_mirror_shadow_duration_seconds{`+at("50")+`} 0.01`,
			`kuma_mirror_shadow_duration_seconds{`+at("90")+`} 0.02`,
			`kuma_mirror_shadow_duration_seconds{`+at("99")+`} 0.04`,
		)))
	})

	It("count from zero before Envoy has counted anything", func() {
		lines := of(row("web", func(m *status.Mirror) { m.Total, m.Window, m.State = nil, nil, status.PendingACK }))
		Expect(lines).To(ContainElements(
			`kuma_mirror_copies_total{`+web+`} 0`,
			`kuma_mirror_copies_dropped_total{`+web+`,reason="body"} 0`,
			`kuma_mirror_active{`+web+`} 0`,
			`kuma_mirror_state{`+web+`,state="pending"} 1`,
		))
		Expect(lines).NotTo(ContainElement(ContainSubstring("duration_seconds")))
	})

	It("have no counters where there is no copy to count", func() {
		lines := of(row("web", func(m *status.Mirror) {
			m.Total, m.Window, m.State, m.Percentage, m.Shadow.Cluster = nil, nil, status.Off, 0, ""
		}))
		Expect(lines).To(ContainElements(`kuma_mirror_configured_ratio{`+web+`} 0`, `kuma_mirror_state{`+web+`,state="off"} 1`))
		Expect(lines).NotTo(ContainElement(MatchRegexp("^kuma_mirror_.*_total")))
	})

	It("take together what has the same labels", func() {
		lines := of(row("web"), row("web", func(m *status.Mirror) {
			m.State, m.Listeners = status.NoEndpoints, []string{"another"}
			m.Window.ShadowLatency = &status.Latency{Count: 1, P50: 100, P90: 200, P99: 300}
		}))
		Expect(lines).To(ContainElements(
			`kuma_mirror_route_requests_total{`+web+`} 1600`,
			`kuma_mirror_copies_dropped_total{`+web+`,reason="connection_failure"} 10`,
			`kuma_mirror_active{`+web+`} 0`,
			`kuma_mirror_state{`+web+`,state="active"} 1`,
			`kuma_mirror_state{`+web+`,state="no-endpoints"} 1`,
			`kuma_mirror_shadow_duration_seconds{`+at("99")+`} 0.3`,
			`kuma_mirror_mirrors{state="active"} 1`,
			`kuma_mirror_mirrors{state="no-endpoints"} 1`,
		))
	})

	It("are of so many mirrors at most, and say how many are left out", func() {
		var rows []status.Mirror
		for i := range 7 {
			rows = append(rows, row(fmt.Sprint("web-", i)))
		}
		rows = append(rows, row("web-1")) // one that has its place already
		m := newMirrorMetrics(func() []status.Mirror { return rows })
		m.most = 5
		lines := scrapeOf(m)
		Expect(lines).To(ContainElements(`kuma_mirror_mirrors_left_out 2`, `kuma_mirror_mirrors{state="active"} 8`))
		Expect(lines).To(ContainElement(HavePrefix(`kuma_mirror_active{dataplane="web-4"`)))
		Expect(lines).NotTo(ContainElement(ContainSubstring(`dataplane="web-5"`)))
	})
})

// states are the series of all states, with a mirror in one.
func states(in string) []string {
	var lines []string
	for _, s := range status.States() {
		n := 0
		if string(s) == in {
			n = 1
		}
		lines = append(lines, fmt.Sprintf(`kuma_mirror_mirrors{state="%s"} %d`, s, n))
	}
	return lines
}
