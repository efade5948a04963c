package status

import (
	"maps"
	"slices"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// placed is a mirror with the entry it stands in.
type placed struct {
	mirror *api.TrafficRoute_Mirror
	entry  api.Path
	match  string
}

// mirrorsOf returns the mirrors of a TrafficRoute by their paths, and the paths
// in order.
func mirrorsOf(spec *api.TrafficRoute) (map[api.Path]placed, []api.Path) {
	all := map[api.Path]placed{}
	var order []api.Path
	for at, e := range spec.Entries() {
		words := "everything else"
		if http, ok := e.(*api.TrafficRoute_Http); ok {
			words = matchWords(http.GetMatch())
		} else if len(spec.GetConf().GetHttp()) == 0 {
			words = "everything"
		}
		for path, m := range api.MirrorsOf(at, e) {
			all[path] = placed{mirror: m, entry: at, match: words}
			order = append(order, path)
		}
	}
	return all, order
}

// matchWords says what an entry matches.
func matchWords(m *api.TrafficRoute_Http_Match) string {
	var words []string
	add := func(what string, s *api.TrafficRoute_Http_Match_StringMatcher) {
		switch t := s.GetMatcherType().(type) {
		case *api.TrafficRoute_Http_Match_StringMatcher_Prefix:
			words = append(words, what+" prefix "+t.Prefix)
		case *api.TrafficRoute_Http_Match_StringMatcher_Exact:
			words = append(words, what+" "+t.Exact)
		case *api.TrafficRoute_Http_Match_StringMatcher_Regex:
			words = append(words, what+" regex "+t.Regex)
		}
	}
	add("path", m.GetPath())
	add("method", m.GetMethod())
	for _, name := range slices.Sorted(maps.Keys(m.GetHeaders())) {
		add("header "+name, m.GetHeaders()[name])
	}
	if len(words) == 0 {
		return "everything"
	}
	return strings.Join(words, ", ")
}
