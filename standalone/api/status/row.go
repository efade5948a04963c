package status

import (
	"time"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
)

// window is how far back the figures of a Window go.
const window = time.Minute

// rowID tells the rows of one data plane apart.
type rowID struct {
	policy api.Key
	path   api.Path
	// outbound is the name of the cluster of its tags.
	outbound    string
	destination string
	name        string
}

// row is one mirror on one outbound of one data plane.
type row struct {
	id   rowID
	spec rowSpec
	// group has the rows whose copies Envoy counts together; nil where no
	// copies are made.
	group *group

	state  State
	reason string
	since  time.Time

	// pending says that Envoy has not yet acknowledged the row as it is.
	pending bool
	// changed is when the row became what it is: before, other things were
	// counted. fresh says that there was nothing.
	changed time.Time
	fresh   bool

	// samples of the last minute, one for each flush in which anything was
	// counted, and the totals of everything.
	samples []sample
	total   sample
	counted time.Time // when total began; zero while nothing was counted
	// requests and sent are the highest that have been said of total. A copy
	// may turn out later not to have been sent: its body did not become whole.
	requests uint64
	sent     float64
	// weight is the row's share in the group's copies when it last had any.
	weight float64
}

// rowSpec is what the configuration says of a row.
type rowSpec struct {
	outcome   plugin.Outcome
	match     string
	service   string
	listeners []string
	// route is what the stats of its route begin with, cluster those of the
	// mirror cluster; empty where there is none.
	route, cluster string
	// table is the route table that the mirror is in.
	table string
	// foreign is the cluster of somebody else whose stats have the same name.
	foreign  string
	streamed bool // bodies are not held back
	// endpoints of the mirror cluster, and the names that Envoy looks up for it.
	endpoints int
	names     []string
}

// same reports whether both copy the same requests in the same way.
func (s *rowSpec) same(o *rowSpec) bool {
	return s.outcome.State == o.outcome.State && s.outcome.Percentage == o.outcome.Percentage &&
		s.outcome.Cluster == o.outcome.Cluster && s.match == o.match && s.route == o.route && s.cluster == o.cluster
}

// mirrors reports whether the mirror is in the route table.
func (s *rowSpec) mirrors() bool { return s.outcome.State == plugin.Injected }

// sample is what was counted in a flush.
type sample struct {
	of *interval // nil in sums
	// Of the route: requests sent, completed, and answered by the primary.
	sent, completed, answers uint64
	given                    Answers // to clients
	copies                   copies
	primary, shadow          *summary
}

func (s *sample) empty() bool {
	return s.sent == 0 && s.completed == 0 && s.copies == copies{} && s.primary == nil && s.shadow == nil
}

// add adds the counts of o.
func (s *sample) add(o *sample) {
	s.sent += o.sent
	s.completed += o.completed
	s.answers += o.answers
	s.given.Add(o.given, 1)
	s.copies.add(o.copies, 1)
}

func (s *sample) counts() Counts {
	return Counts{
		Requests:      requestsOf(s.sent, s.completed, s.answers),
		Copies:        s.copies.sent,
		Dropped:       s.copies.dropped,
		PrimaryErrors: uint64(s.given.ServerError),
		ShadowErrors:  s.copies.answers.ServerError,
	}
}

// count takes in what was counted in one flush.
func (r *row) count(s sample) {
	if r.counted.IsZero() {
		r.counted = later(s.of.from, r.changed)
	}
	r.total.add(&s)
	kept := 0
	for kept < len(r.samples) && s.of.to.Sub(r.samples[kept].of.to) > window {
		kept++
	}
	r.samples = append(r.samples[:0], r.samples[kept:]...)
	if !s.empty() && r.covers(s.of.from) {
		r.samples = append(r.samples, s)
	}
}

// covers reports whether what was counted from then on is the row's as it is.
func (r *row) covers(from time.Time) bool { return r.fresh || !from.Before(r.changed) }

// window is the row's figures of the last minute; nil where no flush is in it.
func (r *row) window(now time.Time, flushes []*interval) *Window {
	begin := now.Add(-window)
	var covered time.Duration
	var until time.Time // what is covered so far; flushes of several Envoys overlap
	for _, f := range flushes {
		if f.from.Before(begin) || !r.covers(f.from) {
			continue
		}
		from := later(later(f.from, r.changed), until)
		if f.to.After(from) {
			covered += f.to.Sub(from)
			until = f.to
		}
	}
	if covered == 0 {
		return nil
	}
	var sum sample
	var primary, shadow []*summary
	for i := range r.samples {
		s := &r.samples[i]
		if s.of.from.Before(begin) {
			continue
		}
		sum.add(s)
		if s.primary != nil {
			primary = append(primary, s.primary)
		}
		if s.shadow != nil {
			shadow = append(shadow, s.shadow)
		}
	}
	// Less than nothing where copies of before were dropped after all.
	sum.copies.sent = max(0, sum.copies.sent)
	w := &Window{
		Seconds:        covered.Seconds(),
		Counts:         sum.counts(),
		PrimaryAnswers: sum.given,
		ShadowAnswers:  sum.copies.answers,
		PrimaryLatency: latencyOf(primary),
		ShadowLatency:  latencyOf(shadow),
	}
	w.CopiesPerSecond = w.Copies / w.Seconds
	w.RequestsPerSecond = float64(w.Requests) / w.Seconds
	if w.Requests > 0 {
		w.EffectivePercentage = new(100 * w.Copies / float64(w.Requests))
	}
	if sum.completed > 0 {
		w.PrimaryErrorRate = new(sum.given.ServerError / float64(sum.completed))
	}
	if sum.copies.answered > 0 {
		w.ShadowErrorRate = new(sum.copies.answers.ServerError / sum.copies.answered)
	}
	return w
}

// totals are the row's since it is counted; nil while it is not.
func (r *row) totals() *Total {
	if r.counted.IsZero() {
		return nil
	}
	t := &Total{Since: r.counted, Counts: r.total.counts(), PrimaryAnswers: r.total.given, ShadowAnswers: r.total.copies.answers}
	r.requests = max(r.requests, t.Requests)
	r.sent = max(r.sent, t.Copies)
	t.Requests, t.Copies = r.requests, r.sent
	return t
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
