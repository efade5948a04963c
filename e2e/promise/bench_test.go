package promise_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

// rounds are how often a primary lives through a fault, each time beside a run
// without a mirror.
const rounds = 10

// BenchmarkPromise is how long a primary waits where something is wrong about a
// mirror: medians in milliseconds, and as ratios to the same run without one. The
// goal is a ratio of 1.1, and 50 ms.
func BenchmarkPromise(b *testing.B) {
	gomega.RegisterTestingT(b)
	for _, version := range envoytest.Versions() {
		for _, protocol := range []ads.Protocol{ads.Delta, ads.StateOfTheWorld} {
			all := faults()
			for _, name := range slices.Sorted(maps.Keys(all)) {
				b.Run(strings.Join([]string{version, string(protocol), strings.ReplaceAll(name, " ", "-")}, "/"), func(b *testing.B) {
					for b.Loop() {
						measure(b, version, protocol, all[name])
					}
				})
			}
		}
	}
}

func measure(b *testing.B, version string, protocol ads.Protocol, f fault) {
	var with, without []times
	for range rounds {
		without = append(without, run(b.Context(), b, version, protocol, fault{}))
		with = append(with, run(b.Context(), b, version, protocol, f))
	}
	failed := 0
	for _, r := range with {
		failed += len(r.failed)
	}
	b.ReportMetric(float64(failed), "failed")
	b.ReportMetric(0, "ns/op") // is that of all the rounds
	for name, of := range map[string]func(times) time.Duration{
		"change":  func(t times) time.Duration { return t.change },
		"other":   func(t times) time.Duration { return t.other },
		"restart": func(t times) time.Duration { return t.restart },
	} {
		took, base := median(with, of), median(without, of)
		b.ReportMetric(float64(took)/float64(time.Millisecond), "ms-"+name)
		b.ReportMetric(float64(took)/float64(base), "ratio-"+name)
	}
}

func median(runs []times, of func(times) time.Duration) time.Duration {
	var all []time.Duration
	for _, r := range runs {
		all = append(all, of(r))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
