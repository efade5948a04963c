package impact

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// startAside starts the bench of what the variants are held against: requests
// without a mirror, and bursts with a shadow that stays healthy. What a bad
// shadow leaves behind in an Envoy, such as an ejection, does not reach it.
func startAside(ctx context.Context, o Options, g group) (*bench, error) {
	b, err := startBench(ctx, o, g.protocol, slices.Contains(o.Protections, true))
	if err != nil {
		return nil, err
	}
	if err := b.warmUp(ctx, g); err != nil {
		b.stop()
		return nil, err
	}
	return b, nil
}

// variant is one way to mirror, at work on the cells of a group.
type variant struct {
	*bench
	protections bool
	base        memory // before all loads

	cell Cell
	// Round by round; those without a mirror and with a healthy shadow are the
	// same for all variants that took part in the round.
	none, healthy, mirrored latencies
}

// runGroup runs the loads of a group one after the other, each variant against
// one Envoy.
func runGroup(ctx context.Context, o Options, g group, aside *bench, done func(Cell)) error {
	var variants []*variant
	defer func() {
		for _, v := range variants {
			v.stop()
		}
	}()
	for _, protections := range o.Protections {
		b, err := startBench(ctx, o, g.protocol, protections)
		if err != nil {
			return err
		}
		v := &variant{bench: b, protections: protections}
		variants = append(variants, v)
		if err := b.warmUp(ctx, g); err != nil {
			return err
		}
		if v.base, err = b.envoy.memory(ctx); err != nil {
			return err
		}
	}
	for _, l := range g.loads {
		for _, v := range variants {
			v.none, v.healthy, v.mirrored = latencies{}, latencies{}, latencies{}
			v.cell = Cell{Shadow: g.shadow.Name, Load: l.Name, Protocol: g.protocol, Protections: v.protections}
		}
		e := experiment{variants: variants, aside: aside, shadow: g.shadow, load: l, amount: o.amount()}
		if err := e.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", l.Name, err)
		}
		for _, v := range variants {
			done(v.cell)
		}
	}
	return nil
}

// warmUp lets Envoy take the memory that the same traffic costs without a
// mirror, so that what comes on top is the mirror's.
func (b *bench) warmUp(ctx context.Context, g group) error {
	const warm = 16
	for _, l := range g.loads {
		n := 2 * warm
		if l.kind == upload {
			n = 1
		}
		t := repeat(ctx, batch{n: n, atOnce: warm}, func(ctx context.Context) error { return l.send(ctx, b.client, false) })
		if t.failures() > 0 {
			return fmt.Errorf("%s without a mirror fails: %v", l.Name, t.failed)
		}
	}
	return ctx.Err()
}

// experiment is what fills in the cells of one load, one for each variant.
type experiment struct {
	variants []*variant
	aside    *bench
	shadow   Shadow
	load     Load
	amount   amount
}

func (e *experiment) run(ctx context.Context) (err error) {
	for _, v := range e.variants {
		finish, failed := v.observe(ctx)
		if failed != nil {
			return failed
		}
		defer func() {
			if failed := finish(); err == nil {
				err = failed
			}
		}()
	}
	for i := range e.amount.roundsOf(e.load) {
		if err := e.round(ctx, i); err != nil {
			return err
		}
	}
	for _, v := range e.variants {
		v.sum(e.load.kind)
	}
	return nil
}

// round lets everything have its turn, in one order and the other. A variant
// that hangs is out: what it does is known, and takes long.
func (e *experiment) round(ctx context.Context, i int) error {
	var in []*variant
	for _, v := range e.variants {
		if !v.cell.Hung {
			in = append(in, v)
		}
	}
	if len(in) == 0 {
		return nil
	}
	beside := func(mirrored bool, into func(*variant) *latencies) func() error {
		return func() error {
			t := e.send(ctx, e.aside, mirrored)
			for _, v := range in {
				into(v).add(v.cell.count(t))
			}
			return nil
		}
	}
	turns := []func() error{beside(false, func(v *variant) *latencies { return &v.none })}
	if e.load.kind == burst {
		turns = append(turns, beside(true, func(v *variant) *latencies { return &v.healthy }))
	}
	for _, v := range in {
		turns = append(turns, func() error { return e.turn(ctx, v) })
	}
	if i%2 == 1 {
		slices.Reverse(turns)
	}
	for _, turn := range turns {
		if err := turn(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// turn is a variant's, whose shadow is bad in it alone, so that it takes no CPU
// time from the others. It ends when the shadow, healthy again, gets copies, so
// that an ejection at its end does not spare the variant its next one.
func (e *experiment) turn(ctx context.Context, v *variant) error {
	if err := v.become(ctx, e.shadow.Name); err != nil {
		return err
	}
	start := time.Now()
	t := e.send(ctx, v.bench, true)
	v.cell.Seconds += time.Since(start).Seconds()
	v.mirrored.add(v.cell.count(t))
	v.cell.Cut = v.cell.Cut || e.load.kind == requests && t.requests < e.amount.requests
	return v.heal(ctx, &v.cell)
}

// send sends the load's requests of one turn.
func (e *experiment) send(ctx context.Context, b *bench, mirrored bool) *tally {
	do := func(ctx context.Context) error { return e.load.send(ctx, b.client, mirrored) }
	switch e.load.kind {
	case upload:
		return once(ctx, do)
	case burst:
		return steadily(ctx, burstRate, e.amount.burst, do)
	default:
		return repeat(ctx, batch{n: e.amount.requests, atOnce: e.amount.atOnce, atMost: e.amount.atMost}, do)
	}
}

// observe watches what a cell costs until the function it returns is called,
// which writes it into the cell.
func (v *variant) observe(ctx context.Context) (finish func() error, err error) {
	before, err := v.counters(ctx)
	if err != nil {
		return nil, err
	}
	envoyCPU, shadowCPU, err := v.cpu()
	if err != nil {
		return nil, err
	}
	watch := v.watchMemory(ctx)
	return func() error {
		peak := watch()
		v.cell.Allocated, v.cell.Resident = peak.allocated-v.base.allocated, peak.resident-v.base.resident
		envoyCPU2, shadowCPU2, err := v.cpu()
		if err != nil {
			return err
		}
		v.cell.EnvoyCPU, v.cell.ShadowCPU = seconds(envoyCPU2-envoyCPU), seconds(shadowCPU2-shadowCPU)
		if v.cell.LeftAllocated, err = v.leftMemory(ctx, v.base); err != nil {
			return err
		}
		after, err := v.counters(ctx)
		if err != nil {
			return err
		}
		v.cell.Copies = map[string]int64{}
		for name, n := range after {
			if n != before[name] {
				v.cell.Copies[name] = n - before[name]
			}
		}
		return nil
	}, nil
}

func (b *bench) cpu() (envoy, shadow time.Duration, err error) {
	envoy, err1 := cpuTime(b.envoy.pid())
	shadow, err2 := cpuTime(b.shade.pid())
	return envoy, shadow, errors.Join(err1, err2)
}

// sum writes the times of the rounds into the cell.
func (v *variant) sum(k kind) {
	v.cell.Seconds = round(v.cell.Seconds)
	if k == upload {
		u := &Upload{None: seconds(median(v.none.p50)), Mirrored: seconds(median(v.mirrored.p50))}
		for i := range v.mirrored.p50 {
			u.Pairs = append(u.Pairs, Pair{None: seconds(v.none.p50[i]), Mirrored: seconds(v.mirrored.p50[i])})
		}
		u.Ratio = round(u.Estimate().Median)
		v.cell.Upload = u
		return
	}
	a := &Answers{None: v.none.figures(), Mirrored: v.mirrored.figures()}
	if k == burst {
		a.Healthy = new(v.healthy.figures())
	}
	for i := range v.mirrored.p99 {
		r := Round{None: milliseconds(v.none.p99[i]), Mirrored: milliseconds(v.mirrored.p99[i])}
		if k == burst {
			r.Healthy = milliseconds(v.healthy.p99[i])
		}
		a.Rounds = append(a.Rounds, r)
	}
	v.cell.Answers = a
}

// heal makes the shadow healthy and measures how long it takes until it gets
// copies, of which the cell keeps the worst, and what of the old ones is left
// then.
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
	resumed := -1.0
	for resumed < 0 && time.Since(start) < 2*MaxResume {
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
			resumed = seconds(time.Since(start))
		}
	}
	if resumed < 0 || c.Resumed >= 0 && resumed > c.Resumed {
		c.Resumed = resumed
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
