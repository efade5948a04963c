package metrics

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// apiMetrics are about requests to the API.
type apiMetrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

func newAPIMetrics() *apiMetrics {
	return &apiMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: "api", Name: "requests_total",
			Help: "Requests to the API that were let in, by route, method and status code.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: "api", Name: "request_duration_seconds",
			Help:    "How long requests to the API took, until the end of the answer.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5},
		}, []string{"route", "method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: "api", Name: "requests_in_flight",
			Help: "Requests to the API that are being answered.",
		}),
	}
}

// Describe implements prometheus.Collector.
func (m *apiMetrics) Describe(to chan<- *prometheus.Desc) {
	m.requests.Describe(to)
	m.duration.Describe(to)
	m.inFlight.Describe(to)
}

// Collect implements prometheus.Collector.
func (m *apiMetrics) Collect(to chan<- prometheus.Metric) {
	m.requests.Collect(to)
	m.duration.Collect(to)
	m.inFlight.Collect(to)
}

// API counts the requests that next answers. Their routes are the patterns that
// next leaves in the requests it is given; a path is never a label, as clients
// choose those.
func (m *Metrics) API(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		a := &answer{ResponseWriter: w, cut: true}
		m.api.inFlight.Inc()
		defer func() { // next may panic
			m.api.inFlight.Dec()
			route, method := routeOf(r), methodOf(r)
			m.api.requests.WithLabelValues(route, method, a.code()).Inc()
			m.api.duration.WithLabelValues(route, method).Observe(time.Since(start).Seconds())
		}()
		next.ServeHTTP(a, r)
		a.cut = false
	})
}

// routeOf is the pattern as the OpenAPI document writes it.
func routeOf(r *http.Request) string {
	switch r.Pattern {
	case "", "/":
		return "none"
	case "/{$}":
		return "/"
	}
	return strings.TrimSuffix(r.Pattern, "/")
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

func methodOf(r *http.Request) string {
	if slices.Contains(methods, r.Method) {
		return r.Method
	}
	return "other"
}

// answer remembers its status.
type answer struct {
	http.ResponseWriter
	status int
	cut    bool // no end was seen
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) code() string {
	if a.cut {
		return strconv.Itoa(http.StatusInternalServerError)
	}
	return strconv.Itoa(cmp.Or(a.status, http.StatusOK))
}
