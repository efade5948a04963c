package carrier

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// Decode returns a TrafficRoute with its carriers turned back into mirrors. A
// spec without carriers is returned as it is; spec itself is never changed.
//
// An entry with a carrier that is damaged, or that says what a mirror may not,
// has no mirror at all; its split stays as it is, and the problems say what is
// wrong. The mirrors of the other entries are valid. Whether the rest of spec
// is valid is not looked at.
//
// Kuma hands its plugins a TrafficRoute with the tags of an outbound in all
// destinations; Decode reads that as well.
func Decode(spec *api.TrafficRoute) (*api.TrafficRoute, []Problem) {
	if !Has(spec) {
		return spec, nil
	}
	decoded := proto.CloneOf(spec)
	var readings []*reading
	for at, e := range decoded.Entries() {
		if hasTags(e) {
			readings = append(readings, read(at, e))
		}
	}
	validate(decoded, readings)
	var problems []Problem
	for _, r := range readings {
		r.store()
		problems = append(problems, r.problems...)
	}
	return decoded, problems
}

// reading is what the carriers of one entry say.
type reading struct {
	at       api.Path
	entry    api.Entry
	problems []Problem
	carried  []carried
	// rest is the split without openers and carriers.
	rest []*api.TrafficRoute_Split
}

// carried is the mirror of one carrier.
type carried struct {
	mirror *api.TrafficRoute_Mirror
	form   form
	// index of the carrier in the split.
	index int
	// paths of the fields that could be read.
	paths []string
	// broken says that others could not.
	broken bool
}

// form is how mirror and primary of an entry were written.
type form struct {
	// list is how many mirrors stand in `mirrors`; 0 where it is `mirror`.
	list        int
	destination bool
}

func (r *reading) add(at api.Path, format string, args ...any) {
	r.problems = append(r.problems, Problem{At: at, Message: fmt.Sprintf(format, args...)})
}

// destinationAt is the path of the destination of a split entry.
func (r *reading) destinationAt(index int) api.Path {
	return r.at.Field("split").Index(index).Field("destination")
}

// read reads an entry that has carrier tags.
func read(at api.Path, e api.Entry) *reading {
	r := &reading{at: at, entry: e}
	for at := range api.MirrorsOf(at, e) {
		r.add(at, "stands in one entry with a carrier, which is a mirror too: decode the resource, or remove one of the two")
	}
	for _, name := range carrierTags(e.GetDestination()) {
		r.add(at.Field("destination").Key(name), "belongs to the carrier of a mirror, which is a split entry of weight 0")
	}
	for i, s := range e.GetSplit() {
		if !isCarrier(s.GetDestination()) {
			r.rest = append(r.rest, s)
			continue
		}
		r.pair(i)
		r.carrier(i, s.GetDestination())
	}
	split := at.Field("split")
	switch {
	case slices.ContainsFunc(r.carried, func(c carried) bool { return c.form != r.carried[0].form }):
		r.add(split, "has carriers that do not belong together: %s and %s have to be the same in all", listTag, primaryTag)
	case len(r.carried) > 1 && r.carried[0].form.list == 0:
		r.add(split, "has %d carriers: without %s there is one mirror only", len(r.carried), listTag)
	case len(r.problems) == 0 && r.carried[0].form.list > 0 && r.carried[0].form.list != len(r.carried):
		r.add(split, "has %d of the %d carriers that %s says: encode the policy again", len(r.carried), r.carried[0].form.list, listTag)
	}
	return r
}

// pair takes the opener of the carrier at the index out of the rest.
func (r *reading) pair(index int) {
	at, split := r.at.Field("split").Index(index), r.entry.GetSplit()
	if !hasNoWeight(split[index]) {
		r.add(at.Field("weight"), "is %d; the carrier of a mirror has weight 0", split[index].GetWeight().GetValue())
	}
	if index > 0 && hasNoWeight(split[index-1]) && maps.Equal(split[index-1].GetDestination(), withoutCarrier(split[index].GetDestination())) {
		r.rest = r.rest[:len(r.rest)-1]
		return
	}
	r.add(at, "has no partner: before the carrier of a mirror stands an entry with weight 0 and with the same tags but those that start with %s", Prefix)
}

func hasNoWeight(s *api.TrafficRoute_Split) bool { return s.GetWeight().GetValue() == 0 }

// carrier reads the carrier at the index.
func (r *reading) carrier(index int, tags map[string]string) {
	at := r.destinationAt(index)
	switch v, ok := tags[versionTag]; {
	case !ok:
		r.add(at.Key(versionTag), "is missing; it has to be %q", version)
		return
	case v != version:
		r.add(at.Key(versionTag), "is %q; this version of kuma-mirror reads %q only: update it, or encode the policy again with this one", v, version)
		return
	}
	c := carried{mirror: &api.TrafficRoute_Mirror{Destination: withoutCarrier(tags)}, index: index}
	var paths []string
	fields := 0
	for _, name := range carrierTags(tags) {
		value := tags[name]
		wildcard, isWildcard := strings.CutPrefix(name, anyPrefix)
		switch {
		case name == versionTag, name == fieldsTag:
		case name == listTag:
			c.form.list = r.number(at, name, value)
		case name == primaryTag:
			c.form.destination = r.constant(at, name, value, asDestination)
		case isWildcard:
			fields++
			// A tag that has a value by now got it from an outbound.
			if _, ok := c.mirror.Destination[wildcard]; r.constant(at, name, value, yes) && !ok {
				c.mirror.Destination[wildcard] = api.MatchAll
			}
		default:
			fields++
			paths = append(paths, strings.TrimPrefix(name, Prefix))
		}
	}
	switch said, ok := tags[fieldsTag]; {
	case !ok && fields > 0:
		r.add(at.Key(fieldsTag), "is missing; it has to be %q, the number of tags that say something of the mirror", strconv.Itoa(fields))
		c.broken = true
	case ok && said != strconv.Itoa(fields):
		r.add(at.Key(fieldsTag), "is %q, and there are %d tags that say something of the mirror: encode the policy again, or write the number of those that should be there", said, fields)
		c.broken = true
	}
	slices.SortFunc(paths, comparePaths)
	for _, path := range paths {
		if err := set(c.mirror.ProtoReflect(), path, tags[Prefix+path]); err != nil {
			r.add(at.Key(Prefix+path), "%s", err)
			c.broken = true
			continue
		}
		c.paths = append(c.paths, path)
	}
	r.carried = append(r.carried, c)
}

// number reads a tag that counts something; 0 where it does not.
func (r *reading) number(at api.Path, name, value string) int {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || strconv.Itoa(n) != value {
		r.add(at.Key(name), "is %q; has to be the number of mirrors in the list", value)
		return 0
	}
	return n
}

// constant reports whether a tag has the only value that it can have.
func (r *reading) constant(at api.Path, name, value, want string) bool {
	if value != want {
		r.add(at.Key(name), "is %q; has to be %q", value, want)
	}
	return value == want
}

// isList reports whether the mirrors stand in a list.
func (r *reading) isList() bool {
	return len(r.carried) > 1 || slices.ContainsFunc(r.carried, func(c carried) bool { return c.form.list > 0 })
}

// place puts the mirrors into an entry.
func (r *reading) place(in slots) {
	for _, c := range r.carried {
		if r.isList() {
			*in.mirrors = append(*in.mirrors, c.mirror)
		} else {
			*in.mirror = c.mirror
		}
	}
}

// store puts what was read into the entry.
func (r *reading) store() {
	in := slotsOf(r.entry)
	*in.mirror, *in.mirrors = nil, nil
	if len(r.problems) > 0 {
		return
	}
	r.place(in)
	*in.split = r.rest
	// Somebody may have split the primary since.
	if r.carried[0].form.destination && len(r.rest) == 1 && !hasNoWeight(r.rest[0]) {
		*in.destination, *in.split = r.rest[0].GetDestination(), nil
	}
}
