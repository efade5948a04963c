package impact

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc/status"
)

// Results of one or several runs, as they are kept in a file.
type Results struct {
	Machine Machine `json:"machine"`
	// Envoy is its version, such as 1.38.2.
	Envoy string `json:"envoy"`
	// Days on which it ran, such as 2026-11-28.
	Days []string `json:"days,omitempty"`
	// Interleaved says that in every cell the variants took turns, round by
	// round, with requests without a mirror, whose figures they share. Otherwise
	// cells with and without protections are from separate runs.
	Interleaved bool `json:"interleaved,omitempty"`
	// Limits of the mirror that was tried.
	Limits Limits `json:"limits"`
	// LeftOut are the shadows that could not be made there.
	LeftOut []LeftOut `json:"leftOut,omitempty"`
	Cells   []Cell    `json:"cells,omitempty"`
	Rates   []Rate    `json:"rates,omitempty"`
	Soak    *Soak     `json:"soak,omitempty"`
}

// LeftOut is a shadow that the system did not let the lab make.
type LeftOut struct {
	Shadow string `json:"shadow"`
	Reason string `json:"reason"`
}

// Machine is where it ran.
type Machine struct {
	CPU  string `json:"cpu"`
	CPUs int    `json:"cpus"`
	OS   string `json:"os"`
}

// Limits as a policy writes them.
type Limits struct {
	MaxConcurrentRequests uint32 `json:"maxConcurrentRequests"`
	MaxRequestBodyBytes   uint32 `json:"maxRequestBodyBytes"`
	MaxDuration           string `json:"maxDuration"`
}

// Cell is one kind of request with one shadow, in one variant: with protections
// or with the plain policy.
type Cell struct {
	Shadow      string   `json:"shadow"`
	Load        string   `json:"load"`
	Protocol    Protocol `json:"protocol"`
	Protections bool     `json:"protections"`

	// Requests of the client, of which Failed got no answer or a wrong one;
	// Reasons counts them by reason.
	Requests int            `json:"requests"`
	Failed   int            `json:"failed"`
	Reasons  map[string]int `json:"reasons,omitempty"`
	// Hung says that a request got no answer as long as the lab waited; Cut that
	// the lab did not send all requests, since it took too long.
	Hung   bool    `json:"hung,omitempty"`
	Cut    bool    `json:"cut,omitempty"`
	Upload *Upload `json:"upload,omitempty"`
	// Answers are the times of the other loads.
	Answers *Answers `json:"answers,omitempty"`

	// Allocated and Resident are how much Envoy grew at most, in bytes, over
	// what the same traffic takes without a mirror: its own count and the
	// system's.
	Allocated int64 `json:"allocatedBytes"`
	Resident  int64 `json:"residentBytes"`
	// Resumed is how long a shadow that is healthy again waited for its first
	// copy, in seconds; -1 if none came in ten.
	Resumed float64 `json:"resumedSeconds"`
	// LeftRequests and LeftConnections are what the mirror cluster had open
	// afterwards; connections are kept for the next copies.
	LeftRequests    int64 `json:"leftRequests"`
	LeftConnections int64 `json:"leftConnections"`
	// LeftAllocated is how much more Envoy held then, in bytes and by its own
	// count, than before the load; nil in results of older labs.
	LeftAllocated *int64 `json:"leftAllocatedBytes,omitempty"`
	// Seconds that the load took, and CPU seconds of Envoy and of the shadow.
	Seconds   float64 `json:"seconds"`
	EnvoyCPU  float64 `json:"envoyCPUSeconds"`
	ShadowCPU float64 `json:"shadowCPUSeconds"`
	// Copies are Envoy's counters of the mirror cluster, those that moved.
	Copies map[string]int64 `json:"copies,omitempty"`
}

// Upload is the time of the large upload in seconds, medians of the pairs.
type Upload struct {
	None     float64 `json:"noneSeconds"`
	Mirrored float64 `json:"mirroredSeconds"`
	// Ratio is the median of each pair's Mirrored over None.
	Ratio float64 `json:"ratio"`
	Pairs []Pair  `json:"pairs,omitempty"`
}

// Pair is an upload without a mirror and one with, of the same round, in
// seconds.
type Pair struct {
	None     float64 `json:"none"`
	Mirrored float64 `json:"mirrored"`
}

// ratios are those of the pairs.
func (u *Upload) ratios() []float64 {
	var out []float64
	for _, p := range u.Pairs {
		if p.None > 0 {
			out = append(out, p.Mirrored/p.None)
		}
	}
	return out
}

// Estimate is that of the ratio.
func (u *Upload) Estimate() Estimate {
	if len(u.Pairs) == 0 {
		return Estimate{Median: u.Ratio, Low: u.Ratio, High: u.Ratio, Of: 1}
	}
	return estimate(u.ratios())
}

// Answers are the times of the primary's answers: without a mirror, with the
// cell's shadow, and, in a burst, with a healthy one.
type Answers struct {
	None     Latency  `json:"none"`
	Mirrored Latency  `json:"mirrored"`
	Healthy  *Latency `json:"healthy,omitempty"`
	// Rounds are those that took turns; older results have only those of bursts.
	Rounds []Round `json:"rounds,omitempty"`
}

// Round has the p99 of what took turns in a round, in milliseconds. Healthy is
// that of a burst with a healthy shadow.
type Round struct {
	None     float64 `json:"none"`
	Healthy  float64 `json:"healthy,omitempty"`
	Mirrored float64 `json:"mirrored"`
}

// over is the ratio of the p99 with the cell's shadow to another of the same
// round; of the medians where the rounds are not known, and of zero values where
// there is no other.
func (a *Answers) over(other func(Round) float64, medians float64) Estimate {
	if len(a.Rounds) > 0 {
		return estimate(a.ratios(other))
	}
	if medians == 0 {
		return Estimate{}
	}
	ratio := a.Mirrored.P99 / medians
	return Estimate{Median: ratio, Low: ratio, High: ratio, Of: 1}
}

func (a *Answers) ratios(other func(Round) float64) []float64 {
	var out []float64
	for _, r := range a.Rounds {
		if o := other(r); o > 0 {
			out = append(out, r.Mirrored/o)
		}
	}
	return out
}

// none and ofHealthy choose what a round is compared with.
func none(r Round) float64      { return r.None }
func ofHealthy(r Round) float64 { return r.Healthy }

// OverNone is the ratio of the p99 with the cell's shadow to that without a
// mirror.
func (a *Answers) OverNone() Estimate { return a.over(none, a.None.P99) }

// OverHealthy is the ratio of the p99 with the cell's shadow to that with a
// healthy one; of zero values where the cell has no bursts.
func (a *Answers) OverHealthy() Estimate {
	if a.Healthy == nil {
		return Estimate{}
	}
	return a.over(ofHealthy, a.Healthy.P99)
}

// Latency in milliseconds, medians of the rounds.
type Latency struct {
	P50 float64 `json:"p50ms"`
	P99 float64 `json:"p99ms"`
}

func newResults(ctx context.Context, o Options) *Results {
	r := &Results{Limits: Limits{
		MaxConcurrentRequests: o.Limits.MaxConcurrentRequests,
		MaxRequestBodyBytes:   o.Limits.MaxRequestBodyBytes,
		MaxDuration:           duration(o.Limits.MaxDuration),
	}}
	r.Machine.CPU, r.Machine.CPUs = machine()
	r.Machine.OS = runtime.GOOS + "/" + runtime.GOARCH
	r.Envoy = envoyVersion(ctx, o.Envoy)
	r.Days = []string{time.Now().UTC().Format(time.DateOnly)}
	return r
}

var versionNumber = regexp.MustCompile(`/(\d+\.\d+\.\d+[^/]*)/`)

// envoyVersion is empty where the binary does not say.
func envoyVersion(ctx context.Context, binary string) string {
	out, _ := exec.CommandContext(ctx, binary, "--version").Output()
	if found := versionNumber.FindSubmatch(out); found != nil {
		return string(found[1])
	}
	return ""
}

// count adds up what became of requests and returns their times.
func (c *Cell) count(t *tally) []time.Duration {
	c.Requests += t.requests
	for reason, n := range t.failed {
		if c.Reasons == nil {
			c.Reasons = map[string]int{}
		}
		c.Reasons[reason] += n
		c.Failed += n
		c.Hung = c.Hung || reason == errHung.Error()
	}
	return t.latencies
}

// reason is an error in few words, the same for all errors of a kind.
func reason(err error) string {
	switch {
	case errors.Is(err, errHung):
		return errHung.Error()
	case errors.Is(err, context.Canceled):
		return "the lab was stopped"
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset"
	case isTimeout(err):
		return errHung.Error()
	}
	if s, ok := status.FromError(err); ok {
		return fmt.Sprintf("gRPC %s: %s", s.Code(), s.Message())
	}
	return err.Error()
}

// Bounds are what a cell is held against. A ratio is over its bound when all of
// its interval is, see Estimate: what may be noise is no verdict.
type Bounds struct {
	// UploadRatio is the greatest ratio of an upload's time with a mirror to
	// that without; one that is less than UploadNoise longer is fine.
	UploadRatio float64
	UploadNoise time.Duration
	// BurstRatio is the greatest ratio of the p99 with the cell's shadow to
	// that with a healthy one, beside BurstNoise, which is added.
	BurstRatio float64
	BurstNoise time.Duration
	// AnswerRatio and AnswerNoise are the same for the p99 of loads without
	// bursts, with the mirror to without.
	AnswerRatio float64
	AnswerNoise time.Duration
}

// Goals are the bounds that a machine without other work meets, Lenient ones
// are for one that is busy, and still far from what a missing protection does,
// and Damage is what nobody takes for noise.
var (
	Goals   = Bounds{UploadRatio: MaxUploadRatio, BurstRatio: 1, AnswerRatio: 2, AnswerNoise: 50 * time.Millisecond}
	Lenient = Bounds{UploadRatio: 4, UploadNoise: time.Second, BurstRatio: 3, BurstNoise: 300 * time.Millisecond, AnswerRatio: 5, AnswerNoise: time.Second}
	Damage  = Bounds{UploadRatio: 1.25, BurstRatio: 2, BurstNoise: 5 * time.Millisecond, AnswerRatio: 5, AnswerNoise: 200 * time.Millisecond}
)

// Problems returns what the client noticed of the shadow, and what else is over
// its bound.
func (r *Results) Problems(c Cell, b Bounds) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if c.Failed > 0 {
		var reasons []string
		for _, reason := range slices.Sorted(maps.Keys(c.Reasons)) {
			reasons = append(reasons, fmt.Sprintf("%d × %s", c.Reasons[reason], reason))
		}
		add("%d of %d requests failed: %s", c.Failed, c.Requests, strings.Join(reasons, ", "))
	}
	if c.slowUpload(b) {
		add("the upload took %s times as long as without a mirror (%.2f s, %.2f s); the bound is %.2f",
			c.Upload.Estimate(), c.Upload.Mirrored, c.Upload.None, b.UploadRatio)
	}
	if c.slowAnswers(b) {
		if c.Answers.Healthy != nil {
			add("p99 is %.1f ms; with a healthy shadow it is %.1f (%s times)", c.Answers.Mirrored.P99, c.Answers.Healthy.P99, c.Answers.OverHealthy())
		} else {
			add("p99 is %.1f ms; without a mirror it is %.1f (%s times)", c.Answers.Mirrored.P99, c.Answers.None.P99, c.Answers.OverNone())
		}
	}
	if c.grown() > r.memoryBound() {
		add("Envoy grew by %s; the bound is %s", mebibytes(c.grown()), mebibytes(r.memoryBound()))
	}
	if c.Resumed < 0 || c.Resumed > MaxResume.Seconds() {
		add("mirroring did not resume within %s", MaxResume)
	}
	if c.LeftRequests > 0 {
		add("%d copies are still open", c.LeftRequests)
	}
	if c.LeftConnections > int64(r.Limits.MaxConcurrentRequests) {
		add("%d connections are still open", c.LeftConnections)
	}
	if c.LeftAllocated != nil && *c.LeftAllocated > MaxLeft {
		add("Envoy still holds %s more than before; the bound is %s", mebibytes(*c.LeftAllocated), mebibytes(MaxLeft))
	}
	return out
}

func (c Cell) slowUpload(b Bounds) bool {
	u := c.Upload
	return u != nil && !c.Hung && u.Estimate().Low > b.UploadRatio && u.Mirrored-u.None >= b.UploadNoise.Seconds()
}

func (c Cell) slowAnswers(b Bounds) bool {
	a := c.Answers
	switch {
	case a == nil || c.Hung:
		return false
	case a.Healthy != nil:
		return a.OverHealthy().Low > b.BurstRatio && a.Mirrored.P99 > a.Healthy.P99*b.BurstRatio+milliseconds(b.BurstNoise)
	default:
		return a.OverNone().Low > b.AnswerRatio && a.Mirrored.P99 > a.None.P99*b.AnswerRatio+milliseconds(b.AnswerNoise)
	}
}

// AllProblems returns the problems of the cells with protections, of the rates
// and of the soak, each with what it is of.
func (r *Results) AllProblems(b Bounds) []string {
	var out []string
	for _, c := range r.Cells {
		if !c.Protections {
			continue
		}
		for _, problem := range r.Problems(c, b) {
			out = append(out, fmt.Sprintf("%s over %s, %s: %s", c.Shadow, c.Protocol, c.Load, problem))
		}
	}
	for _, rate := range r.Rates {
		if rate.Protections && rate.Failed > 0 {
			out = append(out, fmt.Sprintf("%s over %s at %d/s: %d of %d requests failed",
				rate.Shadow, rate.Protocol, rate.PerSecond, rate.Failed, rate.Requests))
		}
	}
	if s := r.Soak; s != nil {
		for _, problem := range s.Problems() {
			out = append(out, "soak: "+problem)
		}
	}
	return out
}
