package kuma

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kuma-mirror/kuma-mirror/plugin"
)

// metrics are the plugin's, beside kuma-cp's own.
type metrics struct {
	mirrors  mirrors
	duration prometheus.Histogram
	panics   prometheus.Counter
}

func newMetrics(journal *plugin.Journal) *metrics {
	return &metrics{
		mirrors: mirrors{journal},
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
	return []prometheus.Collector{m.mirrors, m.duration, m.panics}
}

// mirrors counts the mirrors of all proxies when it is asked.
type mirrors struct{ journal *plugin.Journal }

var mirrorsDesc = prometheus.NewDesc("kuma_mirror_mirrors",
	"Mirrors on the outbounds of all data plane proxies, by what became of them.", []string{"state"}, nil)

// states in which a mirror can be. All are always there, so that an alert on
// one has something to look at.
var states = []plugin.State{plugin.Injected, plugin.Off, plugin.NotHTTP, plugin.Refused, plugin.Failed, plugin.Damaged}

// Describe implements prometheus.Collector.
func (m mirrors) Describe(descs chan<- *prometheus.Desc) { descs <- mirrorsDesc }

// Collect implements prometheus.Collector.
func (m mirrors) Collect(out chan<- prometheus.Metric) {
	total := m.journal.States()
	for _, state := range slices.Sorted(slices.Values(states)) {
		label := strings.ReplaceAll(string(state), " ", "_")
		out <- prometheus.MustNewConstMetric(mirrorsDesc, prometheus.GaugeValue, float64(total[state]), label)
	}
}
