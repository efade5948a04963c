package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
)

// storeMetrics are about writes to the disk.
type storeMetrics struct {
	writes   *prometheus.CounterVec
	records  prometheus.Counter
	duration prometheus.Histogram
	last     prometheus.Gauge
}

func newStoreMetrics() *storeMetrics {
	m := &storeMetrics{
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: "store", Name: "writes_total",
			Help: "Transactions on the disk, by how they ended. One may have the writes of many requests.",
		}, []string{"result"}),
		records: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: "store", Name: "written_records_total",
			Help: "Resources that were written or removed.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: "store", Name: "write_duration_seconds",
			Help:    "How long transactions took until they were on the disk, or failed.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: "store", Name: "last_write_timestamp_seconds",
			Help: "When something was last written; 0 since the start.",
		}),
	}
	for _, result := range []string{resultOK, resultFailed} {
		m.writes.WithLabelValues(result)
	}
	return m
}

// The results of what is done.
const (
	resultOK     = "ok"
	resultFailed = "failed"
)

func resultOf(err error) string {
	if err != nil {
		return resultFailed
	}
	return resultOK
}

// StoreWritten takes in a transaction; it is for store.Options.OnWrite.
func (m *Metrics) StoreWritten(w store.Write) {
	s := m.store
	s.writes.WithLabelValues(resultOf(w.Err)).Inc()
	s.duration.Observe(w.Duration.Seconds())
	if w.Err == nil {
		s.records.Add(float64(w.Records))
		s.last.Set(float64(time.Now().UnixMilli()) / 1000)
	}
}

// Describe implements prometheus.Collector.
func (m *storeMetrics) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, to) }

// Collect implements prometheus.Collector.
func (m *storeMetrics) Collect(to chan<- prometheus.Metric) {
	m.writes.Collect(to)
	m.records.Collect(to)
	m.duration.Collect(to)
	m.last.Collect(to)
}

// storeStatusMetrics are about the store's file.
type storeStatusMetrics struct {
	store                   *store.Store
	records, bytes, failing *prometheus.Desc
}

func newStoreStatusMetrics(s *store.Store) *storeStatusMetrics {
	return &storeStatusMetrics{
		store:   s,
		records: desc("store_records", "Resources in the store."),
		bytes:   desc("store_size_bytes", "Size of the store's file."),
		failing: desc("store_failing", "1 where the last write failed, else 0."),
	}
}

// Describe implements prometheus.Collector.
func (m *storeStatusMetrics) Describe(to chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(m, to)
}

// Collect implements prometheus.Collector.
func (m *storeStatusMetrics) Collect(to chan<- prometheus.Metric) {
	status := m.store.Status()
	to <- gauge(m.records, float64(status.Records))
	to <- gauge(m.bytes, float64(status.Bytes))
	to <- gauge(m.failing, number(status.Err != nil))
}

// number is 1 for true.
func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
