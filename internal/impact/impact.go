// Package impact is a laboratory: it puts a real Envoy between a client, a
// primary and a shadow that misbehaves in one of many ways, sends one kind of
// request after the other, and judges whether the client noticed. Every figure
// stands beside that of the same traffic without a mirror, in the same run.
//
// It runs the configuration that a user gets: TrafficRoute, generation, mirror.
// With protections off, the mirror's target is the shadow's ordinary cluster, as
// most control planes write it.
package impact

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kuma-mirror/kuma-mirror/generator"
)

// Protocol is what Envoy speaks to the shadow.
type Protocol string

// The protocols of a shadow.
const (
	HTTP1 Protocol = "http1"
	HTTP2 Protocol = "http2"
)

// Protocols are all of them.
var Protocols = [...]Protocol{HTTP1, HTTP2}

// Options of a run. The zero value of a field means its default, unless said
// otherwise.
type Options struct {
	// Envoy is the path of the binary; required.
	Envoy string
	// Worker is the command line that ends in ServeShadow; required. Shadows
	// are a process of their own, so that their CPU time is not the lab's.
	Worker []string
	// Concurrency is the number of Envoy's worker threads; default 1, so that
	// all of a shadow's mischief meets the primary on one thread.
	Concurrency int
	// Limits of the mirror; the zero value means generator.DefaultLimits.
	Limits generator.Limits
	// Shadows, Loads and Protocols choose cells by name; empty means all.
	Shadows, Loads []string
	Protocols      []Protocol
	// Protections are the variants, which take turns; empty means on alone.
	Protections []bool
	// Quick sends fewer requests in fewer rounds, and not every load to every
	// shadow, unless Loads names them: a few minutes for all shadows.
	Quick bool
	// Rounds of each load, whose medians count; by default 12 of uploads and 6 of
	// the others, in a quick run 1.
	Rounds int
	// UploadBytes of the large upload; default 200 MB.
	UploadBytes int64
	// Progress is called after each cell; may be nil.
	Progress func(done, all int, c Cell)
}

// Validate says what is wrong with the names of shadows, loads and protocols.
func (o Options) Validate() error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	shadows, err := shadowsNamed(o.Shadows)
	if err != nil {
		return err
	}
	_, err = o.groups(shadows)
	return err
}

func (o Options) withDefaults() (Options, error) {
	if o.Envoy == "" || len(o.Worker) == 0 {
		return o, errors.New("the lab needs an Envoy and the command line of its shadows")
	}
	o.Concurrency = max(1, o.Concurrency)
	if o.Limits == (generator.Limits{}) {
		o.Limits = generator.DefaultLimits
	}
	if o.UploadBytes == 0 {
		o.UploadBytes = 200_000_000
	}
	if len(o.Protocols) == 0 {
		o.Protocols = Protocols[:]
	}
	if len(o.Protections) == 0 {
		o.Protections = []bool{true}
	}
	if o.Rounds < 0 {
		return o, errors.New("there have to be rounds")
	}
	for _, p := range o.Protocols {
		if !slices.Contains(Protocols[:], p) {
			return o, fmt.Errorf("there is no protocol %q; there are %q", p, Protocols)
		}
	}
	return o, nil
}

// group is the cells that share Envoys, one for each variant.
type group struct {
	shadow   Shadow
	protocol Protocol
	loads    []Load
}

func (o Options) groups(shadows []Shadow) ([]group, error) {
	loads, err := loadsNamed(o.Loads)
	if err != nil {
		return nil, err
	}
	for i := range loads {
		if loads[i].kind == upload {
			loads[i].send = sendUpload(o.UploadBytes)
		}
	}
	var groups []group
	for _, protocol := range o.Protocols {
		for _, s := range shadows {
			if s.HTTP2 && protocol != HTTP2 {
				continue
			}
			g := group{shadow: s, protocol: protocol}
			for _, l := range loads {
				if l.on(protocol) && (!o.Quick || len(o.Loads) > 0 || slices.Contains(quickly(s.number, protocol), l.Name)) {
					g.loads = append(g.loads, l)
				}
			}
			if len(g.loads) > 0 {
				groups = append(groups, g)
			}
		}
	}
	if len(groups) == 0 {
		return nil, errors.New("no cell is left to run: gRPC and some shadows need http2")
	}
	return groups, nil
}

// Run runs the cells that the options choose, one after the other. In a cell,
// requests without a mirror and those of the variants take turns. Bad figures
// are no error, see Results.Problems. The error is what keeps the lab from
// measuring; the results then hold the cells that were done.
func Run(ctx context.Context, o Options) (*Results, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	shadows, leftOut, err := o.shadows()
	if err != nil {
		return nil, err
	}
	groups, err := o.groups(shadows)
	if err != nil {
		return nil, err
	}
	all := 0
	for _, g := range groups {
		all += len(g.loads) * len(o.Protections)
	}
	results := newResults(ctx, o)
	results.LeftOut, results.Interleaved = leftOut, len(o.Protections) > 1
	defer results.sort()
	var aside *bench
	defer func() {
		if aside != nil {
			aside.stop()
		}
	}()
	for _, g := range groups {
		if aside == nil || aside.protocol != g.protocol {
			if aside != nil {
				aside.stop()
			}
			if aside, err = startAside(ctx, o, g); err != nil {
				return results, fmt.Errorf("a healthy shadow over %s: %w", g.protocol, err)
			}
		}
		err := runGroup(ctx, o, g, aside, func(c Cell) {
			results.Cells = append(results.Cells, c)
			if o.Progress != nil {
				o.Progress(len(results.Cells), all, c)
			}
		})
		if err != nil {
			return results, fmt.Errorf("shadow %s over %s: %w", g.shadow.Name, g.protocol, err)
		}
	}
	return results, nil
}

// Bounds of the verdicts; those of time have room for a machine that is busy.
const (
	// MaxUploadRatio is the goal for the time of an upload with a mirror over
	// that without.
	MaxUploadRatio = 1.05
	// MemoryReserve is what Envoy may grow by beside the bodies it holds.
	MemoryReserve = 64 << 20
	// MaxLeft is how much more Envoy may hold, in bytes, when a bad shadow is
	// healthy again: its connections, which are kept, have buffers.
	MaxLeft = 16 << 20
	// MaxSoakGrowth is how much the resident memory may grow over a soak, of
	// which the allocator gives little back.
	MaxSoakGrowth = 32 << 20
	// MaxResume is how soon a shadow that is back has to get copies.
	MaxResume = 5 * time.Second
)
