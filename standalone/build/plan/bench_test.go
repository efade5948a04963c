package plan_test

import (
	"fmt"
	"strings"
	"testing"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/plan"
)

// BenchmarkMake plans a change of one TrafficRoute among 200 data planes with
// 50 outbounds each: one that governs an outbound of one data plane, and one
// that governs all outbounds of all.
func BenchmarkMake(b *testing.B) {
	var base strings.Builder
	for i := range 50 {
		fmt.Fprintf(&base, "---\ntype: Dataplane\nname: server-%d\nnetworking: {address: 192.0.2.%d, inbound: [{port: 80, servicePort: 8080, tags: {kuma.io/service: s%d, kuma.io/protocol: http}}]}\n", i, i+1, i)
	}
	for i := range 200 {
		fmt.Fprintf(&base, "---\ntype: Dataplane\nname: web-%d\nnetworking:\n  address: 127.0.0.1\n  gateway: {tags: {kuma.io/service: web-%d}}\n  outbound:\n", i, i)
		for o := range 50 {
			fmt.Fprintf(&base, "  - {port: %d, tags: {kuma.io/service: s%d}}\n", 10001+o, o)
		}
	}
	for name, source := range map[string]string{"one": "web-7", "all": "'*'"} {
		route := func(percentage int) string {
			return base.String() + fmt.Sprintf("---\ntype: TrafficRoute\nname: r\nsources: [{match: {kuma.io/service: %s}}]\ndestinations: [{match: {kuma.io/service: '*'}}]\nconf: {destination: {kuma.io/service: '*'}, mirror: {destination: {kuma.io/service: s0}, percentage: %d}}\n", source, percentage)
		}
		before, err := api.Parse("before", []byte(route(10)))
		if err != nil {
			b.Fatal(err)
		}
		after := append(before[:len(before)-1:len(before)-1], before[len(before)-1])
		changed, err := api.Parse("after", []byte(route(20)))
		if err != nil {
			b.Fatal(err)
		}
		after[len(after)-1] = changed[len(changed)-1]
		b.Run("touches="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := plan.Make(b.Context(), before, after, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
