package kuma

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kuma-mirror/kuma-mirror/plugin"
)

// metrics are the plugin's, beside kuma-cp's own.
type metrics struct {
	mirrors  counts
	stranded counts
	duration prometheus.Histogram
	panics   prometheus.Counter
}

func newMetrics(mirrors, stranded *plugin.Journal) *metrics {
	return &metrics{
		mirrors: counts{
			journal: mirrors,
			desc: prometheus.NewDesc("kuma_mirror_mirrors",
				"Mirrors on the outbounds of all data plane proxies, by what became of them.", []string{"state"}, nil),
			states: []plugin.State{plugin.Injected, plugin.Off, plugin.NotHTTP, plugin.Refused, plugin.Failed, plugin.Damaged},
		},
		stranded: counts{
			journal: stranded,
			desc: prometheus.NewDesc("kuma_mirror_stranded_outbounds",
				"Outbounds that Kuma does not route because their mesh has TrafficRoutes, by why that is.", []string{"cause"}, nil),
			states: []plugin.State{noTrafficRoute, meshService},
		},
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kuma_mirror_apply_seconds",
			Help:    "Time the plugin adds to the generation of one data plane proxy's configuration.",
			Buckets: prometheus.ExponentialBuckets(1e-6, 10, 7), // 1 µs to 1 s
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kuma_mirror_panics_total",
			Help: "Bugs in the plugin that were caught; the proxy then has no mirrors.",
		}),
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.mirrors, m.stranded, m.duration, m.panics}
}

// counts are those of a journal, when somebody asks.
type counts struct {
	journal *plugin.Journal
	desc    *prometheus.Desc
	// states that there are. All are always shown, so that an alert on one
	// has something to look at.
	states []plugin.State
}

// Describe implements prometheus.Collector.
func (c counts) Describe(descs chan<- *prometheus.Desc) { descs <- c.desc }

// Collect implements prometheus.Collector.
func (c counts) Collect(out chan<- prometheus.Metric) {
	total := c.journal.States()
	for _, state := range slices.Sorted(slices.Values(c.states)) {
		label := strings.ReplaceAll(string(state), " ", "_")
		out <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(total[state]), label)
	}
}
