package carrier

import (
	"slices"
	"strconv"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
)

// validate lets the policy judge what the carriers say.
func validate(spec *api.TrafficRoute, readings []*reading) {
	// Only the mirrors, in their places: what else there is stays unjudged.
	probe := &api.TrafficRoute{Conf: &api.TrafficRoute_Conf{}}
	for range spec.GetConf().GetHttp() {
		probe.Conf.Http = append(probe.Conf.Http, &api.TrafficRoute_Http{})
	}
	pending := readings
	for at, e := range probe.Entries() {
		if len(pending) > 0 && pending[0].at == at {
			pending[0].place(slotsOf(e))
			pending = pending[1:]
		}
	}
	violations := plugin.ValidateTrafficRoute(&api.Resource{Kind: api.KindTrafficRoute, Spec: probe})
	for _, r := range readings {
		r.judged(violations)
	}
}

// judged takes over the violations of the entry's mirrors, at the tags that
// they are about.
func (r *reading) judged(violations api.Violations) {
	for _, v := range violations {
		if v.Path == string(r.at.Field("mirrors")) {
			r.add(r.at.Field("split"), "%s", v.Message)
		}
		for i, c := range r.carried {
			mirror := r.at.Field("mirror")
			if r.isList() {
				mirror = r.at.Field("mirrors").Index(i)
			}
			field, ok := below(v.Path, mirror)
			if !ok {
				continue
			}
			at := r.destinationAt(c.index)
			if tag, ok := strings.CutPrefix(field, "destination"); ok {
				r.add(at+api.Path(tag), "%s", v.Message)
				continue
			}
			path := tagPath(field)
			if c.broken && !slices.Contains(c.paths, path) {
				continue // may follow from what could not be read
			}
			if path != "" {
				at = at.Key(Prefix + path)
			}
			r.add(at, "%s", v.Message)
		}
	}
}

// below returns what of a path is below the mirror's; false where it is the
// path of something else.
func below(path string, mirror api.Path) (string, bool) {
	if path == string(mirror) {
		return "", true
	}
	return strings.CutPrefix(path, string(mirror)+".")
}

// tagPath gives the path of a field as tags have it: requestHeaders.add[0].name
// is requestHeaders.add.0.name.
func tagPath(path string) string {
	var b strings.Builder
	for {
		before, after, more := strings.Cut(path, "[")
		b.WriteString(before)
		if !more {
			return b.String()
		}
		b.WriteByte('.')
		if quoted, err := strconv.QuotedPrefix(after); err == nil {
			key, _ := strconv.Unquote(quoted) // which QuotedPrefix has tried
			b.WriteString(asStep(escape(key)))
			after = after[len(quoted):]
		}
		index, rest, _ := strings.Cut(after, "]")
		b.WriteString(index)
		path = rest
	}
}
