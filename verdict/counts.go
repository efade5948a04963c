package verdict

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// CountsVersion is the version of the form of Counts.
const CountsVersion = 1

// Other is the name of what is beyond a limit.
const Other = "other"

// Route is what pairs are grouped by.
type Route struct {
	Mirror, Entry, Method, Template string
}

// MarshalText encodes a route as a JSON list, which is the key in Counts.
func (r Route) MarshalText() ([]byte, error) {
	return json.Marshal([4]string{r.Mirror, r.Entry, r.Method, r.Template})
}

func (r *Route) UnmarshalText(text []byte) error {
	var l []string
	if err := json.Unmarshal(text, &l); err != nil {
		return err
	}
	if len(l) != 4 {
		return fmt.Errorf("route %q: want mirror, entry, method and template", text)
	}
	*r = Route{l[0], l[1], l[2], l[3]}
	return nil
}

// Field is something that differs.
type Field struct{ Kind, Name string }

// Kinds of differences.
const (
	KindStatus     = "status"  // Name is 200→404
	KindGRPCStatus = "grpc"    // Name is 0→13
	KindEnding     = "ending"  // Name is whole→reset
	KindSize       = "size"    // body.size
	KindMissing    = "missing" // in the shadow's answer
	KindAdded      = "added"   // to the shadow's answer
	KindType       = "type"    // body.price string→number
	KindValue      = "value"
	KindNumber     = "number" // equal numbers in another form: 1.0 and 1
	KindOrder      = "order"  // equal elements of an array in another order
	KindBytes      = "bytes"
)

func (f Field) String() string { return f.Kind + " " + f.Name }

func (f Field) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

func (f *Field) UnmarshalText(text []byte) error {
	var found bool
	if f.Kind, f.Name, found = strings.Cut(string(text), " "); !found {
		return fmt.Errorf("field %q: want kind and name", text)
	}
	return nil
}

// Reverse is the same difference with the sides swapped, if it has a direction.
func (f Field) Reverse() (Field, bool) {
	switch f.Kind {
	case KindMissing:
		return Field{KindAdded, f.Name}, true
	case KindAdded:
		return Field{KindMissing, f.Name}, true
	case KindStatus, KindGRPCStatus, KindEnding:
		from, to, ok := strings.Cut(f.Name, "→")
		return Field{f.Kind, to + "→" + from}, ok
	case KindType:
		name, types, ok := strings.Cut(f.Name, " ")
		from, to, arrow := strings.Cut(types, "→")
		return Field{f.Kind, name + " " + to + "→" + from}, ok && arrow
	}
	return Field{}, false
}

// part is what of an answer was compared, which decides what a share is of.
func (f Field) part() part {
	switch {
	case f.Kind == KindStatus || f.Kind == KindGRPCStatus || f.Kind == KindEnding || f.Kind == KindSize:
		return partAnswer
	case strings.HasPrefix(f.Name, "header."):
		return partHeader
	}
	return partBody
}

type part uint8

const (
	partAnswer part = iota
	partHeader
	partBody
)

// Both counts something for shadow and control, each against the primary.
type Both struct {
	Shadow  uint64 `json:"shadow,omitempty"`
	Control uint64 `json:"control,omitempty"`
}

func (b *Both) add(s Side, n uint64) {
	if s == Control {
		b.Control += n
	} else {
		b.Shadow += n
	}
}

func (b Both) plus(o Both) Both { return Both{b.Shadow + o.Shadow, b.Control + o.Control} }

func (b Both) minus(o Both) Both {
	return Both{b.Shadow - min(b.Shadow, o.Shadow), b.Control - min(b.Control, o.Control)}
}

// maxIDs bounds the request ids of a field.
const maxIDs = 3

// FieldCounts is how often a field differed. Times and ids are of the shadow.
type FieldCounts struct {
	Both
	First      time.Time `json:"first,omitzero"`
	Last       time.Time `json:"last,omitzero"`
	RequestIDs []string  `json:"requestIds,omitempty"`
}

// ClassCounts are the comparisons where the primary's status was of one class.
type ClassCounts struct {
	// Answers, Headers and Bodies are the comparisons of each part.
	Answers Both                   `json:"answers,omitzero"`
	Headers Both                   `json:"headers,omitzero"`
	Bodies  Both                   `json:"bodies,omitzero"`
	Fields  map[Field]*FieldCounts `json:"fields,omitempty"`
	// OtherFields counts the differences in fields beyond the limit.
	OtherFields Both `json:"otherFields,omitzero"`
}

func (c *ClassCounts) trials(p part) Both { return [...]Both{c.Answers, c.Headers, c.Bodies}[p] }

// RouteCounts are the counts of a route.
type RouteCounts struct {
	Classes map[string]*ClassCounts `json:"classes,omitempty"`
	// Unpaired has the reasons for which there was nothing to compare.
	Unpaired map[string]uint64 `json:"unpaired,omitempty"`
	// Latency has the durations of the pairs by side.
	PrimaryLatency Durations `json:"primaryLatency,omitempty"`
	ShadowLatency  Durations `json:"shadowLatency,omitempty"`
}

// Pairs is the number of shadow's answers that were compared.
func (r *RouteCounts) Pairs() uint64 {
	var n uint64
	for _, c := range r.Classes {
		n += c.Answers.Shadow
	}
	return n
}

// Counts are what a joiner found, without bodies and values.
type Counts struct {
	Version int                    `json:"version"`
	Routes  map[Route]*RouteCounts `json:"routes"`
}

// NewCounts returns empty counts.
func NewCounts() *Counts { return &Counts{Version: CountsVersion, Routes: map[Route]*RouteCounts{}} }

// Clone returns a copy.
func (c *Counts) Clone() *Counts {
	out := NewCounts()
	out.Merge(c)
	return out
}

// Merge adds the counts of another collector.
func (c *Counts) Merge(o *Counts) { c.combine(o, true) }

// Sub takes earlier counts away, so that those since then remain.
func (c *Counts) Sub(o *Counts) { c.combine(o, false) }

func (c *Counts) combine(o *Counts, add bool) {
	both := Both.minus
	number := func(a, b uint64) uint64 { return a - min(a, b) }
	if add {
		both = Both.plus
		number = func(a, b uint64) uint64 { return a + b }
	}
	for key, from := range o.Routes {
		to := c.Routes[key]
		if to == nil {
			if !add {
				continue
			}
			to = &RouteCounts{}
			c.Routes[key] = to
		}
		to.Unpaired = combined(to.Unpaired, from.Unpaired, number)
		to.PrimaryLatency = combined(to.PrimaryLatency, from.PrimaryLatency, number)
		to.ShadowLatency = combined(to.ShadowLatency, from.ShadowLatency, number)
		for name, class := range from.Classes {
			in := to.class(name)
			in.Answers, in.Headers = both(in.Answers, class.Answers), both(in.Headers, class.Headers)
			in.Bodies, in.OtherFields = both(in.Bodies, class.Bodies), both(in.OtherFields, class.OtherFields)
			for f, n := range class.Fields {
				field := in.Fields[f]
				if field == nil {
					if !add {
						continue
					}
					field = &FieldCounts{}
					in.Fields[f] = field
				}
				if field.Both = both(field.Both, n.Both); field.Both == (Both{}) {
					delete(in.Fields, f)
				}
				if add {
					field.seen(n.First, n.RequestIDs...)
					field.seen(n.Last)
				}
			}
		}
	}
}

func combined[K comparable](a, b map[K]uint64, f func(a, b uint64) uint64) map[K]uint64 {
	for k, n := range b {
		if v := f(a[k], n); v == 0 {
			delete(a, k)
		} else {
			if a == nil {
				a = map[K]uint64{}
			}
			a[k] = v
		}
	}
	return a
}

func (f *FieldCounts) seen(at time.Time, ids ...string) {
	if at.IsZero() {
		return
	}
	if f.First.IsZero() || at.Before(f.First) {
		f.First = at
	}
	if at.After(f.Last) {
		f.Last = at
	}
	for _, id := range ids {
		if len(f.RequestIDs) < maxIDs && !slices.Contains(f.RequestIDs, id) {
			f.RequestIDs = append(f.RequestIDs, id)
		}
	}
}

func (r *RouteCounts) class(name string) *ClassCounts {
	c := r.Classes[name]
	if c == nil {
		c = &ClassCounts{Fields: map[Field]*FieldCounts{}}
		if r.Classes == nil {
			r.Classes = map[string]*ClassCounts{}
		}
		r.Classes[name] = c
	}
	if c.Fields == nil {
		c.Fields = map[Field]*FieldCounts{}
	}
	return c
}

func (r *RouteCounts) fields() int {
	n := 0
	for _, c := range r.Classes {
		n += len(c.Fields)
	}
	return n
}

func (r *RouteCounts) unpaired(reason string) {
	if r.Unpaired == nil {
		r.Unpaired = map[string]uint64{}
	}
	if _, known := r.Unpaired[reason]; !known && len(r.Unpaired) >= 50 {
		reason = Other
	}
	r.Unpaired[reason]++
}

// Durations counts durations in steps of 2 %; the key k stands for 1.02^k µs.
type Durations map[int]uint64

var step = math.Log(1.02)

func (d Durations) add(t time.Duration) {
	d[int(math.Round(math.Log(max(1, float64(t)/float64(time.Microsecond)))/step))]++
}

// rank returns the duration of the given rank, from 1.
func (d Durations) rank(rank uint64) time.Duration {
	for _, k := range slices.Sorted(maps.Keys(d)) {
		if n := d[k]; rank > n {
			rank -= n
			continue
		}
		return time.Duration(math.Exp(float64(k)*step) * float64(time.Microsecond))
	}
	return 0
}
