package rest

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
)

// benchmarked is an API on a store with n TrafficRoutes and as many Dataplanes.
func benchmarked(b *testing.B, n int) http.Handler {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	st, err := store.Open(b.TempDir(), store.Options{Log: log})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = st.Close() })
	c, err := catalog.New(catalog.Options{Store: st, Log: log})
	if err != nil {
		b.Fatal(err)
	}
	var puts []*api.Resource
	for i := range n {
		resources, err := api.Parse("benchmark", []byte(benchmarkDataplane(i)+"\n---\n"+benchmarkRoute(i, 1)))
		if err != nil {
			b.Fatal(err)
		}
		puts = append(puts, resources...)
	}
	if _, err := c.Change(b.Context(), puts, nil); err != nil {
		b.Fatal(err)
	}
	return New(Options{Catalog: c, Store: st, Log: log})
}

func benchmarkDataplane(i int) string {
	return fmt.Sprintf(`{"type": "Dataplane", "mesh": "default", "name": "dp-%d", "networking": {"address": "127.0.0.1",
		"inbound": [{"port": 80, "tags": {"kuma.io/service": "s-%d", "kuma.io/protocol": "http"}}]}}`, i, i)
}

func benchmarkRoute(i int, percentage int64) string {
	return fmt.Sprintf(`{"type": "TrafficRoute", "mesh": "default", "name": "route-%d",
		"sources": [{"match": {"kuma.io/service": "s-%d"}}], "destinations": [{"match": {"kuma.io/service": "backend"}}],
		"conf": {"destination": {"kuma.io/service": "backend"},
			"mirror": {"destination": {"kuma.io/service": "shadow"}, "percentage": %v}}}`, i, i, float64(percentage%1000)/10)
}

// BenchmarkPut replaces one of 500 TrafficRoutes, each time by another one: read,
// validated together with all others, on disk, answered.
func BenchmarkPut(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			const routes = 500
			handler := benchmarked(b, routes)
			var next atomic.Int64
			var running sync.WaitGroup
			b.ResetTimer()
			for range writers {
				running.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						i := int(n % routes)
						r := httptest.NewRequest(http.MethodPut, fmt.Sprint("/meshes/default/traffic-routes/route-", i), strings.NewReader(benchmarkRoute(i, n)))
						r.Header.Set("Content-Type", "application/json")
						w := httptest.NewRecorder()
						handler.ServeHTTP(w, r)
						if w.Code != http.StatusOK {
							b.Error(w.Body)
							return
						}
					}
				})
			}
			running.Wait()
		})
	}
}

func BenchmarkGet(b *testing.B) {
	handler := benchmarked(b, 500)
	for _, path := range []string{"/meshes/default/traffic-routes/route-7", "/traffic-routes?size=100", "/dataplanes?size=500"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
				if w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
			}
		})
	}
}
