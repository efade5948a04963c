package mirroring_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
)

var _ = onEachEnvoy("the mirror of an entry", func(open func(context.Context, *world.World) *scene) {
	It("copies the requests of that entry, the one at the top those that match none", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		w.HTTP("v1")
		first, third, rest := w.HTTP("v2"), w.HTTP("v3"), w.HTTP("v4")
		w.Route(`
http:
- match: {path: {exact: /first}}
  destination: {kuma.io/service: backend, version: v1}
  mirror: {destination: {kuma.io/service: backend, version: v2}}
- match: {path: {prefix: /second}}
  destination: {kuma.io/service: backend, version: v1}
- match: {method: {regex: "PUT|DELETE"}}
  destination: {kuma.io/service: backend, version: v1}
  mirror: {destination: {kuma.io/service: backend, version: v3}}
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: backend, version: v4}}
`)
		open(ctx, w)
		var firsts, thirds, rests []string
		for range 5 {
			firsts = append(firsts, w.Get(ctx, "/first").ID, w.Send(ctx, world.Request{Method: "PUT", Path: "/first"}).ID)
			w.Get(ctx, "/second")
			w.Send(ctx, world.Request{Method: "PUT", Path: "/second/a"})
			thirds = append(thirds, w.Send(ctx, world.Request{Method: "DELETE", Path: "/first/a"}).ID)
			rests = append(rests, w.Get(ctx, "/").ID, w.Get(ctx, "/first/a").ID)
		}
		got(first, firsts...)
		got(third, thirds...)
		got(rest, rests...)
	})

	It("copies once what a split sends to either of its destinations", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		v1, v2, shadow := w.HTTP("v1"), w.HTTP("v2"), w.HTTP("v3")
		w.Route(`
split:
- {weight: 50, destination: {kuma.io/service: backend, version: v1}}
- {weight: 50, destination: {kuma.io/service: backend, version: v2}}
- {weight: 0, destination: {kuma.io/service: backend, version: v3}}
mirror: {destination: {kuma.io/service: backend, version: v3}}
`)
		open(ctx, w)
		var ids []string
		for range 60 { // all to one side: once in 10¹⁷ runs
			answer := w.Get(ctx, "/")
			Expect(answer.Backend).To(BeElementOf("v1", "v2"))
			ids = append(ids, answer.ID)
		}
		got(shadow, ids...)
		Expect(v1.Count()).To(BeNumerically(">", 0))
		Expect(v2.Count()).To(BeNumerically(">", 0))
		Expect(v1.Count() + v2.Count()).To(Equal(60))
	})

	It("may copy to where other requests go, on connections and with stats of its own", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		v1, v2 := w.HTTP("v1"), w.HTTP("v2")
		w.Route(`
http:
- match: {path: {prefix: /v2}}
  destination: {kuma.io/service: backend, version: v2}
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: backend, version: v2}}
`)
		s := open(ctx, w)
		own := w.Get(ctx, "/v2")
		Expect(own.Backend).To(Equal("v2"))
		copied := w.Get(ctx, "/")
		Expect(copied.Backend).To(Equal("v1"))
		got(v2, own.ID, copied.ID)
		got(v1, copied.ID)
		s.stat(ctx, "cluster.backend-5b73b3f4adf20020.upstream_rq_total", 1)
		s.stat(ctx, "cluster.backend-5b73b3f4adf20020.upstream_cx_total", 1)
		s.stat(ctx, "cluster.backend-5b73b3f4adf20020_mirror.upstream_rq_total", 1)
		s.stat(ctx, "cluster.backend-5b73b3f4adf20020_mirror.upstream_cx_total", 1)
	})
})
