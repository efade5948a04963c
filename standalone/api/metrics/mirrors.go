package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
)

// maxMirrors is how many mirrors have series of their own, of which each has
// about twenty. Others are counted in mirrors_left_out, and in mirrors.
const maxMirrors = 1000

// mirrorLabels tell mirrors apart. All values are names that an author of
// resources has chosen.
var mirrorLabels = []string{"mesh", "dataplane", "outbound", "policy", "path", "mirror"}

type mirrorID [6]string

func idOf(m *status.Mirror) mirrorID {
	return mirrorID{m.Mesh, m.Dataplane, m.Outbound, m.Policy, m.Path, m.Shadow.Name}
}

// mirrorMetrics are about what becomes of each mirror.
type mirrorMetrics struct {
	mirrors func() []status.Mirror
	most    int

	count, leftOut                *prometheus.Desc
	state, active, configured     *prometheus.Desc
	endpoints                     *prometheus.Desc
	requests, copies, dropped     *prometheus.Desc
	primaryErrors, shadowErrors   *prometheus.Desc
	primaryAnswers, shadowAnswers *prometheus.Desc
	primaryLatency, shadowLatency *prometheus.Desc
}

func newMirrorMetrics(mirrors func() []status.Mirror) *mirrorMetrics {
	of := func(name, help string, more ...string) *prometheus.Desc {
		return desc(name, help, slices.Concat(mirrorLabels, more)...)
	}
	return &mirrorMetrics{
		mirrors: mirrors, most: maxMirrors,
		count:          desc("mirrors", "Mirrors by state, all there are.", "state"),
		leftOut:        desc("mirrors_left_out", "Mirrors without metrics of their own, because there are too many."),
		state:          of("state", "1 for the state that the mirror is in.", "state"),
		active:         of("active", "1 where the mirror is in Envoy and has endpoints to copy to, else 0."),
		configured:     of("configured_ratio", "Share of the requests that is to be copied, 0 to 1."),
		endpoints:      of("shadow_endpoints", "Instances of the shadow."),
		requests:       of("route_requests_total", "Requests by the entry of the TrafficRoute that the mirror stands in."),
		copies:         of("copies_total", "Copies that were sent to the shadow."),
		dropped:        of("copies_dropped_total", "Copies that were dropped, by why; those dropped for their duration are among the copies as a rule.", "reason"),
		primaryErrors:  of("route_errors_total", "Answers 5xx that clients got by the entry of the TrafficRoute."),
		shadowErrors:   of("shadow_errors_total", "Copies that the shadow answered with 5xx or broke off."),
		primaryAnswers: of("route_answers_total", "Answers that clients got by the entry of the TrafficRoute, by the class of their status.", "class"),
		shadowAnswers:  of("shadow_answers_total", "Answers of the shadow, by the class of their status; 5xx has the copies that broke off before an answer, too.", "class"),
		primaryLatency: of("route_duration_seconds", "Time to the answer on the entry in the last minute, at a percentile.", "percentile"),
		shadowLatency:  of("shadow_duration_seconds", "Time to the shadow's answer in the last minute, at a percentile.", "percentile"),
	}
}

// Describe implements prometheus.Collector.
func (m *mirrorMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.count, m.leftOut, m.state, m.active, m.configured, m.endpoints, m.requests, m.copies, m.dropped,
		m.primaryErrors, m.shadowErrors, m.primaryAnswers, m.shadowAnswers, m.primaryLatency, m.shadowLatency,
	} {
		to <- d
	}
}

// mirror is what is said under one set of labels: a policy may govern several
// outbounds of one data plane to the same service.
type mirror struct {
	rows  []*status.Mirror
	total *status.Total // nil where there is nothing to count
}

// Collect implements prometheus.Collector.
func (m *mirrorMetrics) Collect(to chan<- prometheus.Metric) {
	all := m.mirrors()
	states := map[status.State]int{}
	grouped := map[mirrorID]*mirror{}
	leftOut := 0
	for i := range all {
		row := &all[i]
		states[row.State]++
		id := idOf(row)
		one := grouped[id]
		if one == nil && len(grouped) >= m.most {
			leftOut++
			continue
		}
		if one == nil {
			one = &mirror{}
			grouped[id] = one
		}
		one.add(row)
	}
	for _, s := range status.States() {
		to <- gauge(m.count, float64(states[s]), string(s))
	}
	to <- gauge(m.leftOut, float64(leftOut))
	for id, one := range grouped {
		m.collect(to, id[:], one)
	}
}

func (m *mirror) add(row *status.Mirror) {
	m.rows = append(m.rows, row)
	if row.Shadow.Cluster == "" && row.Total == nil {
		return
	}
	if m.total == nil {
		// Counters that begin at zero show their first increase, too.
		m.total = &status.Total{}
	}
	if row.Total == nil {
		return
	}
	c, more := m.total, row.Total
	c.Requests += more.Requests
	c.Copies += more.Copies
	c.Dropped.Concurrency += more.Dropped.Concurrency
	c.Dropped.Body += more.Dropped.Body
	c.Dropped.Duration += more.Dropped.Duration
	c.Dropped.NoHealthyEndpoint += more.Dropped.NoHealthyEndpoint
	c.Dropped.ConnectionFailure += more.Dropped.ConnectionFailure
	c.PrimaryErrors += more.PrimaryErrors
	c.ShadowErrors += more.ShadowErrors
	c.PrimaryAnswers.Add(more.PrimaryAnswers, 1)
	c.ShadowAnswers.Add(more.ShadowAnswers, 1)
}

func (m *mirrorMetrics) collect(to chan<- prometheus.Metric, id []string, one *mirror) {
	with := func(value string) []string { return append(id[:len(id):len(id)], value) }
	states, active := map[status.State]bool{}, true
	for _, row := range one.rows {
		states[row.State] = true
		active = active && row.State == status.Active
	}
	for s := range states {
		to <- gauge(m.state, 1, with(string(s))...)
	}
	first := one.rows[0]
	to <- gauge(m.active, number(active), id...)
	to <- gauge(m.configured, first.Percentage/100, id...)
	to <- gauge(m.endpoints, float64(first.Shadow.Endpoints), id...)
	if c := one.total; c != nil {
		to <- counter(m.requests, float64(c.Requests), id...)
		to <- counter(m.copies, c.Copies, id...)
		to <- counter(m.dropped, c.Dropped.Concurrency, with("concurrency")...)
		to <- counter(m.dropped, c.Dropped.Body, with("body")...)
		to <- counter(m.dropped, c.Dropped.Duration, with("duration")...)
		to <- counter(m.dropped, c.Dropped.NoHealthyEndpoint, with("no_healthy_endpoint")...)
		to <- counter(m.dropped, c.Dropped.ConnectionFailure, with("connection_failure")...)
		to <- counter(m.primaryErrors, float64(c.PrimaryErrors), id...)
		to <- counter(m.shadowErrors, c.ShadowErrors, id...)
		for class, n := range c.PrimaryAnswers.Classes() {
			to <- counter(m.primaryAnswers, n, with(class)...)
		}
		for class, n := range c.ShadowAnswers.Classes() {
			to <- counter(m.shadowAnswers, n, with(class)...)
		}
	}
	// Percentiles cannot be added up: where there are several, the worst one
	// is what to look at.
	latency(to, m.primaryLatency, with, one.rows, func(w *status.Window) *status.Latency { return w.PrimaryLatency })
	latency(to, m.shadowLatency, with, one.rows, func(w *status.Window) *status.Latency { return w.ShadowLatency })
}

func latency(to chan<- prometheus.Metric, d *prometheus.Desc, with func(string) []string, rows []*status.Mirror, of func(*status.Window) *status.Latency) {
	var worst *status.Latency
	for _, row := range rows {
		if row.Window == nil {
			continue
		}
		if l := of(row.Window); l != nil && (worst == nil || l.P99 > worst.P99) {
			worst = l
		}
	}
	if worst == nil {
		return
	}
	const millisecond = 1e-3
	to <- gauge(d, worst.P50*millisecond, with("50")...)
	to <- gauge(d, worst.P90*millisecond, with("90")...)
	to <- gauge(d, worst.P99*millisecond, with("99")...)
}
