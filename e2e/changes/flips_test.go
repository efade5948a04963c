package changes_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

// state is what a TrafficRoute says: who answers, and who gets copies.
type state struct{ primary, shadow string }

// clusters are those that Envoy needs: a split has those of its weights above 0.
func (s state) clusters() int {
	if s.shadow == "" {
		return 1
	}
	return 2
}

// clusters counts the clusters of an Envoy, its host's aside.
func clusters(ctx context.Context, e *envoytest.Envoy) (int, error) {
	stats, err := e.Stats(ctx)
	return int(stats["cluster_manager.active_clusters"]) - 1, err
}

// cycle changes one thing at a time; the sixth state is the first again.
var cycle = []state{
	{"v1", ""},   // split 100/0
	{"v2", ""},   // split 0/100
	{"v2", "v3"}, // mirror on
	{"v2", "v4"}, // to another shadow
	{"v2", ""},   // mirror off
}

var _ = Describe("a route that is changed 100 times under traffic", func() {
	for _, version := range envoytest.Versions() {
		for _, protocol := range []ads.Protocol{ads.Delta, ads.StateOfTheWorld} {
			It(fmt.Sprintf("fails no request, and holds for each whole (Envoy %s, %s)", version, protocol), func(ctx SpecContext) {
				w := world.New(GinkgoT())
				backends := map[string]*backend.HTTP{}
				for _, v := range []string{"v1", "v2", "v3", "v4"} {
					backends[v] = w.HTTP(v)
				}
				w.Route(conf(0, cycle[0].primary, cycle[0].shadow))
				w.Host()
				e := w.Envoy(ctx, envoytest.Binary(version), "web", protocol)
				traffic := w.Traffic()
				effective(traffic, 0)

				const flips = 100
				begun := time.Now()
				for revision := 1; revision <= flips; revision++ {
					s := cycle[revision%len(cycle)]
					w.Route(conf(revision, s.primary, s.shadow))
					effective(traffic, revision)
					if revision%40 == 2 {
						// Long enough for what left to be removed.
						Eventually(ctx, clusters).WithArguments(e).Should(Equal(s.clusters()))
					}
				}
				took := time.Since(begun)
				exchanges := traffic.Stop()
				AddReportEntry("100 flips", fmt.Sprintf("%d requests in %s", len(exchanges), took.Round(time.Millisecond)))

				// Each request was answered, and copied, as its revision says.
				expected := map[string]map[string]int{"v1": {}, "v2": {}, "v3": {}, "v4": {}}
				seen := map[int]bool{}
				for _, e := range exchanges {
					Expect(e.Err).NotTo(HaveOccurred(), e.ID)
					revision, err := strconv.Atoi(e.Answer.Header.Get(revisionHeader))
					Expect(err).NotTo(HaveOccurred())
					s := cycle[revision%len(cycle)]
					Expect(e.Answer.Backend).To(Equal(s.primary), "revision %d", revision)
					Expect(e.Answer.Status).To(Equal(http.StatusOK))
					expected[s.primary][e.ID] = 1
					if s.shadow != "" {
						expected[s.shadow][e.ID] = 1
					}
					seen[revision] = true
				}
				Expect(seen).To(HaveLen(flips + 1))
				for v, ids := range expected {
					Eventually(world.IDs).WithArguments(backends[v]).Should(Equal(ids), v)
				}
			})
		}
	}
})
