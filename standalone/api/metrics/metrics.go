// Package metrics says in Prometheus' format how the host does, and how its
// mirrors do. What there is, and what to make of it, is in docs/operate.md.
package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/files"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
)

// namespace is what the names of the metrics begin with.
const namespace = "kuma_mirror"

// Options of New.
type Options struct {
	// Version of this program, as `kuma-mirror version` prints it.
	Version string
}

// Metrics are those of one host. Its methods may be called from any goroutine.
type Metrics struct {
	registry *prometheus.Registry
	api      *apiMetrics
	store    *storeMetrics
	refusals *prometheus.CounterVec
}

// Sources are what Watch looks at. Each may be nil.
type Sources struct {
	// Host is observed, which has to be before its Serve.
	Host *host.Host
	// Mirrors are all there are; see status.Status.Snapshot.
	Mirrors func() []status.Mirror
	// Stale is what is not in use as it is written; see status.FindStale.
	Stale   func() []status.Stale
	Catalog *catalog.Catalog
	Files   *files.Source
	Store   *store.Store
	// CertificateExpiry is when the host's certificate ends; zero without TLS.
	CertificateExpiry func() time.Time
}

// New returns the metrics of a host of which nothing is known yet but the
// process.
func New(o Options) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		api:      newAPIMetrics(),
		store:    newStoreMetrics(),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "refusals_total",
			Help: "Requests, proxies and connections that were turned away before anything was done for them, by the reason they were told.",
		}, []string{"listener", "reason"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "The version that runs; always 1.",
		ConstLabels: prometheus.Labels{"version": o.Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(
		build, m.refusals, m.api, m.store,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Watch adds what the parts of a host say. It can be called once.
func (m *Metrics) Watch(s Sources) {
	if s.Host != nil {
		h := newHostMetrics(s.Host)
		s.Host.Observe(h)
		m.registry.MustRegister(h)
	}
	if s.Mirrors != nil {
		m.registry.MustRegister(newMirrorMetrics(s.Mirrors))
	}
	if s.Stale != nil {
		m.registry.MustRegister(newStaleMetrics(s.Stale))
	}
	if s.Catalog != nil {
		m.registry.MustRegister(newCatalogMetrics(s.Catalog))
	}
	if s.Files != nil {
		m.registry.MustRegister(newFileMetrics(s.Files))
	}
	if s.Store != nil {
		m.registry.MustRegister(newStoreStatusMetrics(s.Store))
	}
	if s.CertificateExpiry != nil && !s.CertificateExpiry().IsZero() {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "certificate_expiry_timestamp_seconds",
			Help: "When the certificate of the host ends.",
		}, func() float64 { return float64(s.CertificateExpiry().Unix()) }))
	}
}

// Handler answers with the metrics. Those that cannot be had are left out, so
// that the others are there when they are needed most.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry:          m.registry,
		ErrorHandling:     promhttp.ContinueOnError,
		EnableOpenMetrics: true,
	})
}

// Refused counts somebody who was turned away: from "api" or "xds", for one of a
// few reasons.
func (m *Metrics) Refused(listener, reason string) {
	m.refusals.WithLabelValues(listener, reason).Inc()
}

// desc describes a metric whose values are looked up when they are asked for.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
}

// gauge and counter make one value of a metric.
func gauge(d *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func counter(d *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, labels...)
}
