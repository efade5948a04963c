package metrics

import (
	"sync"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/prometheus/client_golang/prometheus"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
)

// hostMetrics are about what Envoys are served. It is an observer of the host.
type hostMetrics struct {
	host proxies

	changes     prometheus.Counter
	generations *prometheus.CounterVec
	streams     prometheus.Counter
	pushes      *prometheus.CounterVec
	duration    prometheus.Histogram

	dataplanes, failing, envoys *prometheus.Desc

	mu sync.Mutex // guards what follows
	// began is when the change that is being made was taken in.
	began time.Time
	// dataplanes that are there, and whether the last generation failed.
	known map[api.Key]bool
	// behind are Envoys that have not acknowledged everything, by node id, with
	// the time of the first change that they lack.
	behind map[string]time.Time
	// synced is when each Envoy that is not behind acknowledged last.
	synced map[string]time.Time
	// open counts the streams of each node id.
	open map[string]int
}

// proxies is what hostMetrics have to know of the host.
type proxies interface {
	Proxy(dataplane api.Key) ads.ProxyStatus
	Proxies() []ads.ProxyStatus
}

func newHostMetrics(h proxies) *hostMetrics {
	m := &hostMetrics{
		host: h,
		changes: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "changes_total",
			Help: "Changes of the resources in use that the host has taken in; those of a moment count once.",
		}),
		generations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "generations_total",
			Help: "How often a data plane's configuration was generated, by how that ended.",
		}, []string{"result"}),
		streams: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: "xds", Name: "streams_total",
			Help: "xDS streams that Envoys have opened.",
		}),
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: "xds", Name: "pushes_total",
			Help: "Responses that Envoys have answered, by type of resources and by whether they were accepted (ACK) or refused (NACK).",
		}, []string{"type", "result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: "xds", Name: "push_duration_seconds",
			Help:    "Time from when the host takes in a change until an Envoy it touches has acknowledged all of it.",
			Buckets: []float64{0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15, 60},
		}),
		dataplanes: desc("dataplanes", "Data planes that are there."),
		failing:    desc("dataplanes_failing", "Data planes whose configuration cannot be generated or served: they keep what they had."),
		envoys: desc("proxies", "Envoys by how they stand: in_sync, syncing, refusing (the last answer was a NACK), "+
			"not_connected, and unknown for those connected without a Dataplane.", "state"),
		known: map[api.Key]bool{}, behind: map[string]time.Time{}, synced: map[string]time.Time{}, open: map[string]int{},
	}
	for _, t := range []string{"cluster", "endpoint", "listener", "route"} {
		m.pushes.WithLabelValues(t, resultAccepted)
		m.pushes.WithLabelValues(t, resultRefused)
	}
	m.generations.WithLabelValues(resultOK)
	m.generations.WithLabelValues(resultFailed)
	return m
}

// The results of pushes.
const (
	resultAccepted = "accepted"
	resultRefused  = "refused"
)

// Updated implements host.Observer.
func (m *hostMetrics) Updated([]*api.Resource) {
	m.changes.Inc()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.began = time.Now()
}

// Generated implements host.Observer.
func (m *hostMetrics) Generated(g host.Generated) {
	m.generations.WithLabelValues(resultOf(g.Err)).Inc()
	key := g.Dataplane.Key()
	asked := time.Now()
	node, envoy := mesh.NodeID(key), m.host.Proxy(key)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[key] = g.Err != nil
	switch {
	case g.Err != nil || !envoy.Connected:
	case !envoy.InSync && !m.synced[node].After(asked):
		if _, is := m.behind[node]; !is {
			m.behind[node] = m.began
		}
	case m.synced[node].After(m.began):
		// It was faster than this call.
		m.duration.Observe(m.synced[node].Sub(m.began).Seconds())
	}
}

// Removed implements host.Observer.
func (m *hostMetrics) Removed(dataplane api.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, dataplane)
	m.forget(mesh.NodeID(dataplane))
}

func (m *hostMetrics) forget(node string) {
	delete(m.behind, node)
	delete(m.synced, node)
}

// Event implements host.Observer.
func (m *hostMetrics) Event(e ads.Event) {
	switch e.Kind {
	case ads.Connected:
		m.streams.Inc()
	case ads.Acknowledged:
		m.pushes.WithLabelValues(typeOf(e.Type), resultAccepted).Inc()
	case ads.Refused:
		m.pushes.WithLabelValues(typeOf(e.Type), resultRefused).Inc()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case e.Kind == ads.Connected:
		m.open[e.Node]++
	case e.Kind == ads.Disconnected:
		// A broken stream may end after the next has begun.
		if m.open[e.Node]--; m.open[e.Node] <= 0 {
			delete(m.open, e.Node)
			m.forget(e.Node)
		}
	case e.Kind == ads.Refused:
		// What it lacks it will not get by this change.
		m.forget(e.Node)
	case e.Kind == ads.Acknowledged && e.InSync:
		if since, is := m.behind[e.Node]; is {
			m.duration.Observe(e.Time.Sub(since).Seconds())
			delete(m.behind, e.Node)
		} else {
			m.synced[e.Node] = e.Time
		}
	}
}

// typeOf is a short name for a type of resources.
func typeOf(url string) string {
	switch url {
	case resource.ClusterType:
		return "cluster"
	case resource.EndpointType:
		return "endpoint"
	case resource.ListenerType:
		return "listener"
	case resource.RouteType:
		return "route"
	}
	return "other"
}

// Describe implements prometheus.Collector.
func (m *hostMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, c := range m.counted() {
		c.Describe(to)
	}
	to <- m.dataplanes
	to <- m.failing
	to <- m.envoys
}

func (m *hostMetrics) counted() []prometheus.Collector {
	return []prometheus.Collector{m.changes, m.generations, m.streams, m.pushes, m.duration}
}

// Collect implements prometheus.Collector.
func (m *hostMetrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.counted() {
		c.Collect(to)
	}
	m.mu.Lock()
	dataplanes, failing := len(m.known), 0
	for _, failed := range m.known {
		if failed {
			failing++
		}
	}
	m.mu.Unlock()
	to <- gauge(m.dataplanes, float64(dataplanes))
	to <- gauge(m.failing, float64(failing))

	states := map[string]int{"in_sync": 0, "syncing": 0, "refusing": 0, "not_connected": 0, "unknown": 0}
	for _, p := range m.host.Proxies() {
		states[stateOf(p)]++
	}
	for state, n := range states {
		to <- gauge(m.envoys, float64(n), state)
	}
}

func stateOf(p ads.ProxyStatus) string {
	switch {
	case !p.Connected:
		return "not_connected"
	case !p.Configured:
		return "unknown"
	case p.InSync:
		return "in_sync"
	}
	for _, t := range p.Types {
		if t.Refused != nil {
			return "refusing"
		}
	}
	return "syncing"
}
