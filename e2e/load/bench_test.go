package load_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

// large is what the benchmarks are about: 200 proxies that call 50 services
// each.
var large = size{proxies: 200, outbounds: 50}

// prepare makes a benchmark ready to start hosts.
func prepare(b *testing.B) {
	RegisterTestingT(b)
	path, err := world.BuildProgram()
	Expect(err).NotTo(HaveOccurred())
	program = path
	b.Cleanup(gexec.CleanupBuildArtifacts)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// report reports the median, the 99th percentile and the most, in milliseconds.
func report(b *testing.B, took []time.Duration, what string) {
	slices.Sort(took)
	b.ReportMetric(milliseconds(took[len(took)/2]), "ms-"+what+"-p50")
	b.ReportMetric(milliseconds(took[len(took)*99/100]), "ms-"+what+"-p99")
	b.ReportMetric(milliseconds(took[len(took)-1]), "ms-"+what+"-max")
}

// BenchmarkLoadStart is from when 200 proxies begin to connect to a host until
// each has all of its configuration.
func BenchmarkLoadStart(b *testing.B) {
	prepare(b)
	for b.Loop() {
		begun := time.Now()
		f := newFleet(b.Context(), b, large)
		b.ReportMetric(time.Since(begun).Seconds(), "s-until-all-in-sync")
		b.ReportMetric(f.resident(), "MB-resident")
		f.Kill()
		<-f.Exited
	}
}

// BenchmarkLoadChange is from a PUT until the proxies it touches, one of 200 or
// all, have the route table.
func BenchmarkLoadChange(b *testing.B) {
	prepare(b)
	f := newFleet(b.Context(), b, large)
	revision := 0
	total := func() (n int) {
		for _, count := range f.counts() {
			n += count
		}
		return n
	}
	b.Run("one", func(b *testing.B) {
		const changes = 200
		for b.Loop() {
			revision++
			var took []time.Duration
			before := total()
			for i, p := range f.proxies[:changes] {
				begun := time.Now()
				f.do(b.Context(), http.MethodPut, routePath(name(i)), f.route(i, revision))
				Expect(p.await(f.neighbour(i), revision)).To(BeTrue())
				took = append(took, time.Since(begun))
			}
			f.settle(b.Context())
			b.ReportMetric(float64(total()-before)/changes, "pushes/change")
			report(b, took, "change")
		}
	})
	b.Run("all", func(b *testing.B) {
		const changes = 20
		for b.Loop() {
			var took []time.Duration
			for range changes {
				revision++
				begun := time.Now()
				f.do(b.Context(), http.MethodPut, routePath("everyone"), everyone(revision))
				for _, p := range f.proxies {
					Expect(p.await("shared", revision)).To(BeTrue())
				}
				took = append(took, time.Since(begun))
			}
			report(b, took, "change")
		}
	})
}

// BenchmarkLoadWrites is 1000 PUTs a second for 10 seconds, each of which
// touches one of 200 proxies; reads go on meanwhile. What is acknowledged is
// served, and there after a kill.
func BenchmarkLoadWrites(b *testing.B) {
	prepare(b)
	for b.Loop() {
		f := newFleet(b.Context(), b, large)
		b.ReportMetric(f.resident(), "MB-resident-before")
		before := f.cpu()
		s := f.storm(b.Context(), 1000, 10*time.Second)
		Expect(s.wrong).To(BeEmpty())
		b.ReportMetric(f.cpu()-before, "s-CPU-of-host")
		b.ReportMetric(float64(len(s.writes))/s.took.Seconds(), "writes/s")
		report(b, s.writes, "write")
		report(b, s.reads, "read")
		report(b, s.lists, "list")
		b.ReportMetric(f.resident(), "MB-resident-after")
		begun := time.Now()
		for i, p := range f.proxies {
			Expect(p.await(f.neighbour(i), s.revisions[i])).To(BeTrue())
		}
		b.ReportMetric(milliseconds(time.Since(begun)), "ms-until-served")
		stored, err := f.stored(b.Context(), f.host)
		Expect(err).NotTo(HaveOccurred())
		Expect(stored).To(Equal(s.revisions))
		f.Kill()
		<-f.Exited
		stored, err = f.stored(b.Context(), start(b, f.dir))
		Expect(err).NotTo(HaveOccurred())
		Expect(stored).To(Equal(s.revisions))
	}
}

// BenchmarkLoadStore is from the start of a host with 1000 resources in its
// store until it is ready to serve all of them.
func BenchmarkLoadStore(b *testing.B) {
	prepare(b)
	dir := dataDir(b)
	h := start(b, dir)
	h.apply(b.Context(), size{proxies: 499, outbounds: 5}.resources())
	h.Kill()
	<-h.Exited
	const starts = 10
	for b.Loop() {
		var took []time.Duration
		for range starts {
			begun := time.Now()
			h := start(b, dir)
			Eventually(func() int {
				status, _, _ := h.send(b.Context(), http.MethodGet, "/readyz", "")
				return status
			}).WithTimeout(20 * time.Second).WithPolling(time.Millisecond).Should(Equal(http.StatusOK))
			took = append(took, time.Since(begun))
			h.Kill()
			<-h.Exited
		}
		report(b, took, "ready")
	}
}

// BenchmarkLoadIdle is what a host with a store holds when it has served an
// Envoy and has nothing to do.
func BenchmarkLoadIdle(b *testing.B) {
	prepare(b)
	h, _ := applied(b, b.Context(), envoytest.Versions()[0], ads.Delta)
	for b.Loop() {
		time.Sleep(2 * time.Second)
		b.ReportMetric(h.resident(), "MB-resident")
	}
}

// BenchmarkLoadPut is from a PUT of a TrafficRoute until a request is routed by
// it, through a host and an Envoy in processes of their own.
func BenchmarkLoadPut(b *testing.B) {
	prepare(b)
	h, w := applied(b, b.Context(), envoytest.Versions()[0], ads.Delta)
	client := world.NewClient(b, w.URL, true)
	const puts = 30
	revision := 0
	for b.Loop() {
		var took []time.Duration
		for range puts {
			revision++
			begun := time.Now()
			h.do(b.Context(), http.MethodPut, routePath("web"), flip(revision))
			for {
				answer, err := client.Send(b.Context(), world.Request{})
				Expect(err).NotTo(HaveOccurred())
				if answer.Header.Get(revisionHeader) == fmt.Sprint(revision) {
					break
				}
				Expect(time.Since(begun)).To(BeNumerically("<", 10*time.Second))
				time.Sleep(time.Millisecond) // so that polling leaves Envoy and the host alone
			}
			took = append(took, time.Since(begun))
		}
		report(b, took, "put")
	}
}
