package impact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// bench is an Envoy with a client before it and a primary and a shadow behind.
type bench struct {
	envoy    *envoy
	primary  *primary
	client   *client
	shade    *shade
	port     uint32 // of the shadow
	protocol Protocol
	ports    *ports
}

// startBench starts everything, with a healthy shadow.
func startBench(ctx context.Context, o Options, shade *shade, protocol Protocol, protections bool) (_ *bench, err error) {
	ports, err := reservePorts(7)
	if err != nil {
		return nil, err
	}
	n := ports.numbers
	b := &bench{shade: shade, port: n[0], protocol: protocol, ports: ports}
	defer func() {
		if err != nil {
			b.stop()
		}
	}()
	if b.primary, err = startPrimary(n[1], n[2]); err != nil {
		return nil, err
	}
	if err = b.become(ctx, Healthy); err != nil {
		return nil, err
	}
	bootstrap, err := Bootstrap(ctx, Setup{
		Shadow: n[0], PrimaryHTTP: n[1], PrimaryGRPC: n[2],
		HTTP: n[3], GRPC: n[4], Direct: n[5], Admin: n[6],
		Protocol: protocol, Protections: protections, Limits: o.Limits,
	})
	if err != nil {
		return nil, err
	}
	if b.envoy, err = startEnvoy(ctx, o.Envoy, bootstrap, o.Concurrency); err != nil {
		return nil, err
	}
	// Without protections a hang is what is expected; it need not last.
	patience := 6 * time.Second
	if protections {
		patience = 30 * time.Second
	}
	b.client, err = newClient(n[3], n[4], patience)
	return b, err
}

func (b *bench) stop() {
	if b.client != nil {
		b.client.close()
	}
	if b.envoy != nil {
		b.envoy.stop()
	}
	if b.primary != nil {
		b.primary.stop()
	}
	// Nothing stands at a port that is given back.
	_ = b.become(context.Background(), "refused")
	b.ports.release()
}

func (b *bench) become(ctx context.Context, shadow string) error {
	return b.shade.become(ctx, shadow, b.port, b.protocol)
}

// runGroup runs the loads of a group one after the other against one Envoy.
func runGroup(ctx context.Context, o Options, g group, shade *shade, done func(Cell)) error {
	b, err := startBench(ctx, o, shade, g.protocol, g.protections)
	if err != nil {
		return err
	}
	defer b.stop()
	sizes := o.amount()
	if err := b.warmUp(ctx, o, g); err != nil {
		return err
	}
	base, err := b.envoy.memory(ctx)
	if err != nil {
		return err
	}
	for _, l := range g.loads {
		c := Cell{Shadow: g.shadow.Name, Load: l.Name, Protocol: g.protocol, Protections: g.protections}
		if err := b.run(ctx, o, sizes, g.shadow, l, base, &c); err != nil {
			return fmt.Errorf("%s: %w", l.Name, err)
		}
		done(c)
	}
	return nil
}

// warmUp lets Envoy take the memory that the same traffic costs without a
// mirror, so that what comes on top is the mirror's.
func (b *bench) warmUp(ctx context.Context, o Options, g group) error {
	const warm = 16
	for _, l := range g.loads {
		t := &tally{}
		if l.kind == upload {
			bytes := newBody(min(o.UploadBytes, 20_000_000))
			t = repeat(ctx, 1, 1, func(ctx context.Context) error { return b.client.send(ctx, false, http.MethodPost, bytes, true) })
		} else {
			t = repeat(ctx, 2*warm, warm, func(ctx context.Context) error { return l.send(ctx, b.client, false) })
		}
		if t.failures() > 0 {
			return fmt.Errorf("%s without a mirror fails: %v", l.Name, t.failed)
		}
	}
	return ctx.Err()
}

// run fills in the cell.
func (b *bench) run(ctx context.Context, o Options, sizes amount, s Shadow, l Load, base memory, c *Cell) error {
	before, err := b.counters(ctx)
	if err != nil {
		return err
	}
	envoyCPU, shadowCPU, err := b.cpu()
	if err != nil {
		return err
	}
	watch := b.watchMemory(ctx)
	start := time.Now()
	err = b.apply(ctx, o, sizes, s, l, c)
	c.Seconds = time.Since(start).Seconds()
	peak := watch()
	if err != nil {
		return err
	}
	c.Allocated, c.Resident = peak.allocated-base.allocated, peak.resident-base.resident
	envoyCPU2, shadowCPU2, err := b.cpu()
	if err != nil {
		return err
	}
	c.EnvoyCPU, c.ShadowCPU = (envoyCPU2 - envoyCPU).Seconds(), (shadowCPU2 - shadowCPU).Seconds()
	if err := b.heal(ctx, c); err != nil {
		return err
	}
	after, err := b.counters(ctx)
	if err != nil {
		return err
	}
	c.Copies = map[string]int64{}
	for name, n := range after {
		if n != before[name] {
			c.Copies[name] = n - before[name]
		}
	}
	return nil
}

func (b *bench) cpu() (envoy, shadow time.Duration, err error) {
	envoy, err1 := cpuTime(b.envoy.pid())
	shadow, err2 := cpuTime(b.shade.pid())
	return envoy, shadow, errors.Join(err1, err2)
}

// apply sends the load's requests, in turn with the shadow as it is and without.
func (b *bench) apply(ctx context.Context, o Options, sizes amount, s Shadow, l Load, c *Cell) error {
	mirrored := func(ctx context.Context) error { return l.send(ctx, b.client, true) }
	plain := func(ctx context.Context) error { return l.send(ctx, b.client, false) }
	switch l.kind {
	case requests:
		if err := b.become(ctx, s.Name); err != nil {
			return err
		}
		var with, without latencies
		each := max(sizes.atOnce, sizes.requests/sizes.rounds)
		for range sizes.rounds {
			without.add(c.count(repeat(ctx, each, sizes.atOnce, plain)))
			with.add(c.count(repeat(ctx, each, sizes.atOnce, mirrored)))
			if c.Hung {
				break
			}
		}
		c.Answers = &Answers{Mirrored: with.figures(), Plain: without.figures()}
	case upload:
		if err := b.become(ctx, s.Name); err != nil {
			return err
		}
		bytes := newBody(o.UploadBytes)
		var with, without []time.Duration
		for range sizes.rounds {
			for _, m := range []bool{false, true} {
				took := c.count(repeat(ctx, 1, 1, func(ctx context.Context) error { return b.client.send(ctx, m, http.MethodPost, bytes, true) }))
				if m {
					with = append(with, took...)
				} else {
					without = append(without, took...)
				}
			}
			if c.Hung {
				break
			}
		}
		c.Upload = &Upload{Mirrored: median(with).Seconds(), Plain: median(without).Seconds()}
		c.Upload.Ratio = c.Upload.Mirrored / c.Upload.Plain
	case burst:
		var with, without, well latencies
		for range sizes.rounds {
			for _, round := range []struct {
				shadow string
				do     func(context.Context) error
				into   *latencies
			}{{Healthy, plain, &without}, {Healthy, mirrored, &well}, {s.Name, mirrored, &with}} {
				if err := b.become(ctx, round.shadow); err != nil {
					return err
				}
				// What the shadow before has left open is not this one's.
				if _, err := b.settle(ctx); err != nil {
					return err
				}
				round.into.add(c.count(steadily(ctx, burstRate, sizes.burst, round.do)))
			}
		}
		healthy := well.figures()
		c.Answers = &Answers{Mirrored: with.figures(), Healthy: &healthy, Plain: without.figures()}
	}
	return ctx.Err()
}

// heal makes the shadow healthy and measures how long it takes until it gets
// copies, and what of the old ones is left then.
func (b *bench) heal(ctx context.Context, c *Cell) error {
	if err := b.become(ctx, Healthy); err != nil {
		return err
	}
	start := time.Now()
	before, err := b.shade.received(ctx)
	if err != nil {
		return err
	}
	get := newBody(0)
	for c.Resumed = -1; c.Resumed < 0 && time.Since(start) < 2*MaxResume; {
		c.count(repeat(ctx, 1, 1, func(ctx context.Context) error { return b.client.send(ctx, true, http.MethodGet, get, false) }))
		// A moment for the copy, which nobody waits for.
		if !wait(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
		now, err := b.shade.received(ctx)
		if err != nil {
			return err
		}
		if now > before {
			c.Resumed = time.Since(start).Seconds()
		}
	}
	stats, err := b.settle(ctx)
	c.LeftRequests = stats["upstream_rq_active"] + stats["upstream_rq_pending_active"]
	c.LeftConnections = stats["upstream_cx_active"]
	return err
}

// settle waits, not for long, until no copy is in flight, and returns the stats
// of the mirror cluster then.
func (b *bench) settle(ctx context.Context) (map[string]int64, error) {
	for end := time.Now().Add(MaxResume); ; {
		stats, err := b.envoy.stats(ctx, shadowStats)
		if err != nil || stats["upstream_rq_active"]+stats["upstream_rq_pending_active"] == 0 || time.Now().After(end) {
			return stats, err
		}
		if !wait(ctx, 20*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
}

// counted are the stats of the mirror cluster that say what became of copies.
var counted = []string{
	"upstream_rq_total", "upstream_rq_completed", "upstream_rq_pending_overflow", "upstream_rq_active_overflow",
	"upstream_rq_max_duration_reached", "upstream_rq_rx_reset", "upstream_rq_tx_reset",
	"upstream_rq_pending_failure_eject", "upstream_cx_total", "upstream_cx_overflow", "upstream_cx_connect_fail",
	"upstream_cx_connect_timeout", "upstream_cx_none_healthy", "upstream_cx_protocol_error",
	"upstream_flow_control_paused_reading_total", "outlier_detection.ejections_enforced_total",
}

func (b *bench) counters(ctx context.Context) (map[string]int64, error) {
	stats, err := b.envoy.stats(ctx, shadowStats)
	if err != nil {
		return nil, err
	}
	counters := map[string]int64{}
	for _, name := range counted {
		counters[name] = stats[name]
	}
	return counters, nil
}

// watchMemory looks at Envoy's memory until the function it returns is called,
// which gives the peaks.
func (b *bench) watchMemory(parent context.Context) func() memory {
	ctx, cancel := context.WithCancel(parent)
	var peak memory
	var done sync.WaitGroup
	done.Go(func() {
		for {
			if m, err := b.envoy.memory(ctx); err == nil {
				peak.allocated = max(peak.allocated, m.allocated)
				peak.resident = max(peak.resident, m.resident)
			}
			if !wait(ctx, 50*time.Millisecond) {
				return
			}
		}
	})
	return func() memory {
		cancel()
		done.Wait()
		// What is held now may have come since.
		if m, err := b.envoy.memory(parent); err == nil {
			peak.allocated = max(peak.allocated, m.allocated)
			peak.resident = max(peak.resident, m.resident)
		}
		return peak
	}
}

// latencies are percentiles of some rounds; of each the median counts, so that
// one disturbed round does not.
type latencies struct{ p50, p99 []time.Duration }

func (l *latencies) add(of []time.Duration) {
	l.p50 = append(l.p50, percentile(of, 50))
	l.p99 = append(l.p99, percentile(of, 99))
}

func (l *latencies) figures() Latency {
	return Latency{P50: milliseconds(median(l.p50)), P99: milliseconds(median(l.p99))}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median[T cmp.Ordered](of []T) T { return percentile(of, 50) }

// percentile is the smallest value that p per cent of the values do not exceed.
func percentile[T cmp.Ordered](of []T, p int) T {
	var zero T
	if len(of) == 0 {
		return zero
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}
