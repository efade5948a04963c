package impact

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
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
	// Limits of the mirror that was tried.
	Limits Limits `json:"limits"`
	Cells  []Cell `json:"cells,omitempty"`
	Rates  []Rate `json:"rates,omitempty"`
	Soak   *Soak  `json:"soak,omitempty"`
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

// Cell is one kind of request with one shadow.
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
	// Hung says that a request got no answer as long as the lab waited.
	Hung   bool    `json:"hung,omitempty"`
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
	// Seconds that the load took, and CPU seconds of Envoy and of the shadow.
	Seconds   float64 `json:"seconds"`
	EnvoyCPU  float64 `json:"envoyCPUSeconds"`
	ShadowCPU float64 `json:"shadowCPUSeconds"`
	// Copies are Envoy's counters of the mirror cluster, those that moved.
	Copies map[string]int64 `json:"copies,omitempty"`
}

// Upload is the time of the large upload in seconds, medians of the rounds.
type Upload struct {
	Plain    float64 `json:"plainSeconds"`
	Mirrored float64 `json:"mirroredSeconds"`
	Ratio    float64 `json:"ratio"`
}

// Answers are the times of the primary's answers: without a mirror, with the
// cell's shadow, and, in a burst, with a healthy one.
type Answers struct {
	Plain    Latency  `json:"plain"`
	Mirrored Latency  `json:"mirrored"`
	Healthy  *Latency `json:"healthy,omitempty"`
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
	var timeout net.Error
	switch {
	case errors.Is(err, errHung):
		return errHung.Error()
	case errors.Is(err, context.Canceled):
		return "the lab was stopped"
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset"
	case errors.As(err, &timeout) && timeout.Timeout():
		return errHung.Error()
	}
	if s, ok := status.FromError(err); ok {
		return fmt.Sprintf("gRPC %s: %s", s.Code(), s.Message())
	}
	return err.Error()
}

// Bounds are what a cell is held against.
type Bounds struct {
	// UploadRatio is the greatest ratio of an upload's time with a mirror to
	// that without.
	UploadRatio float64
	// BurstRatio is the greatest ratio of the p99 with the cell's shadow to
	// that with a healthy one, beside BurstNoise, which is added.
	BurstRatio float64
	BurstNoise time.Duration
}

// Goals are the bounds that a machine without other work meets; Lenient ones
// are for one that is busy, and still far from what a missing protection does.
var (
	Goals   = Bounds{UploadRatio: MaxUploadRatio, BurstRatio: 1, BurstNoise: time.Millisecond}
	Lenient = Bounds{UploadRatio: 4, BurstRatio: 3, BurstNoise: 300 * time.Millisecond}
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
	if u := c.Upload; u != nil && !c.Hung && u.Ratio > b.UploadRatio {
		add("the upload took %.2f times as long as without a mirror (%.2f s, %.2f s); the bound is %.2f",
			u.Ratio, u.Mirrored, u.Plain, b.UploadRatio)
	}
	if p := c.Answers; p != nil && p.Healthy != nil {
		if bound := p.Healthy.P99*b.BurstRatio + milliseconds(b.BurstNoise); p.Mirrored.P99 > bound {
			add("p99 is %.1f ms; with a healthy shadow it is %.1f, the bound %.1f", p.Mirrored.P99, p.Healthy.P99, bound)
		}
	}
	bound := int64(r.Limits.MaxConcurrentRequests)*int64(r.Limits.MaxRequestBodyBytes) + MemoryReserve
	if grown := max(c.Allocated, c.Resident); grown > bound {
		add("Envoy grew by %d MiB; the bound is %d", grown>>20, bound>>20)
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
	return out
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

// ReadResults reads a results file.
func ReadResults(file string) (*Results, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := &Results{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s is not a results file: %w", file, err)
	}
	return r, nil
}

// Write writes a results file.
func (r *Results) Write(file string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// Add takes over what newer has; cells, rates and the soak that r has too are
// replaced. Results of another machine, Envoy or limits cannot be joined.
func (r *Results) Add(newer *Results) error {
	if r.Machine != newer.Machine || r.Envoy != newer.Envoy || r.Limits != newer.Limits {
		return errors.New("the results are of another machine, another Envoy or other limits")
	}
	for _, c := range newer.Cells {
		r.Cells = slices.DeleteFunc(r.Cells, func(old Cell) bool { return old.key() == c.key() })
		r.Cells = append(r.Cells, c)
	}
	for _, rate := range newer.Rates {
		r.Rates = slices.DeleteFunc(r.Rates, func(old Rate) bool { return old.key() == rate.key() })
		r.Rates = append(r.Rates, rate)
	}
	if newer.Soak != nil {
		r.Soak = newer.Soak
	}
	r.sort()
	return nil
}

// sort puts cells into the order of the lists of shadows and loads.
func (r *Results) sort() {
	order := func(c Cell) [4]int {
		protections := 0
		if c.Protections {
			protections = 1
		}
		return [4]int{
			protections,
			slices.Index(Protocols[:], c.Protocol),
			slices.IndexFunc(Shadows(), func(s Shadow) bool { return s.Name == c.Shadow }),
			slices.IndexFunc(Loads(), func(l Load) bool { return l.Name == c.Load }),
		}
	}
	slices.SortStableFunc(r.Cells, func(a, b Cell) int {
		x, y := order(a), order(b)
		return slices.Compare(x[:], y[:])
	})
}

type cellKey struct {
	shadow, load string
	protocol     Protocol
	protections  bool
}

func (c Cell) key() cellKey { return cellKey{c.Shadow, c.Load, c.Protocol, c.Protections} }

// Cell returns a cell of the results.
func (r *Results) Cell(shadow, load string, protocol Protocol, protections bool) (Cell, bool) {
	want := cellKey{shadow, load, protocol, protections}
	i := slices.IndexFunc(r.Cells, func(c Cell) bool { return c.key() == want })
	if i < 0 {
		return Cell{}, false
	}
	return r.Cells[i], true
}
