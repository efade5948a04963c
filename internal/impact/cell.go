package impact

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// comparison is a bench whose shadow stays healthy, for the bursts of groups
// with the same protocol and protections. What a bad shadow leaves behind, such
// as an ejection, does not reach it.
type comparison struct {
	bench       *bench
	protocol    Protocol
	protections bool
}

// forGroup returns c, which may be nil, if it fits, or stops it and starts another.
func (c *comparison) forGroup(ctx context.Context, o Options, g group) (*comparison, error) {
	if c != nil && c.protocol == g.protocol && c.protections == g.protections {
		return c, nil
	}
	c.stop()
	b, err := startAlone(ctx, o, g.protocol, g.protections)
	if err != nil {
		return nil, err
	}
	return &comparison{b, g.protocol, g.protections}, b.warmUp(ctx, o, g)
}

func (c *comparison) stop() {
	if c != nil {
		c.bench.stop()
	}
}

// runGroup runs the loads of a group one after the other against one Envoy.
func runGroup(ctx context.Context, o Options, g group, shade *shade, healthy *bench, done func(Cell)) error {
	b, err := startBench(ctx, o, shade, g.protocol, g.protections)
	if err != nil {
		return err
	}
	defer b.stop()
	if err := b.warmUp(ctx, o, g); err != nil {
		return err
	}
	base, err := b.envoy.memory(ctx)
	if err != nil {
		return err
	}
	for _, l := range g.loads {
		e := experiment{
			bench: b, healthy: healthy, shadow: g.shadow, load: l, amount: o.amount(g.protections), uploadBytes: o.UploadBytes,
			cell: Cell{Shadow: g.shadow.Name, Load: l.Name, Protocol: g.protocol, Protections: g.protections},
		}
		if err := e.run(ctx, base); err != nil {
			return fmt.Errorf("%s: %w", l.Name, err)
		}
		done(e.cell)
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
			t = once(ctx, func(ctx context.Context) error { return b.client.send(ctx, false, http.MethodPost, bytes, true) })
		} else {
			t = repeat(ctx, batch{n: 2 * warm, atOnce: warm}, func(ctx context.Context) error { return l.send(ctx, b.client, false) })
		}
		if t.failures() > 0 {
			return fmt.Errorf("%s without a mirror fails: %v", l.Name, t.failed)
		}
	}
	return ctx.Err()
}

// experiment is what fills in one cell.
type experiment struct {
	*bench
	healthy     *bench // for bursts
	shadow      Shadow
	load        Load
	amount      amount
	uploadBytes int64
	cell        Cell
}

func (e *experiment) run(ctx context.Context, base memory) error {
	before, err := e.counters(ctx)
	if err != nil {
		return err
	}
	envoyCPU, shadowCPU, err := e.cpu()
	if err != nil {
		return err
	}
	watch := e.watchMemory(ctx)
	start := time.Now()
	err = e.apply(ctx)
	e.cell.Seconds = seconds(time.Since(start))
	peak := watch()
	if err != nil {
		return err
	}
	e.cell.Allocated, e.cell.Resident = peak.allocated-base.allocated, peak.resident-base.resident
	envoyCPU2, shadowCPU2, err := e.cpu()
	if err != nil {
		return err
	}
	e.cell.EnvoyCPU, e.cell.ShadowCPU = seconds(envoyCPU2-envoyCPU), seconds(shadowCPU2-shadowCPU)
	if err := e.heal(ctx, &e.cell); err != nil {
		return err
	}
	if e.cell.LeftAllocated, err = e.leftMemory(ctx, base); err != nil {
		return err
	}
	after, err := e.counters(ctx)
	if err != nil {
		return err
	}
	e.cell.Copies = map[string]int64{}
	for name, n := range after {
		if n != before[name] {
			e.cell.Copies[name] = n - before[name]
		}
	}
	return nil
}

func (b *bench) cpu() (envoy, shadow time.Duration, err error) {
	envoy, err1 := cpuTime(b.envoy.pid())
	shadow, err2 := cpuTime(b.shade.pid())
	return envoy, shadow, errors.Join(err1, err2)
}

// apply sends the load's requests, with the shadow as it is and without a
// mirror in turn.
func (e *experiment) apply(ctx context.Context) error {
	if e.load.kind == burst {
		return e.applyBurst(ctx)
	}
	if err := e.become(ctx, e.shadow.Name); err != nil {
		return err
	}
	if e.load.kind == upload {
		e.applyUpload(ctx)
	} else {
		e.applyRequests(ctx)
	}
	return ctx.Err()
}

func (e *experiment) applyRequests(ctx context.Context) {
	var with, without latencies
	round := batch{n: max(e.amount.atOnce, e.amount.requests/e.amount.rounds), atOnce: e.amount.atOnce, atMost: e.amount.atMost}
	for range e.amount.rounds {
		for _, mirrored := range []bool{false, true} {
			t := repeat(ctx, round, func(ctx context.Context) error { return e.load.send(ctx, e.client, mirrored) })
			e.cell.Cut = e.cell.Cut || t.requests < round.n
			if mirrored {
				with.add(e.cell.count(t))
			} else {
				without.add(e.cell.count(t))
			}
		}
		if e.cell.Hung {
			break
		}
	}
	e.cell.Answers = &Answers{Mirrored: with.figures(), Plain: without.figures()}
}

func (e *experiment) applyUpload(ctx context.Context) {
	bytes := newBody(e.uploadBytes)
	send := func(mirrored bool) time.Duration {
		took := e.cell.count(once(ctx, func(ctx context.Context) error {
			return e.client.send(ctx, mirrored, http.MethodPost, bytes, true)
		}))
		return median(took) // of one, or of none where the lab was stopped
	}
	u := &Upload{}
	e.cell.Upload = u
	for i := range e.amount.pairs {
		var pair Pair
		// Either is first in every other pair.
		for _, mirrored := range []bool{i%2 == 1, i%2 == 0} {
			if took := send(mirrored); mirrored {
				pair.Mirrored = seconds(took)
			} else {
				pair.Plain = seconds(took)
			}
		}
		if ctx.Err() != nil {
			return
		}
		u.Pairs = append(u.Pairs, pair)
		if e.cell.Hung {
			break
		}
	}
	u.sum()
}

// applyBurst has the bad shadow only in its own bursts, so that it takes no CPU
// time from the others. They come in between, so that an ejection at the end of
// one is mostly over before the next.
func (e *experiment) applyBurst(ctx context.Context) error {
	var with, without, well latencies
	send := func(b *bench, mirrored bool, into *latencies) {
		into.add(e.cell.count(steadily(ctx, burstRate, e.amount.burst, func(ctx context.Context) error {
			return e.load.send(ctx, b.client, mirrored)
		})))
	}
	for i := 0; i < e.amount.bursts && !e.cell.Hung; i++ {
		if err := e.admitted(ctx); err != nil {
			return err
		}
		if err := e.become(ctx, e.shadow.Name); err != nil {
			return err
		}
		send(e.bench, true, &with)
		if err := e.become(ctx, Healthy); err != nil {
			return err
		}
		// What the shadow has left open is not the next one's.
		if _, err := e.settle(ctx); err != nil {
			return err
		}
		if i%2 == 0 {
			send(e.healthy, false, &without)
			send(e.healthy, true, &well)
		} else {
			send(e.healthy, true, &well)
			send(e.healthy, false, &without)
		}
	}
	healthy := well.figures()
	e.cell.Answers = &Answers{Mirrored: with.figures(), Healthy: &healthy, Plain: without.figures()}
	for i := range with.p99 {
		e.cell.Answers.Bursts = append(e.cell.Answers.Bursts, Burst{
			Plain: milliseconds(without.p99[i]), Healthy: milliseconds(well.p99[i]), Mirrored: milliseconds(with.p99[i]),
		})
	}
	return ctx.Err()
}

// admitted waits, not for long, until no ejection keeps copies from the shadow.
func (b *bench) admitted(ctx context.Context) error {
	for end := time.Now().Add(MaxResume); ; {
		stats, err := b.envoy.stats(ctx, shadowStats)
		if err != nil || stats["membership_healthy"] > 0 || time.Now().After(end) {
			return err
		}
		if !wait(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
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
		c.count(once(ctx, func(ctx context.Context) error { return b.client.send(ctx, true, http.MethodGet, get, false) }))
		// A moment for the copy, which nobody waits for.
		if !wait(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
		now, err := b.shade.received(ctx)
		if err != nil {
			return err
		}
		if now > before {
			c.Resumed = seconds(time.Since(start))
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

// leftMemory waits, not for long, until Envoy has given back what it took, and
// returns what it holds more than at the base then.
func (b *bench) leftMemory(ctx context.Context, base memory) (*int64, error) {
	for end := time.Now().Add(MaxResume); ; {
		m, err := b.envoy.memory(ctx)
		if err != nil {
			return nil, err
		}
		left := m.allocated - base.allocated
		if left <= MaxLeft || time.Now().After(end) {
			return &left, nil
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
