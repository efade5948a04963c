package plugin

import (
	"maps"
	"slices"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

func (c *checker) match(at api.Path, match *api.TrafficRoute_Http_Match) {
	if match.GetMethod() == nil && match.GetPath() == nil && len(match.GetHeaders()) == 0 {
		c.add(at, `at least one of "method", "path" and "headers" is required`)
		return
	}
	if m := match.GetMethod(); m != nil {
		c.stringMatcher(at.Field("method"), m)
	}
	if m := match.GetPath(); m != nil {
		c.pathMatcher(at.Field("path"), m)
	}
	for _, name := range slices.Sorted(maps.Keys(match.GetHeaders())) {
		header := at.Field("headers").Key(name)
		// The pseudo-headers can be matched, :authority above all.
		if !isToken(strings.TrimPrefix(name, ":")) || len(name) > maxHeaderBytes {
			c.add(header, "is not the name of a header: %s", headerNameWords)
		}
		c.stringMatcher(header, match.GetHeaders()[name])
	}
}

func (c *checker) stringMatcher(at api.Path, m *api.TrafficRoute_Http_Match_StringMatcher) {
	switch m.GetMatcherType().(type) {
	case *api.TrafficRoute_Http_Match_StringMatcher_Exact:
	case *api.TrafficRoute_Http_Match_StringMatcher_Prefix:
		if m.GetPrefix() == "" {
			c.add(at.Field("prefix"), "must not be empty")
		}
	case *api.TrafficRoute_Http_Match_StringMatcher_Regex:
		c.regex(at.Field("regex"), m.GetRegex())
	default:
		c.add(at, `one of "exact", "prefix" and "regex" is required`)
	}
}

// pathMatcher refuses what Envoy accepts but no path can be: each starts with a
// slash.
func (c *checker) pathMatcher(at api.Path, m *api.TrafficRoute_Http_Match_StringMatcher) {
	switch m.GetMatcherType().(type) {
	case *api.TrafficRoute_Http_Match_StringMatcher_Exact:
		c.startsWithSlash(at.Field("exact"), m.GetExact())
	case *api.TrafficRoute_Http_Match_StringMatcher_Prefix:
		c.startsWithSlash(at.Field("prefix"), m.GetPrefix())
	default:
		c.stringMatcher(at, m)
	}
}

func (c *checker) startsWithSlash(at api.Path, path string) {
	if !strings.HasPrefix(path, "/") {
		c.add(at, "is %q; must start with /", path)
	}
}
