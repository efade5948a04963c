package status

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/proto"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	metrics "github.com/envoyproxy/go-control-plane/envoy/service/metrics/v3"
	prometheus "github.com/prometheus/client_model/go"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// world is a Status with a host that is told what it knows.
type world struct {
	*Status
	clock time.Time
	index *mesh.Index
	known map[string]*api.Resource // data planes
	// envoys is what the host says of them, by data plane.
	envoys map[string]ads.ProxyStatus
}

func newWorld() *world {
	w := &world{
		clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		index: mesh.New(nil), known: map[string]*api.Resource{}, envoys: map[string]ads.ProxyStatus{},
	}
	w.Status = newStatus(w, func() time.Time { return w.clock })
	return w
}

// Proxy implements proxies.
func (w *world) Proxy(key api.Key) ads.ProxyStatus { return w.envoys[key.Name] }

// Generate implements proxies.
func (w *world) Generate(ctx context.Context, key api.Key) (*xds.ResourceSet, plugin.Report, error) {
	return generate.Proxy(ctx, w.index, key)
}

// use does what a host does with resources, given as YAML.
func (w *world) use(documents ...string) {
	GinkgoHelper()
	resources, err := api.Parse("test", []byte(strings.Join(documents, "\n---\n")))
	Expect(err).NotTo(HaveOccurred())
	Expect(mesh.Validate(resources)).To(BeEmpty())
	w.index = mesh.New(resources)
	w.Updated(resources)
	before := w.known
	w.known = map[string]*api.Resource{}
	for _, key := range w.index.Dataplanes() {
		dataplane := w.index.Mesh(key.Mesh).Dataplane(key.Name)
		w.known[key.Name] = dataplane
		rs, report, err := generate.Proxy(context.Background(), w.index, key)
		w.Generated(host.Generated{Dataplane: dataplane, Resources: rs, Report: report, Err: err})
	}
	for name, r := range before {
		if w.known[name] == nil {
			w.Removed(r.Key())
		}
	}
}

// says is what the host says of a data plane's Envoy from now on.
func (w *world) says(dataplane string, s ads.ProxyStatus) {
	w.envoys[dataplane] = s
	w.Event(ads.Event{Node: "default." + dataplane})
}

// connect lets web's Envoy connect and acknowledge all it is given.
func (w *world) connect() {
	w.says("web", ads.ProxyStatus{Connected: true, Since: w.clock, InSync: true})
}

// withSync is web's Envoy, connected, with or without having acknowledged all.
func withSync(w *world, inSync bool) ads.ProxyStatus {
	s := w.envoys["web"]
	s.InSync = inSync
	return s
}

func (w *world) pass(d time.Duration) { w.clock = w.clock.Add(d) }

// mirror is the only one, or the one at a path.
func (w *world) mirror(path ...string) Mirror {
	GinkgoHelper()
	all, err := w.Mirrors(context.Background(), "")
	Expect(err).NotTo(HaveOccurred())
	if len(path) == 0 {
		Expect(all).To(HaveLen(1))
		return all[0]
	}
	i := slices.IndexFunc(all, func(m Mirror) bool { return m.Path == path[0] })
	Expect(i).To(BeNumerically(">=", 0), path[0])
	return all[i]
}

// total is what has been counted of the only mirror.
func (w *world) total() Counts {
	GinkgoHelper()
	m := w.mirror()
	Expect(m.Total).NotTo(BeNil())
	return m.Total.Counts
}

const (
	web = `
type: Dataplane
name: web
networking:
  address: 127.0.0.1
  gateway: {tags: {kuma.io/service: web}}
  outbound: [{port: 10001, tags: {kuma.io/service: backend}}]`
	v1 = `
type: Dataplane
name: v1
networking:
  address: 127.0.0.1
  inbound: [{port: 1, tags: {kuma.io/service: backend, kuma.io/protocol: http, version: v1}}]`
	v2 = `
type: Dataplane
name: v2
networking:
  address: 127.0.0.1
  inbound: [{port: 2, tags: {kuma.io/service: backend, kuma.io/protocol: http, version: v2}}]`
)

// route is a TrafficRoute from web to backend; conf is one line of YAML.
func route(conf string) string {
	return fmt.Sprintf(`
type: TrafficRoute
name: route
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: backend}}]
conf: %s`, conf)
}

// mirrored copies a share of everything to v2, as "shadow".
func mirrored(percentage float64) string {
	return route(fmt.Sprintf("{destination: {kuma.io/service: backend, version: v1}, "+
		"mirror: {destination: {kuma.io/service: backend, version: v2}, name: shadow, percentage: %g}}", percentage))
}

// What the stats of that route and its mirror begin with.
const (
	onRoute  = "vhost.backend.route.route_default."
	onShadow = "cluster.shadow."
)

// sim is an Envoy as far as it sends stats.
type sim struct {
	w        *world
	node     string
	started  time.Time
	counters map[string]float64
	// times are histograms since the last flush: quantiles are those of the
	// values, in milliseconds.
	times map[string][]float64
	feed  *feed
	// flushes there were.
	flushes int
	// identified says that the stream has had its first message.
	identified bool
}

// envoy is web's, started just now.
func (w *world) envoy() *sim {
	e := &sim{w: w, node: "default.web", started: w.clock, counters: map[string]float64{}, times: map[string][]float64{}}
	e.stream()
	return e
}

// stream begins a new connection; the one before may go on.
func (e *sim) stream() { e.feed, e.identified = &feed{status: e.w.Status}, false }

// end ends the connection.
func (e *sim) end() { e.feed.leave() }

// add adds to counters, given as name and number in turn.
func (e *sim) add(namesAndNumbers ...any) {
	for pair := range slices.Chunk(namesAndNumbers, 2) {
		e.counters[pair[0].(string)] += float64(pair[1].(int))
	}
}

// requests counts requests of the route and copies of them.
func (e *sim) requests(requests, copies int) {
	e.add(onRoute+"upstream_rq_total", requests, onRoute+"upstream_rq_completed", requests,
		onShadow+"upstream_rq_total", copies, onShadow+"upstream_rq_completed", copies)
}

// families is all that Envoy has to tell.
func (e *sim) families() []*prometheus.MetricFamily {
	at := e.w.clock.UnixMilli()
	e.flushes++
	metric := func(name string, m *prometheus.Metric) *prometheus.MetricFamily {
		m.TimestampMs = &at
		return &prometheus.MetricFamily{Name: &name, Metric: []*prometheus.Metric{m}}
	}
	all := []*prometheus.MetricFamily{
		metric("server.uptime", &prometheus.Metric{Gauge: &prometheus.Gauge{Value: new(float64(int(e.w.clock.Sub(e.started).Seconds())))}}),
		metric("cluster.backend.upstream_rq_total", &prometheus.Metric{Counter: &prometheus.Counter{Value: new(7.0)}}),
		metric(sentStat, &prometheus.Metric{Counter: &prometheus.Counter{Value: new(1000 * float64(e.flushes))}}),
		metric("a", &prometheus.Metric{Gauge: &prometheus.Gauge{Value: new(1.0)}}),
	}
	for _, name := range slices.Sorted(maps.Keys(e.counters)) {
		all = append(all, metric(name, &prometheus.Metric{Counter: &prometheus.Counter{Value: new(e.counters[name])}}))
	}
	for _, name := range slices.Sorted(maps.Keys(e.times)) {
		values := slices.Sorted(slices.Values(e.times[name]))
		s := &prometheus.Summary{SampleCount: new(uint64(len(values))), SampleSum: new(0.0)}
		for _, v := range values {
			*s.SampleSum += v
		}
		for _, q := range quantiles {
			var value float64
			if len(values) > 0 {
				value = values[int(q*float64(len(values)-1))]
			}
			s.Quantile = append(s.Quantile, &prometheus.Quantile{Quantile: new(q), Value: &value})
		}
		all = append(all, metric(name, &prometheus.Metric{Summary: s}))
		e.times[name] = nil
	}
	return all
}

// flush sends all as Envoy does.
func (e *sim) flush() {
	GinkgoHelper()
	for _, m := range e.messages(100) {
		Expect(e.feed.take(m)).To(Succeed())
	}
}

// flushAfter lets time pass and flushes.
func (e *sim) flushAfter(d time.Duration) {
	GinkgoHelper()
	e.w.pass(d)
	e.flush()
}

// messages are a flush in messages of so many metrics.
func (e *sim) messages(size int) []*message {
	GinkgoHelper()
	var all []*message
	for families := range slices.Chunk(e.families(), size) {
		full := &metrics.StreamMetricsMessage{EnvoyMetrics: families}
		if !e.identified {
			e.identified = true
			full.Identifier = &metrics.StreamMetricsMessage_Identifier{Node: &core.Node{Id: e.node, Cluster: "web"}}
		}
		all = append(all, asMessage(full))
	}
	return all
}

func asMessage(full proto.Message) *message {
	GinkgoHelper()
	raw, err := proto.Marshal(full)
	Expect(err).NotTo(HaveOccurred())
	m := &message{}
	Expect(proto.Unmarshal(raw, m)).To(Succeed())
	return m
}
