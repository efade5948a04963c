package catalog_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
)

// BenchmarkPut writes data planes of 50 outbounds each, of which there are 200,
// onto the disk of the temporary directory.
func BenchmarkPut(b *testing.B) {
	const dataplanes = 200
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			log := slog.New(slog.DiscardHandler)
			var transactions atomic.Int64
			s, err := store.Open(b.TempDir(), store.Options{Log: log, OnWrite: func(store.Write) { transactions.Add(1) }})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.Close() })
			c, err := catalog.New(catalog.Options{Store: s, Log: log})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := c.Change(context.Background(), versions(b, dataplanes, 0), nil); err != nil {
				b.Fatal(err)
			}
			// Each is put in another version than the last time.
			bodies := [][]*api.Resource{versions(b, dataplanes, 1), versions(b, dataplanes, 2)}
			transactions.Store(0)
			var next atomic.Int64
			var working sync.WaitGroup
			b.ResetTimer()
			for range writers {
				working.Go(func() {
					for n := int(next.Add(1)); n <= b.N; n = int(next.Add(1)) {
						r := bodies[n/dataplanes%2][n%dataplanes]
						if _, _, err := c.Put(context.Background(), r, catalog.If{}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			working.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			b.ReportMetric(float64(b.N)/float64(transactions.Load()), "writes/transaction")
		})
	}
}

// versions are data planes whose outbounds are those of a version.
func versions(b *testing.B, count, version int) []*api.Resource {
	b.Helper()
	var all []*api.Resource
	for i := range count {
		var text strings.Builder
		fmt.Fprintf(&text, "type: Dataplane\nmesh: default\nname: dp-%d\nnetworking:\n  address: 127.0.0.1\n", i)
		fmt.Fprintf(&text, "  inbound: [{port: %d, tags: {kuma.io/service: s-%d, kuma.io/protocol: http}}]\n  outbound:\n", 10000+i, i)
		for o := range 50 {
			fmt.Fprintf(&text, "  - {port: %d, tags: {kuma.io/service: s-%d}}\n", 20000+1000*version+o, o)
		}
		resources, err := api.Parse("", []byte(text.String()))
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, resources...)
	}
	return all
}
