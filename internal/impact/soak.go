package impact

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// SoakOptions of RunSoak.
type SoakOptions struct {
	// Duration in all, at PerSecond requests; the shadows change after Every.
	Duration, Every time.Duration
	PerSecond       int
	// Seed of the order of the shadows.
	Seed uint64
}

// Soak is a long run against shadows that change.
type Soak struct {
	Seconds   float64        `json:"seconds"`
	PerSecond int            `json:"perSecond"`
	Changes   int            `json:"changes"`
	Requests  int            `json:"requests"`
	Failed    int            `json:"failed"`
	Reasons   map[string]int `json:"reasons,omitempty"`
	Latency   Latency        `json:"latency"`
	// Memory of the Envoys over time, one sample for each change.
	Memory []SoakMemory `json:"memory"`
	// Resumed is how long the shadows, healthy again at the end, waited at most
	// for a copy, in seconds; -1 if none came in ten.
	Resumed float64 `json:"resumedSeconds"`
	// LeftRequests of the mirror clusters then.
	LeftRequests int64 `json:"leftRequests"`
}

// SoakMemory is a sample of what the Envoys hold together, in bytes.
type SoakMemory struct {
	Second    float64 `json:"second"`
	Allocated int64   `json:"allocatedBytes"`
	Resident  int64   `json:"residentBytes"`
}

// RunSoak sends a mix of GETs, POSTs, one in ten of 900 kB, and, where the shadow
// speaks HTTP/2, gRPC calls at a steady rate to one Envoy for each protocol of the
// shadow, while the shadows turn into another every now and then, in random order.
func RunSoak(ctx context.Context, o Options, s SoakOptions, progress func(string)) (*Results, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	shadows, leftOut, err := o.shadows()
	if err != nil {
		return nil, err
	}
	choices := map[Protocol][]Shadow{}
	for _, protocol := range o.Protocols {
		for _, shadow := range shadows {
			if !shadow.HTTP2 || protocol == HTTP2 {
				choices[protocol] = append(choices[protocol], shadow)
			}
		}
		if len(choices[protocol]) == 0 {
			return nil, fmt.Errorf("no shadow is left for %s", protocol)
		}
	}
	var benches []*bench
	defer func() {
		for _, b := range benches {
			b.stop()
		}
	}()
	for _, protocol := range o.Protocols {
		b, err := startBench(ctx, o, protocol, true)
		if err != nil {
			return nil, err
		}
		benches = append(benches, b)
	}

	results := newResults(ctx, o)
	results.LeftOut = leftOut
	soak := &Soak{PerSecond: s.PerSecond}
	results.Soak = soak
	if err := soak.sample(ctx, benches, 0); err != nil {
		return results, err
	}
	start := time.Now()
	t := &tally{}
	var sending sync.WaitGroup
	sendingCtx, stopSending := context.WithCancel(ctx)
	defer sending.Wait()
	defer stopSending()
	sending.Go(func() { t = steadily(sendingCtx, s.PerSecond, s.Duration, mix(benches)) })

	random := rand.New(rand.NewPCG(s.Seed, 0))
	for time.Since(start) < s.Duration {
		for _, b := range benches {
			shadow := choices[b.protocol][random.IntN(len(choices[b.protocol]))]
			if err := b.become(ctx, shadow.Name); err != nil {
				return results, err
			}
			if progress != nil {
				progress(fmt.Sprintf("%3.0f s: %s over %s", time.Since(start).Seconds(), shadow.Name, b.protocol))
			}
			soak.Changes++
		}
		if !wait(ctx, min(s.Every, s.Duration-time.Since(start))) {
			return results, ctx.Err()
		}
		if err := soak.sample(ctx, benches, time.Since(start)); err != nil {
			return results, err
		}
	}
	sending.Wait()
	soak.Seconds = seconds(time.Since(start))
	var c Cell
	c.count(t)
	var l latencies
	l.add(t.latencies)
	soak.Latency = l.figures()
	for _, b := range benches {
		if err := b.heal(ctx, &c); err != nil {
			return results, err
		}
		soak.LeftRequests += c.LeftRequests
	}
	soak.Resumed = c.Resumed
	soak.Requests, soak.Failed, soak.Reasons = c.Requests, c.Failed, c.Reasons
	return results, soak.sample(ctx, benches, time.Since(start))
}

// mix is the soak's requests, each Envoy in turn.
func mix(benches []*bench) func(context.Context) error {
	get, small, large := newBody(0), newBody(10_000), newBody(900_000)
	message := newBody(1000).block
	var mu sync.Mutex
	i := -1
	return func(ctx context.Context) error {
		mu.Lock()
		i++
		n := i
		mu.Unlock()
		b := benches[n%len(benches)]
		c := b.client
		switch n /= len(benches); {
		case n%10 == 0:
			return c.send(ctx, true, http.MethodPost, large, n%20 == 0)
		case b.protocol == HTTP2 && n%5 == 2:
			return c.unary(ctx, true, message)
		case n%3 == 0:
			return c.send(ctx, true, http.MethodPost, small, false)
		default:
			return c.send(ctx, true, http.MethodGet, get, false)
		}
	}
}

func (s *Soak) sample(ctx context.Context, benches []*bench, at time.Duration) error {
	sum := SoakMemory{Second: seconds(at)}
	for _, b := range benches {
		m, err := b.envoy.memory(ctx)
		if err != nil {
			return err
		}
		sum.Allocated += m.allocated
		sum.Resident += m.resident
	}
	s.Memory = append(s.Memory, sum)
	return nil
}

// growth is how much the median of the memory was higher in the last quarter of
// the soak than in the second, in bytes: by Envoy's own count and the system's.
// The first quarter is for Envoy to take what it needs. Of a short soak it is not
// known.
func (s *Soak) growth() (allocated, resident float64, known bool) {
	quarter := len(s.Memory) / 4
	if quarter < 10 {
		return 0, 0, false
	}
	of := func(value func(SoakMemory) int64) float64 {
		var early, late []float64
		for i := range quarter {
			early = append(early, float64(value(s.Memory[quarter+i])))
			late = append(late, float64(value(s.Memory[len(s.Memory)-quarter+i])))
		}
		return median(late) - median(early)
	}
	return of(func(m SoakMemory) int64 { return m.Allocated }), of(func(m SoakMemory) int64 { return m.Resident }), true
}

// Problems returns what a client noticed, and memory or copies left behind.
func (s *Soak) Problems() []string {
	var out []string
	if s.Failed > 0 {
		out = append(out, fmt.Sprintf("%d of %d requests failed: %v", s.Failed, s.Requests, s.Reasons))
	}
	if s.Resumed < 0 || s.Resumed > MaxResume.Seconds() {
		out = append(out, fmt.Sprintf("mirroring did not resume within %s", MaxResume))
	}
	if s.LeftRequests > 0 {
		out = append(out, fmt.Sprintf("%d copies are still open", s.LeftRequests))
	}
	if n := len(s.Memory); n > 0 {
		if grown := s.Memory[n-1].Allocated - s.Memory[0].Allocated; grown > MemoryReserve {
			out = append(out, fmt.Sprintf("the Envoys hold %d MiB more than at the start", grown>>20))
		}
	}
	if allocated, resident, known := s.growth(); known && (allocated > MaxLeft || resident > MaxSoakGrowth) {
		out = append(out, fmt.Sprintf("the Envoys' memory grows: in the last quarter its median is %.1f MiB higher than in the second, that of the resident memory %.1f MiB",
			allocated/(1<<20), resident/(1<<20)))
	}
	return out
}
