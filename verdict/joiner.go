package verdict

import (
	"cmp"
	"container/list"
	"strconv"
	"strings"
	"time"
)

// Options of a joiner; what is 0 has its default.
type Options struct {
	// Ignore has, for each mirror, patterns of what is not compared; see
	// [Ignore].
	Ignore map[string][]string
	// Controlled says which mirrors have a control.
	Controlled map[string]bool
	// Wait is how long a half waits: 15 s.
	Wait time.Duration
	// Waiting and WaitingBytes bound what waits: 20,000 requests, 32 MiB.
	Waiting      int
	WaitingBytes int
	// Routes and Fields bound what is counted: 100, and 2000 for each route.
	Routes, Fields int
}

// Joiner pairs answers and counts their differences.
type Joiner struct {
	opts    Options
	ignore  map[string]Ignore
	counts  *Counts
	waiting map[waitKey]*list.Element
	// queue has the requests by their first answer.
	queue *list.List
	bytes int
	now   time.Time
}

type waitKey struct{ mirror, id string }

// request is what is known of a request.
type request struct {
	key      waitKey
	since    time.Time
	lines    [sides]*Answer
	samples  [sides]*Answer
	compared [sides]bool
	bodies   [sides]bool
	bytes    int
}

// NewJoiner returns a joiner, or the error of a pattern.
func NewJoiner(o Options) (*Joiner, error) {
	o.Wait = cmp.Or(o.Wait, 15*time.Second)
	o.Waiting, o.WaitingBytes = cmp.Or(o.Waiting, 20_000), cmp.Or(o.WaitingBytes, 32<<20)
	o.Routes, o.Fields = cmp.Or(o.Routes, 100), cmp.Or(o.Fields, 2000)
	j := &Joiner{opts: o, ignore: map[string]Ignore{}, counts: NewCounts(), waiting: map[waitKey]*list.Element{}, queue: list.New()}
	for mirror, patterns := range o.Ignore {
		ignore, err := ParseIgnore(patterns)
		if err != nil {
			return nil, err
		}
		j.ignore[mirror] = ignore
	}
	return j, nil
}

// Counts returns a copy of what has been counted.
func (j *Joiner) Counts() *Counts { return j.counts.Clone() }

// Add takes an answer. Its maps and bytes must not change afterwards.
func (j *Joiner) Add(a Answer) {
	if a.Side >= sides {
		return
	}
	if a.RequestID == "" {
		j.route(&a).unpaired(a.Side.String() + ": no request id")
		return
	}
	if j.now.Before(a.At) {
		j.now = a.At
	}
	key := waitKey{a.Mirror, a.RequestID}
	e := j.waiting[key]
	if e == nil {
		for j.queue.Len() >= j.opts.Waiting {
			j.settle(j.queue.Front(), "too many waiting")
		}
		e = j.queue.PushBack(&request{key: key, since: j.now})
		j.waiting[key] = e
	}
	r := e.Value.(*request)
	if a.Body == nil {
		if r.lines[a.Side] == nil {
			r.lines[a.Side] = &a
		}
	} else if r.samples[a.Side] == nil {
		r.samples[a.Side] = &a
		r.bytes += len(a.Body.Bytes)
		j.bytes += len(a.Body.Bytes)
	}
	j.compare(r, Shadow)
	j.compare(r, Control)
	if r.bodies[Shadow] && (r.bodies[Control] || !j.opts.Controlled[a.Mirror]) {
		j.release(r)
	}
	for j.bytes > j.opts.WaitingBytes && j.queue.Len() > 0 {
		j.settle(j.queue.Front(), "too many bytes waiting")
	}
}

// Advance settles what has waited too long.
func (j *Joiner) Advance(now time.Time) {
	if j.now.Before(now) {
		j.now = now
	}
	for e := j.queue.Front(); e != nil && j.now.Sub(e.Value.(*request).since) >= j.opts.Wait; e = j.queue.Front() {
		j.settle(e, "")
	}
}

// release forgets bodies that have been compared.
func (j *Joiner) release(r *request) {
	j.bytes -= r.bytes
	r.bytes = 0
	for _, a := range r.samples {
		if a != nil {
			a.Body = nil
		}
	}
}

// settle ends the wait for the rest of a request; why is empty where it took too
// long.
func (j *Joiner) settle(e *list.Element, why string) {
	r := e.Value.(*request)
	j.queue.Remove(e)
	delete(j.waiting, r.key)
	j.release(r)
	if r.compared[Shadow] {
		return
	}
	primary, shadow := r.of(Primary), r.of(Shadow)
	known := cmp.Or(primary, shadow, r.of(Control))
	reason := why
	switch {
	case shadow != nil && !shadow.Ending.comparable():
		reason = "shadow: " + shadow.Ending.String()
	case primary != nil && !primary.Ending.comparable():
		reason = "primary: " + primary.Ending.String()
	case why != "":
	case primary == nil:
		reason = "no answer of the primary arrived"
	case shadow == nil:
		reason = "no answer of the shadow arrived"
	}
	j.route(known).unpaired(reason)
}

// of returns what is known of a side's answer: the log's line knows more of its
// end than a sample.
func (r *request) of(s Side) *Answer { return cmp.Or(r.lines[s], r.samples[s]) }

// route returns the counts that an answer belongs to.
func (j *Joiner) route(a *Answer) *RouteCounts {
	key := Route{Mirror: clip(a.Mirror), Entry: clip(a.Route), Method: clip(a.Method), Template: Template(a.Path)}
	if a.GRPC {
		// Service and method have long names, of which there are few.
		path, _, _ := strings.Cut(a.Path, "?")
		key.Method, key.Template = "gRPC", clip(path)
	}
	r := j.counts.Routes[key]
	if r == nil {
		if len(j.counts.Routes) >= j.opts.Routes {
			key = Route{Mirror: Other, Entry: Other, Method: Other, Template: Other}
		}
		if r = j.counts.Routes[key]; r == nil {
			r = &RouteCounts{PrimaryLatency: Durations{}, ShadowLatency: Durations{}}
			j.counts.Routes[key] = r
		}
	}
	return r
}

// compare counts the differences of a side's answer that can be told by now.
func (j *Joiner) compare(r *request, s Side) {
	primary, other := r.of(Primary), r.of(s)
	if primary == nil || other == nil || !primary.Ending.comparable() || !other.Ending.comparable() {
		return
	}
	route := j.route(primary)
	class := route.class(statusClass(primary.Status))
	ignore := j.ignore[primary.Mirror]
	var found []Field
	if !r.compared[s] {
		r.compared[s] = true
		class.Answers.add(s, 1)
		found = compareAnswers(primary, other)
		if s == Shadow && primary.Ending == Whole && other.Ending == Whole {
			route.PrimaryLatency.add(primary.Duration)
			route.ShadowLatency.add(other.Duration)
		}
	}
	if p, o := r.samples[Primary], r.samples[s]; !r.bodies[s] && p != nil && o != nil && p.Body != nil && o.Body != nil {
		r.bodies[s] = true
		class.Headers.add(s, 1)
		found = append(found, compareHeaders(p.Header, o.Header)...)
		// What another status says is another text: its status is the difference.
		if p.Status == o.Status && p.GRPCStatus == o.GRPCStatus {
			class.Bodies.add(s, 1)
			found = append(found, CompareBodies(p, o)...)
		}
	}
	for _, f := range found {
		if ignore.Match(f) {
			continue
		}
		n := class.Fields[f]
		if n == nil {
			if route.fields() >= j.opts.Fields {
				class.OtherFields.add(s, 1)
				continue
			}
			n = &FieldCounts{}
			class.Fields[f] = n
		}
		n.add(s, 1)
		if s == Shadow {
			n.seen(other.At, clip(r.key.id))
		}
	}
}

// statusClass returns 2xx for 200.
func statusClass(status int) string {
	if status < 100 || status > 599 {
		return "none"
	}
	return strconv.Itoa(status/100) + "xx"
}

// compareAnswers compares what a log's line tells, but for the time.
func compareAnswers(p, o *Answer) (found []Field) {
	switch {
	case p.Ending != o.Ending:
		return []Field{{KindEnding, p.Ending.String() + "→" + o.Ending.String()}}
	case p.Status != o.Status:
		return []Field{{KindStatus, strconv.Itoa(p.Status) + "→" + strconv.Itoa(o.Status)}}
	case p.GRPC && p.GRPCStatus != o.GRPCStatus:
		return []Field{{KindGRPCStatus, strconv.Itoa(p.GRPCStatus) + "→" + strconv.Itoa(o.GRPCStatus)}}
	case p.BodyBytes != o.BodyBytes:
		return []Field{{KindSize, "body.size"}}
	}
	return nil
}

func compareHeaders(p, o map[string]string) (found []Field) {
	for name, v := range p {
		if w, ok := o[name]; !ok {
			found = append(found, Field{KindMissing, "header." + clip(name)})
		} else if v != w {
			found = append(found, Field{KindValue, "header." + clip(name)})
		}
	}
	for name := range o {
		if _, ok := p[name]; !ok {
			found = append(found, Field{KindAdded, "header." + clip(name)})
		}
	}
	return found
}
