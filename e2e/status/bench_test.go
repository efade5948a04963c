package status_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/procfs"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
)

// measured is an Envoy of 50 outbounds, each with a mirror, and a client of it.
type measured struct {
	envoy *envoytest.Envoy
	url   string
}

// cpu is what the Envoy has used.
func (m *measured) cpu() time.Duration {
	process, err := procfs.NewProc(m.envoy.PID())
	Expect(err).NotTo(HaveOccurred())
	stat, err := process.Stat()
	Expect(err).NotTo(HaveOccurred())
	return time.Duration(stat.CPUTime() * float64(time.Second))
}

// load sends requests, perSecond in all and for so long, each when it is due, and
// returns how long they took from then on, in order.
func (m *measured) load(b *testing.B, perSecond int, duration time.Duration) []time.Duration {
	const clients = 8
	var running sync.WaitGroup
	took := make([][]time.Duration, clients)
	begun := time.Now()
	for c := range clients {
		client := world.NewClient(b, m.url, true)
		running.Go(func() {
			for n := c; ; n += clients {
				due := begun.Add(time.Duration(n) * time.Second / time.Duration(perSecond))
				if due.Sub(begun) > duration {
					return
				}
				time.Sleep(time.Until(due))
				if _, err := client.Send(b.Context(), world.Request{}); err == nil {
					took[c] = append(took[c], time.Since(due))
				}
			}
		})
	}
	running.Wait()
	all := slices.Concat(took...)
	Expect(all).To(HaveLen(perSecond*int(duration/time.Second) + 1))
	slices.Sort(all)
	return all
}

// BenchmarkCollecting is what it costs an Envoy to send its stats to the host
// every two seconds: two Envoys of 50 mirrored outbounds each, one of which does,
// in turn under a steady load, and then at rest. Ratios are those of medians.
func BenchmarkCollecting(b *testing.B) {
	RegisterTestingT(b)
	const (
		outbounds = 50
		rounds    = 6
		perSecond = 1000
		length    = 5 * time.Second
		rest      = 20 * time.Second
	)
	w := world.New(b)
	w.HTTP("v1")
	w.HTTP("v2")
	w.Route("destination: {kuma.io/service: backend, version: v1}\nmirror: {destination: {kuma.io/service: backend, version: v2}}\n")
	ports := envoytest.FreePorts(2 * outbounds)
	var urls []string
	for i, name := range []string{"without", "with"} {
		own := ports[i*outbounds:][:outbounds]
		dataplane := strings.ReplaceAll(world.Caller(name, own[0]), "service: "+name, "service: web")
		for n, port := range own[1:] {
			dataplane += fmt.Sprintf("  - {port: %d, tags: {kuma.io/service: backend, n: '%d'}}\n", port, n)
		}
		w.Write(name+".yaml", dataplane)
		urls = append(urls, fmt.Sprintf("http://127.0.0.1:%d", own[0]))
	}
	var observed *status.Status
	w.Host(func(h *host.Host) { observed = status.New(h) })
	binary := envoytest.Binary(envoytest.Versions()[0])
	without := &measured{url: urls[0], envoy: w.Envoy(b.Context(), binary, "without", ads.Delta, func(b *bootstrap.Bootstrap) { b.StatsSinks = nil })}
	with := &measured{url: urls[1], envoy: w.Envoy(b.Context(), binary, "with", ads.Delta)}

	median := func(values []float64) float64 {
		slices.Sort(values)
		return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
	}
	for b.Loop() {
		cpu, p99 := map[*measured][]float64{}, map[*measured][]float64{}
		for round := range rounds {
			order := []*measured{without, with}
			if round%2 == 1 {
				slices.Reverse(order)
			}
			for _, m := range order {
				before := m.cpu()
				took := m.load(b, perSecond, length)
				cpu[m] = append(cpu[m], 100*(m.cpu()-before).Seconds()/length.Seconds())
				p99[m] = append(p99[m], float64(took[len(took)*99/100])/float64(time.Millisecond))
			}
		}
		b.ReportMetric(median(cpu[without]), "%-core-without")
		b.ReportMetric(median(cpu[with]), "%-core-with")
		b.ReportMetric(median(p99[without]), "ms-p99-without")
		b.ReportMetric(median(p99[with]), "ms-p99-with")

		before := []time.Duration{without.cpu(), with.cpu()}
		time.Sleep(rest)
		b.ReportMetric(100*(without.cpu()-before[0]).Seconds()/rest.Seconds(), "%-core-without-at-rest")
		b.ReportMetric(100*(with.cpu()-before[1]).Seconds()/rest.Seconds(), "%-core-with-at-rest")
	}
	counted := map[string]bool{}
	for _, m := range observed.Snapshot() {
		counted[m.Dataplane] = counted[m.Dataplane] || m.Total != nil && m.Total.Requests > 0
	}
	Expect(counted).To(And(HaveKeyWithValue("without", false), HaveKeyWithValue("with", true)), "one of them sent its stats")
}
