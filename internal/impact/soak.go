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
	// LeftRequests of the mirror clusters at the end, with healthy shadows.
	LeftRequests int64 `json:"leftRequests"`
}

// SoakMemory is a sample of what the Envoys hold together, in bytes.
type SoakMemory struct {
	Second    float64 `json:"second"`
	Allocated int64   `json:"allocatedBytes"`
	Resident  int64   `json:"residentBytes"`
}

// RunSoak sends a mix of GETs and POSTs, one in ten of 900 kB, at a steady rate
// to one Envoy for each protocol of the shadow, while the shadows turn into
// another every now and then, in random order.
func RunSoak(ctx context.Context, o Options, s SoakOptions, progress func(string)) (*Results, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	shadows, err := shadowsNamed(o.Shadows)
	if err != nil {
		return nil, err
	}
	var benches []*bench
	defer func() {
		for _, b := range benches {
			b.stop()
			b.shade.close()
		}
	}()
	for _, protocol := range o.Protocols {
		shade, err := startShade(o.Worker)
		if err != nil {
			return nil, err
		}
		b, err := startBench(ctx, o, shade, protocol, true)
		if err != nil {
			shade.close()
			return nil, err
		}
		benches = append(benches, b)
	}

	results := newResults(ctx, o)
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
			shadow := shadows[random.IntN(len(shadows))]
			for shadow.HTTP2 && b.protocol != HTTP2 {
				shadow = shadows[random.IntN(len(shadows))]
			}
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
	soak.Seconds = time.Since(start).Seconds()
	var c Cell
	c.count(t)
	var l latencies
	l.add(t.latencies)
	soak.Latency = l.figures()
	for _, b := range benches {
		var left Cell
		if err := b.heal(ctx, &left); err != nil {
			return results, err
		}
		c.Requests += left.Requests
		c.Failed += left.Failed
		soak.LeftRequests += left.LeftRequests
	}
	soak.Requests, soak.Failed, soak.Reasons = c.Requests, c.Failed, c.Reasons
	return results, soak.sample(ctx, benches, time.Since(start))
}

// mix is the soak's requests, each Envoy in turn.
func mix(benches []*bench) func(context.Context) error {
	get, small, large := newBody(0), newBody(10_000), newBody(900_000)
	var mu sync.Mutex
	i := -1
	return func(ctx context.Context) error {
		mu.Lock()
		i++
		n := i
		mu.Unlock()
		c := benches[n%len(benches)].client
		switch n /= len(benches); {
		case n%10 == 0:
			return c.send(ctx, true, http.MethodPost, large, n%20 == 0)
		case n%3 == 0:
			return c.send(ctx, true, http.MethodPost, small, false)
		default:
			return c.send(ctx, true, http.MethodGet, get, false)
		}
	}
}

func (s *Soak) sample(ctx context.Context, benches []*bench, at time.Duration) error {
	sum := SoakMemory{Second: at.Seconds()}
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

// Problems returns what a client noticed, and memory or copies left behind.
func (s *Soak) Problems() []string {
	var out []string
	if s.Failed > 0 {
		out = append(out, fmt.Sprintf("%d of %d requests failed: %v", s.Failed, s.Requests, s.Reasons))
	}
	if s.LeftRequests > 0 {
		out = append(out, fmt.Sprintf("%d copies are still open", s.LeftRequests))
	}
	if n := len(s.Memory); n > 0 {
		if grown := s.Memory[n-1].Allocated - s.Memory[0].Allocated; grown > MemoryReserve {
			out = append(out, fmt.Sprintf("the Envoys hold %d MiB more than at the start", grown>>20))
		}
	}
	return out
}
