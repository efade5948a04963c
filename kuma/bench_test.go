package kuma

import (
	"fmt"
	"testing"

	mesh_proto "github.com/kumahq/kuma/v2/api/mesh/v1alpha1"
	. "github.com/onsi/gomega"
)

// The plugin's time, beside what Kuma needs for the same outbounds before its
// policies: a proxy with 1000 of them, of which some are mirrored, each to a
// cluster of its own.
func BenchmarkApply(b *testing.B) {
	for _, mirrored := range []int{0, 100} {
		RegisterTestingT(b)
		w := newWorld()
		for i := range 1000 {
			w.service(fmt.Sprintf("svc-%04d", i), uint32(20000+i), "v1", "v2")
		}
		w.apply("plain", `{http: [{match: {path: {prefix: /api}}, destination: {kuma.io/service: '*'}}], destination: {kuma.io/service: '*'}}`)
		routes := w.routes
		if mirrored > 0 {
			w.apply("mirrored", `{http: [{match: {path: {prefix: /api}}, destination: {kuma.io/service: '*'},
				mirror: {destination: {kuma.io/service: '*', version: v2}, percentage: 10}}], destination: {kuma.io/service: '*'}}`)
			spec := w.routes[0].Spec
			spec.Destinations = nil
			for _, o := range w.dp.Spec.Networking.Outbound[:mirrored] {
				spec.Destinations = append(spec.Destinations, &mesh_proto.Selector{Match: o.GetTags()})
			}
			routes = append(routes, w.routes...)
		}
		w.routes = routes
		b.Run(fmt.Sprintf("mirrored=%d/kuma", mirrored), func(b *testing.B) {
			for b.Loop() {
				w.generate()
			}
		})
		b.Run(fmt.Sprintf("mirrored=%d/plugin", mirrored), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				rs := w.generate()
				b.StartTimer()
				Expect(w.policy.Apply(rs, w.ctx, w.proxy)).To(Succeed())
			}
		})
	}
}
