package demo_test

import (
	"math/big"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/internal/demo"
)

// outside is the exact probability that of n draws at 1/2 fewer than low or
// more than high hit.
func outside(n, low, high int64) float64 {
	hits := new(big.Int)
	for k := range n + 1 {
		if k < low || k > high {
			hits.Add(hits, new(big.Int).Binomial(n, k))
		}
	}
	p, _ := new(big.Rat).SetFrac(hits, new(big.Int).Lsh(big.NewInt(1), uint(n))).Float64()
	return p
}

var _ = Describe("The range that a sampled count is accepted in", func() {
	DescribeTable("is the smallest that chance leaves as rarely as asked for",
		func(n int, alpha float64) {
			low, high, p := demo.BinomialRange(n, 0.5, alpha)
			Expect(p).To(BeNumerically("~", outside(int64(n), int64(low), int64(high)), 1e-9*alpha+1e-9*p))
			Expect(p).To(BeNumerically("<=", alpha))
			Expect(outside(int64(n), int64(low)+1, int64(high)-1)).To(BeNumerically(">", alpha))
		},
		Entry("as the demo draws", 1000, 1e-10),
		Entry("often", 1000, 0.05),
		Entry("of few", 21, 1e-3),
	)

	It("is around the mean for any probability", func() {
		low, high, p := demo.BinomialRange(1000, 0.123456, 1e-9)
		Expect(low).To(BeNumerically("<", 123))
		Expect(high).To(BeNumerically(">", 123))
		Expect(high - 123).To(Equal(123 - low))
		Expect(p).To(And(BeNumerically(">", 0), BeNumerically("<=", 1e-9)))
	})

	It("is everything where nothing may be left out", func() {
		low, high, p := demo.BinomialRange(10, 0.5, 0)
		Expect([]int{low, high}).To(Equal([]int{0, 10}))
		Expect(p).To(BeZero())
	})
})
