package mirroring_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

// mirrorClusters are the names of the mirror clusters that Envoy has.
func (s *scene) mirrorClusters(ctx context.Context) []string {
	GinkgoHelper()
	dump, err := s.envoy.Get(ctx, "/clusters?format=json")
	Expect(err).NotTo(HaveOccurred())
	var clusters struct {
		Statuses []struct {
			Name string `json:"name"`
		} `json:"cluster_statuses"`
	}
	Expect(json.Unmarshal(dump, &clusters)).To(Succeed())
	Expect(clusters.Statuses).NotTo(BeEmpty())
	var names []string
	for _, c := range clusters.Statuses {
		if strings.Contains(c.Name, "_mirror") {
			names = append(names, c.Name)
		}
	}
	return names
}

// chance bounds the probability with which n draws of probability p are as far
// from their mean as k is, on either side of it (Chernoff).
func chance(n, k int, p float64) float64 {
	q := float64(k) / float64(n)
	term := func(q, p float64) float64 {
		if q == 0 {
			return 0
		}
		return q * math.Log(q/p)
	}
	return 2 * math.Exp(-float64(n)*(term(q, p)+term(1-q, 1-p)))
}

// many sends n requests from eight clients, all of which have to be answered by
// v1, and returns how many of them a shadow gets.
func (s *scene) many(ctx context.Context, n int, shadow *backend.HTTP) (copies int) {
	GinkgoHelper()
	const clients = 8
	var running sync.WaitGroup
	failures := make([]error, clients)
	for i := range clients {
		client := world.NewClient(GinkgoT(), s.URL, true)
		running.Go(func() {
			for range n / clients {
				answer, err := client.Send(ctx, world.Request{})
				if err == nil && (answer.Backend != "v1" || answer.Status != 200) {
					err = fmt.Errorf("%d by %q", answer.Status, answer.Backend)
				}
				if err != nil {
					failures[i] = err
					return
				}
			}
		})
	}
	running.Wait()
	for _, err := range failures {
		Expect(err).NotTo(HaveOccurred())
	}
	// All that Envoy has taken on has been answered.
	Eventually(ctx, func(g Gomega) {
		stats, err := s.envoy.Stats(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(stats["cluster.shadow.upstream_rq_pending_active"]).To(BeZero())
		g.Expect(stats["cluster.shadow.upstream_rq_active"]).To(BeZero())
	}).Should(Succeed())
	copies = shadow.Count()
	Consistently(shadow.Count).Should(Equal(copies))
	for id, times := range world.IDs(shadow) {
		Expect(times).To(Equal(1), id)
	}
	return copies
}

var _ = Describe("the bound of the sampling specs", func() {
	It("is at least the exact probability, and not far from it", func() {
		// 2·P(X ≥ 600) for 1000 throws of a coin is 2.7e-10.
		Expect(chance(1000, 600, 0.5)).To(And(BeNumerically(">=", 2.7e-10), BeNumerically("<", 1e-8)))
		Expect(chance(1000, 500, 0.5)).To(BeNumerically(">=", 1))
		Expect(chance(1000, 0, 0.5)).To(BeNumerically("~", 0, 1e-100))
	})
})

var _ = onEachEnvoy("a mirror", func(open func(context.Context, *world.World) *scene) {
	at := func(ctx context.Context, percentage string) (*scene, *backend.HTTP) {
		GinkgoHelper()
		w := world.New(GinkgoT())
		w.HTTP("v1")
		shadow := w.HTTP("v2")
		w.Route(fmt.Sprintf(`
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: backend, version: v2}, name: shadow, percentage: %s}
`, percentage))
		return open(ctx, w), shadow
	}

	It("of 0 % copies none of 500 requests, and Envoy does not know it", func(ctx SpecContext) {
		s, shadow := at(ctx, "0")
		Expect(s.many(ctx, 500, shadow)).To(BeZero())
		Expect(s.mirrorClusters(ctx)).To(BeEmpty())
		dump, err := s.envoy.ConfigDump(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(string(dump)).NotTo(ContainSubstring("_mirror"))
	})

	It("of 100 % copies all of 500 requests", func(ctx SpecContext) {
		s, shadow := at(ctx, "100")
		Expect(s.many(ctx, 504, shadow)).To(Equal(504))
	})

	DescribeTable("copies its share of 2000 requests", func(ctx SpecContext, percentage string, p float64) {
		s, shadow := at(ctx, percentage)
		copies := s.many(ctx, 2000, shadow)
		// A share that is right is refused less often than once in 10⁹ runs.
		Expect(chance(2000, copies, p)).To(BeNumerically(">", 1e-9), "%d copies", copies)
	},
		Entry("50 %", "50", 0.5),
		Entry("12.3456 %", "12.3456", 0.123456),
	)
})
