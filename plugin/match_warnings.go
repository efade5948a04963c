package plugin

import (
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// matchWarnings finds what is valid and matches no request that clients send,
// or less than was meant.
func (c *checker) matchWarnings(at api.Path, match *api.TrafficRoute_Http_Match) {
	if kind, text := literal(match.GetMethod()); text != strings.ToUpper(text) {
		c.add(at.Field("method").Field(kind), "is %q: methods are compared letter by letter, and clients send %s", text, strings.ToUpper(text))
	}
	kind, text := literal(match.GetPath())
	field := at.Field("path").Field(kind)
	if strings.Contains(text, "*") {
		meant, _, _ := strings.Cut(text, "*")
		c.add(field, `has a *, which stands for itself here: for every path that begins with %s write prefix: %s`, meant, meant)
	}
	if i := strings.IndexFunc(text, unsendable); i >= 0 {
		c.add(field, "is %q: clients send spaces, control characters and what is not ASCII as %%XX, and paths are compared as they were sent", text)
	}
}

// literal returns the kind and text of a matcher that compares letter by letter;
// nothing of a regular expression.
func literal(m *api.TrafficRoute_Http_Match_StringMatcher) (kind, text string) {
	switch t := textOf(m); t.kind {
	case exactText:
		return "exact", t.text
	case prefixText:
		return "prefix", t.text
	}
	return "", ""
}

// unsendable reports whether a character cannot be in the path of a request line.
func unsendable(r rune) bool { return r <= ' ' || r >= 0x7f }
