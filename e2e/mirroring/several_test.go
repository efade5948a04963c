package mirroring_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
)

var _ = onEachEnvoy("several mirrors", func(open func(context.Context, *world.World) *scene) {
	It("of one entry get a copy each", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		primary, v2, v3 := w.HTTP("v1"), w.HTTP("v2"), w.HTTP("v3")
		w.Route(`
destination: {kuma.io/service: backend, version: v1}
mirrors:
- {destination: {kuma.io/service: backend, version: v2}}
- {destination: {kuma.io/service: backend, version: v3}}
`)
		open(ctx, w)
		var ids []string
		for range 20 {
			ids = append(ids, w.Send(ctx, world.Request{Method: "POST", Body: "for all"}).ID)
		}
		got(primary, ids...)
		got(v2, ids...)
		got(v3, ids...)
		Expect(string(v3.Requests()[0].Body)).To(Equal("for all"))
	})

	It("of different names to one shadow get it as many copies", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		w.HTTP("v1")
		shadow := w.HTTP("v2")
		w.Route(`
destination: {kuma.io/service: backend, version: v1}
mirrors:
- {destination: {kuma.io/service: backend, version: v2}, name: load-1}
- {destination: {kuma.io/service: backend, version: v2}, name: load-2}
`)
		s := open(ctx, w)
		for range 10 {
			w.Get(ctx, "/")
		}
		Eventually(shadow.Count).Should(Equal(20))
		Consistently(shadow.Count).Should(Equal(20))
		for _, n := range world.IDs(shadow) {
			Expect(n).To(Equal(2))
		}
		s.stat(ctx, "cluster.load-1.upstream_rq_completed", 10)
		s.stat(ctx, "cluster.load-2.upstream_rq_completed", 10)
	})

	It("of the same name and shadow share a cluster, of the same name and other shadows the stats", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		w.HTTP("v1")
		v2, v3 := w.HTTP("v2"), w.HTTP("v3")
		w.Route(`
http:
- match: {path: {prefix: /one}}
  destination: {kuma.io/service: backend, version: v1}
  mirror: {destination: {kuma.io/service: backend, version: v2}, name: shared}
- match: {path: {prefix: /two}}
  destination: {kuma.io/service: backend, version: v1}
  mirror: {destination: {kuma.io/service: backend, version: v2}, name: shared, percentage: 100}
- match: {path: {prefix: /three}}
  destination: {kuma.io/service: backend, version: v1}
  mirror: {destination: {kuma.io/service: backend, version: v3}, name: shared}
destination: {kuma.io/service: backend, version: v1}
`)
		s := open(ctx, w)
		got(v2, w.Get(ctx, "/one").ID, w.Get(ctx, "/two").ID)
		got(v3, w.Get(ctx, "/three").ID)
		s.stat(ctx, "cluster.shared.upstream_rq_completed", 3)
		Expect(s.mirrorClusters(ctx)).To(HaveLen(2))
	})

	It("cluster and stats are called after the shadow, or as the mirror says", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		w.HTTP("v1")
		shadow := w.HTTP("v2")
		w.Route(`
http:
- match: {path: {prefix: /named}}
  destination: {kuma.io/service: backend, version: v1}
  mirror: {destination: {kuma.io/service: backend, version: v2}, name: shadow_cluster}
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: backend, version: v2}}
`)
		s := open(ctx, w)
		got(shadow, w.Get(ctx, "/named").ID, w.Get(ctx, "/").ID, w.Get(ctx, "/").ID)
		s.stat(ctx, "cluster.shadow_cluster.upstream_rq_2xx", 1)
		s.stat(ctx, "cluster.backend-5b73b3f4adf20020_mirror.upstream_rq_2xx", 2)
		Expect(s.mirrorClusters(ctx)).To(ConsistOf(
			"backend-5b73b3f4adf20020_mirror", "backend-5b73b3f4adf20020_mirror-shadow_cluster"))
	})
})
