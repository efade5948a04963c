package catalog

import "strings"

// If is the condition of a write, as in the headers If-Match and If-None-Match
// of RFC 9110: "*" or a list of entity tags; empty where there is none.
type If struct{ Match, NoneMatch string }

// holds reports whether the condition is that of the resource in use, which may
// be nil.
func (i If) holds(it *item) bool {
	matches := func(list string, weak bool) bool { return it != nil && Matches(list, it.entry.ETag, weak) }
	if i.Match != "" && !matches(i.Match, false) {
		return false
	}
	return i.NoneMatch == "" || !matches(i.NoneMatch, true)
}

// Matches looks for an entity tag in a list of them, the weak ones of which may
// count; "*" has them all. What is no list has nothing in it.
func Matches(list, etag string, weak bool) bool {
	rest := strings.TrimSpace(list)
	if rest == "*" {
		return true
	}
	for rest != "" {
		tag, isWeak := strings.CutPrefix(rest, "W/")
		if !strings.HasPrefix(tag, `"`) {
			return false
		}
		end := strings.IndexByte(tag[1:], '"')
		if end < 0 {
			return false
		}
		if tag[:end+2] == etag && (weak || !isWeak) {
			return true
		}
		rest = strings.TrimLeft(tag[end+2:], " \t,")
	}
	return false
}
