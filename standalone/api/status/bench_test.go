package status

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// busy is a world with a data plane of 50 outbounds, each of which has a mirror
// that has copied for a minute; and its Envoy.
func busy(b *testing.B) (*world, *sim) {
	b.Helper()
	RegisterFailHandler(func(message string, _ ...int) { b.Fatal(message) })
	const outbounds = 50
	var client, rest strings.Builder
	client.WriteString("type: Dataplane\nname: web\nnetworking:\n  address: 127.0.0.1\n  gateway: {tags: {kuma.io/service: web}}\n  outbound:\n")
	for i := range outbounds {
		fmt.Fprintf(&client, "  - {port: %d, tags: {kuma.io/service: s%d}}\n", 10001+i, i)
		fmt.Fprintf(&rest, `---
type: Dataplane
name: s%d
networking: {address: 127.0.0.1, inbound: [{port: %d, tags: {kuma.io/service: s%d, kuma.io/protocol: http}}]}
---
type: TrafficRoute
name: r%d
sources: [{match: {kuma.io/service: '*'}}]
destinations: [{match: {kuma.io/service: s%d}}]
conf: {destination: {kuma.io/service: s%d}, mirror: {destination: {kuma.io/service: s%d}, name: m%d}}
`, i, 1000+i, i, i, i, i, (i+1)%outbounds, i)
	}
	w := newWorld()
	w.use(client.String(), strings.TrimPrefix(rest.String(), "---"))
	w.connect()
	e := w.envoy()
	// What is sent beside, as an Envoy with so many outbounds does.
	for i := range 7000 {
		e.counters[fmt.Sprintf("cluster.s%d.circuit_breakers.default.remaining_rq_%d", i%outbounds, i)] = 1
	}
	for range 30 {
		for i := range outbounds {
			route, shadow := fmt.Sprintf("vhost.s%d.route.r%d_default.", i, i), fmt.Sprintf("cluster.m%d.", i)
			e.add(route+"upstream_rq_total", 3, shadow+"upstream_rq_total", 3)
			e.times[route+requestTime] = []float64{float64(i), 2, 30}
			e.times[shadow+requestTime] = []float64{float64(i), 20, 40}
		}
		w.pass(2 * time.Second)
		for _, m := range e.messages(w.perMessage) {
			Expect(e.feed.take(m)).To(Succeed())
		}
	}
	return w, e
}

// BenchmarkFlush takes in what one Envoy of 50 outbounds sends every two seconds.
func BenchmarkFlush(b *testing.B) {
	w, e := busy(b)
	w.pass(2 * time.Second)
	messages := e.messages(w.perMessage)
	b.ReportAllocs()
	for b.Loop() {
		e.feed.time = 0 // or it would be the same flush
		for _, m := range messages {
			if err := e.feed.take(m); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkMirrors reads 50 mirrors.
func BenchmarkMirrors(b *testing.B) {
	w, _ := busy(b)
	b.ReportAllocs()
	for b.Loop() {
		all, err := w.Mirrors(context.Background(), "")
		if err != nil || len(all) != 50 || all[0].Window.Copies != 90 {
			b.Fatal(err, len(all), all[0].Window)
		}
	}
}

// BenchmarkInspect reads a page of a data plane of many mirrors. What it takes
// beside generating the data plane must not depend on how many there are.
func BenchmarkInspect(b *testing.B) {
	RegisterFailHandler(func(message string, _ ...int) { b.Fatal(message) })
	for _, mirrors := range []int{100, 1600} {
		b.Run(fmt.Sprint(mirrors), func(b *testing.B) {
			w := newWorld()
			w.use(web, v1, v2, crowd(mirrors))
			for b.Loop() {
				if page, total, err := w.Inspect(context.Background(), "default", "web", 0, 100); err != nil || len(page) != 100 || total != mirrors {
					b.Fatal(err, len(page), total)
				}
			}
		})
	}
}
