package demo

import "math"

// binomialRange returns the smallest range around the mean of a binomial
// distribution (n draws, each a hit with probability p, 0 < p < 1) outside of
// which a draw falls with a probability of at most alpha, and that probability.
// It adds up the probabilities of all counts outside, smallest first; there is
// no approximation by the normal distribution.
func binomialRange(n int, p, alpha float64) (low, high int, outside float64) {
	mean := int(math.Round(float64(n) * p))
	// Widen the tails as long as they fit into alpha: from the ends inwards.
	for distance := max(mean, n-mean); distance > 0; distance-- {
		tails := outside + binomial(n, mean-distance, p) + binomial(n, mean+distance, p)
		if tails > alpha {
			return max(0, mean-distance), min(n, mean+distance), outside
		}
		outside = tails
	}
	return mean, mean, outside
}

// binomial is the probability of exactly k hits.
func binomial(n, k int, p float64) float64 {
	if k < 0 || k > n {
		return 0
	}
	return math.Exp(logFactorial(n) - logFactorial(k) - logFactorial(n-k) +
		float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
}

func logFactorial(n int) float64 {
	l, _ := math.Lgamma(float64(n) + 1)
	return l
}
