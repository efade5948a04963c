package gui

import (
	"context"
	"sync"
	"time"

	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
)

const (
	// step is the time between two points of a chart, and points are an hour.
	step   = 15 * time.Second
	points = int(time.Hour / step)
	// maxSeries bounds memory: 9 kB each, 9 MB in all. The charts of
	// mirrors beyond it have the present moment alone.
	maxSeries = 1000
)

// key of a mirror on an outbound.
type key struct{ mesh, dataplane, policy, path, outbound string }

func keyOf(m status.Mirror) key { return key{m.Mesh, m.Dataplane, m.Policy, m.Path, m.Outbound} }

// point is what a chart shows of one moment; the figures are status.Window's.
type point struct {
	// known is false where there was no figure.
	known                                        bool
	effective, requests, copies, drops           float32
	primaryErrors, shadowErrors, primary, shadow float32
}

// series is a ring of points.
type series struct {
	at   [points]point
	next int
	seen int // the round it was last written in
}

// history is the last hour of each mirror. Its zero value is empty.
type history struct {
	mu     sync.Mutex
	series map[key]*series
	round  int
}

// Run keeps the history until ctx ends.
func (g *GUI) Run(ctx context.Context) {
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		if all, err := g.Mirrors(ctx, ""); err == nil {
			g.history.add(all)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// add takes in one moment. What is there no more is forgotten.
func (h *history) add(all []status.Mirror) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.round++
	if h.series == nil {
		h.series = map[key]*series{}
	}
	for _, m := range all {
		if m.Dataplane == "" {
			continue
		}
		s := h.series[keyOf(m)]
		if s == nil {
			if len(h.series) >= maxSeries {
				continue
			}
			s = &series{}
			h.series[keyOf(m)] = s
		}
		s.seen = h.round
		s.at[s.next] = pointOf(m.Window)
		s.next = (s.next + 1) % points
	}
	for k, s := range h.series {
		if s.seen != h.round {
			delete(h.series, k)
		}
	}
}

func pointOf(w *status.Window) point {
	if w == nil {
		return point{}
	}
	known := func(f *float64) float32 {
		if f == nil {
			return 0
		}
		return float32(*f)
	}
	p := point{
		known: true, requests: float32(w.RequestsPerSecond), copies: float32(w.CopiesPerSecond),
		effective:     known(w.EffectivePercentage),
		primaryErrors: 100 * known(w.PrimaryErrorRate), shadowErrors: 100 * known(w.ShadowErrorRate),
	}
	if w.Seconds > 0 {
		p.drops = float32(w.Dropped.Sum() / w.Seconds)
	}
	if w.PrimaryLatency != nil {
		p.primary = float32(w.PrimaryLatency.P99)
	}
	if w.ShadowLatency != nil {
		p.shadow = float32(w.ShadowLatency.P99)
	}
	return p
}

// of returns the points of a mirror from the oldest on; none is known where
// nothing was taken in.
func (h *history) of(k key) []point {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.series[k]
	if s == nil {
		return make([]point, points)
	}
	return append(append([]point{}, s.at[s.next:]...), s.at[:s.next]...)
}
