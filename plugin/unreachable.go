package plugin

import (
	"maps"
	"slices"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// maxEffort bounds the search for entries that never match, in comparisons of
// short texts: a document of 50 MB must not keep anybody waiting. Two thousand
// entries stay within it.
const maxEffort = 4_000_000

// Warnings returns what the author of a valid TrafficRoute should know though
// nothing is wrong: entries that no request can reach, mirrors that are off,
// copies that go to the primary. It warns only of what is certain whatever the
// outbounds are.
func Warnings(r *api.Resource) api.Violations {
	spec, ok := r.Spec.(*api.TrafficRoute)
	if !ok {
		return nil
	}
	c := &checker{resource: r}
	c.unreachable(r.SpecPath().Field("conf"), spec.GetConf())
	for i, h := range spec.GetConf().GetHttp() {
		at := r.SpecPath().Field("conf").Field("http").Index(i)
		c.matchWarnings(at.Field("match"), h.GetMatch())
		c.framingWarnings(at.Field("modify"), h.GetModify())
	}
	for at, e := range spec.Entries() {
		c.mirrorWarnings(r.SpecPath().Field(string(at)), e)
	}
	return c.found
}

// mirrorWarnings looks at the mirrors of one entry.
func (c *checker) mirrorWarnings(at api.Path, e api.Entry) {
	primary := onlyDestination(e.GetSplit(), e.GetDestination())
	for at, m := range api.MirrorsOf(at, e) {
		if xds.Percentage(m) == 0 {
			c.add(at.Field("percentage"), "is 0: the mirror is switched off")
			continue
		}
		if len(primary) > 0 && maps.Equal(primary, m.GetDestination()) {
			c.add(at.Field("destination"), "is the primary's: it gets each of these requests twice")
		}
	}
}

// onlyDestination returns the destination that gets all the traffic, nil where
// several share it.
func onlyDestination(split []*api.TrafficRoute_Split, destination map[string]string) map[string]string {
	if len(destination) > 0 {
		return destination
	}
	var only map[string]string
	for _, s := range split {
		switch {
		case s.GetWeight().GetValue() == 0:
		case only == nil:
			only = s.GetDestination()
		case !maps.Equal(only, s.GetDestination()):
			return nil
		}
	}
	return only
}

// unreachable finds entries of conf.http that never match, because of how they
// are written or because an earlier one takes all their requests, and mirrors
// of conf that for the same reason never copy anything.
func (c *checker) unreachable(at api.Path, conf *api.TrafficRoute_Conf) {
	http := at.Field("http")
	var earlier earlierEntries
	for i, h := range conf.GetHttp() {
		rs := requestsOf(h.GetMatch())
		if p := rs.path; p.kind != regexText && strings.ContainsAny(p.text, "?#") {
			c.add(http.Index(i).Field("match").Field("path"), "never matches: a path is compared without its query, so it has neither ? nor #")
		} else if j := earlier.including(rs); j >= 0 {
			c.add(http.Index(i), "never matches: %s comes first and takes all its requests", http.Index(j))
		}
		earlier.requests = append(earlier.requests, rs)
	}
	if j := earlier.including(requestsOf(nil)); j >= 0 {
		for at := range api.MirrorsOf(at, conf) {
			c.add(at, "never copies anything: %s takes all requests", http.Index(j))
		}
	}
}

// earlierEntries are the entries before one.
type earlierEntries struct {
	requests []requests
	effort   int
}

// including returns the first entry that matches all of rs, -1 where none
// certainly does or the effort is spent.
func (e *earlierEntries) including(rs requests) int {
	for i, r := range e.requests {
		if e.effort > maxEffort {
			return -1
		}
		if r.include(rs, &e.effort) {
			return i
		}
	}
	return -1
}

// requests are those that an entry matches.
type requests struct {
	method, path text
	headers      map[string][]text // by the name in lower case
}

// text is a set of texts: those that a StringMatcher matches.
type text struct {
	kind textKind
	text string
	// head is what each of the texts starts with.
	head string
}

type textKind int

const (
	unknownText textKind = iota
	prefixText
	exactText
	regexText
)

func requestsOf(match *api.TrafficRoute_Http_Match) requests {
	rs := requests{
		method:  text{kind: prefixText}, // every text has the empty prefix
		path:    text{prefixText, "/", "/"},
		headers: map[string][]text{},
	}
	if m := match.GetMethod(); m != nil {
		rs.method = textOf(m)
	}
	if m := match.GetPath(); m != nil {
		rs.path = textOf(m)
	}
	for name, m := range match.GetHeaders() {
		name = strings.ToLower(name)
		rs.headers[name] = append(rs.headers[name], textOf(m))
	}
	return rs
}

func textOf(m *api.TrafficRoute_Http_Match_StringMatcher) text {
	switch m.GetMatcherType().(type) {
	case *api.TrafficRoute_Http_Match_StringMatcher_Prefix:
		return text{prefixText, m.GetPrefix(), m.GetPrefix()}
	case *api.TrafficRoute_Http_Match_StringMatcher_Exact:
		return text{exactText, m.GetExact(), m.GetExact()}
	case *api.TrafficRoute_Http_Match_StringMatcher_Regex:
		return text{regexText, m.GetRegex(), literalHead(m.GetRegex())}
	default:
		return text{}
	}
}

// include reports whether all requests of o are certainly among rs, and adds
// what it took to effort.
func (rs requests) include(o requests, effort *int) bool {
	if !rs.path.includes(o.path, effort) || !rs.method.includes(o.method, effort) {
		return false
	}
	for name, all := range rs.headers {
		for _, t := range all {
			if !slices.ContainsFunc(o.headers[name], func(u text) bool { return t.includes(u, effort) }) {
				return false
			}
		}
	}
	return true
}

// includes reports whether all texts of o are certainly among those of t.
func (t text) includes(o text, effort *int) bool {
	*effort += 1 + len(t.text)/64
	switch {
	case t.kind == unknownText || o.kind == unknownText:
		return false
	case t.kind == prefixText:
		return strings.HasPrefix(o.head, t.text)
	default:
		return t == o
	}
}

// literalHead returns a text that everything starts with that the regular
// expression matches; not always the longest.
func literalHead(re string) string {
	if strings.Contains(re, "|") || strings.Contains(re, "(?") {
		return ""
	}
	i := strings.IndexAny(re, `\.+*?()[]{}^$`)
	if i < 0 {
		return re
	}
	head := re[:i]
	if strings.IndexByte("*?{", re[i]) >= 0 {
		// What this repeats, possibly not at all, is the last character.
		runes := []rune(head)
		head = string(runes[:max(0, len(runes)-1)])
	}
	return head
}
