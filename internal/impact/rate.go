package impact

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

// RateOptions of MeasureRate.
type RateOptions struct {
	// PerSecond requests, for Duration, in each of the Rounds.
	PerSecond int
	Duration  time.Duration
	Rounds    int
}

// NoMirror stands for a shadow in a Rate that had none.
const NoMirror = "none"

// Rate is what a steady rate of GETs costs, medians of the rounds.
type Rate struct {
	// Shadow, or NoMirror.
	Shadow      string   `json:"shadow"`
	Protocol    Protocol `json:"protocol"`
	Protections bool     `json:"protections"`
	PerSecond   int      `json:"perSecond"`
	Requests    int      `json:"requests"`
	Failed      int      `json:"failed"`
	Latency     Latency  `json:"latency"`
	// Rounds are the latencies of each, in the order of time; those of one
	// number belong together.
	Rounds []Latency `json:"rounds,omitempty"`
	// EnvoyCPU and ShadowCPU are CPU seconds of one round; ClientCPU is that
	// of client and primary, which are one process.
	EnvoyCPU  float64 `json:"envoyCPUSeconds"`
	ShadowCPU float64 `json:"shadowCPUSeconds"`
	ClientCPU float64 `json:"clientCPUSeconds"`
	// Seconds of one round.
	Seconds float64 `json:"seconds"`
}

type rateKey struct {
	shadow      string
	protocol    Protocol
	protections bool
	perSecond   int
}

func (r Rate) key() rateKey { return rateKey{r.Shadow, r.Protocol, r.Protections, r.PerSecond} }

// MeasureRate compares latency and CPU time at a steady rate without a mirror
// and with each of the shadows that the options choose, round by round in turn,
// on one Envoy for each.
func MeasureRate(ctx context.Context, o Options, r RateOptions, progress func(string)) (*Results, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	shadows, leftOut, err := o.shadows()
	if err != nil {
		return nil, err
	}
	results := newResults(ctx, o)
	results.LeftOut = leftOut
	for _, protections := range o.Protections {
		for _, protocol := range o.Protocols {
			rates, err := measureRates(ctx, o, r, shadows, protocol, protections, progress)
			if err != nil {
				return results, err
			}
			results.Rates = append(results.Rates, rates...)
		}
	}
	return results, nil
}

// runner is a bench at work on one Rate.
type runner struct {
	*bench
	shadow  string
	latency latencies
	rate    Rate
	cpu     [3][]float64
}

func measureRates(ctx context.Context, o Options, r RateOptions, shadows []Shadow, protocol Protocol, protections bool, progress func(string)) (_ []Rate, err error) {
	names := []string{NoMirror}
	for _, s := range shadows {
		if !s.HTTP2 || protocol == HTTP2 {
			names = append(names, s.Name)
		}
	}
	var runners []*runner
	defer func() {
		for _, run := range runners {
			run.stop()
		}
	}()
	for _, name := range names {
		b, err := startBench(ctx, o, protocol, protections)
		if err != nil {
			return nil, err
		}
		run := &runner{bench: b, shadow: name, rate: Rate{
			Shadow: name, Protocol: protocol, Protections: protections,
			PerSecond: r.PerSecond, Seconds: r.Duration.Seconds(),
		}}
		runners = append(runners, run)
		if name != NoMirror {
			if err := b.become(ctx, name); err != nil {
				return nil, err
			}
		}
	}
	for round := range r.Rounds + 1 {
		for i := range runners {
			run := runners[(round+i)%len(runners)] // each is first in its turn
			d := r.Duration
			if round == 0 {
				d = time.Second // to warm up
			}
			if err := run.round(ctx, r.PerSecond, d, round > 0); err != nil {
				return nil, err
			}
			if progress != nil && round > 0 {
				progress(fmt.Sprintf("round %d of %d: %s over %s: p99 %.2f ms", round, r.Rounds, run.shadow, protocol,
					milliseconds(run.latency.p99[len(run.latency.p99)-1])))
			}
		}
	}
	var rates []Rate
	for _, run := range runners {
		run.rate.Latency, run.rate.Rounds = run.latency.figures(), run.latency.rounds()
		run.rate.EnvoyCPU, run.rate.ShadowCPU, run.rate.ClientCPU = median(run.cpu[0]), median(run.cpu[1]), median(run.cpu[2])
		rates = append(rates, run.rate)
	}
	return rates, nil
}

func (r *runner) round(ctx context.Context, perSecond int, d time.Duration, counts bool) error {
	before, err := r.cpuOfAll()
	if err != nil {
		return err
	}
	get := newBody(0)
	t := steadily(ctx, perSecond, d, func(ctx context.Context) error {
		return r.client.send(ctx, r.shadow != NoMirror, http.MethodGet, get, false)
	})
	after, err := r.cpuOfAll()
	if err != nil || !counts {
		return errors.Join(err, ctx.Err())
	}
	r.rate.Requests += t.requests
	r.rate.Failed += t.failures()
	r.latency.add(t.latencies)
	for i := range after {
		r.cpu[i] = append(r.cpu[i], seconds(after[i]-before[i]))
	}
	return ctx.Err()
}

func (r *runner) cpuOfAll() (all [3]time.Duration, err error) {
	for i, pid := range []int{r.envoy.pid(), r.shade.pid(), os.Getpid()} {
		if all[i], err = cpuTime(pid); err != nil {
			return all, err
		}
	}
	return all, nil
}
