package plugin

import (
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// RE2 refuses a program that exceeds 8 MiB ("pattern too large"), which takes
// some hundred thousand instructions. The estimate below errs to the large side;
// the bound leaves room still. It presumes a bootstrap that lifts
// `re2.max_program_size.error_level`, as Kuma's does: Envoy's own default
// refuses everything over 100 instructions.
const maxProgramSize = 100_000

// wideCost is what a character costs that takes several bytes in UTF-8, or one
// that has to be matched in both cases: RE2's programs work on bytes.
const wideCost = 12

// escapes finds the escapes whose meaning differs between Go and Envoy, stepping
// over others and over quoted text: the name of a class, or a character's number.
var escapes = regexp.MustCompile(`(?s)\\Q.*?(?:\\E|$)|\\[pP]\{\^?([^}]*)\}|\\x\{([0-9A-Fa-f]+)\}|\\.`)

// regex checks a regular expression and returns it parsed, nil where Envoy's
// RE2 would refuse it.
func (c *checker) regex(at api.Path, pattern string) *syntax.Regexp {
	if pattern == "" {
		c.add(at, "must not be empty")
		return nil
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		c.add(at, "is not a regular expression in RE2's syntax: %v", err)
		return nil
	}
	if why := foreignEscape(pattern); why != "" {
		c.add(at, "is not a regular expression that every Envoy takes: %s", why)
		return nil
	}
	if size := programSize(re); size > maxProgramSize {
		c.add(at, "is too large: its program takes about %d instructions, at most %d are allowed; repeat less", size, maxProgramSize)
		return nil
	}
	return re
}

// foreignEscape says which escape of a pattern Go knows but Envoy's RE2 does
// not, such as \p{Letter} for \p{L}; "" where there is none.
func foreignEscape(pattern string) string {
	for _, m := range escapes.FindAllStringSubmatch(pattern, -1) {
		class, number := m[1], m[2]
		if class != "" && class != "Any" && unicode.Scripts[class] == nil &&
			(unicode.Categories[class] == nil || class == "LC" || class == "Cn") {
			return `unknown class \p{` + class + `}`
		}
		// Since 1.40 Envoy matches bytes, and its RE2 knows no more.
		if n, err := strconv.ParseUint(number, 16, 32); err == nil && n > 0xff {
			return `\x{` + number + `} is above \x{ff}; write the character itself`
		}
	}
	return ""
}

// programSize estimates how many instructions RE2 compiles re to.
func programSize(re *syntax.Regexp) int {
	size := 2
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if r < utf8.RuneSelf && re.Flags&syntax.FoldCase == 0 {
				size++
			} else {
				size += wideCost
			}
		}
	case syntax.OpCharClass:
		for i := 1; i < len(re.Rune); i += 2 {
			if re.Rune[i] < utf8.RuneSelf {
				size++
			} else {
				size += wideCost
			}
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		size += wideCost
	case syntax.OpRepeat:
		return size + max(re.Min+1, re.Max)*programSize(re.Sub[0])
	}
	for _, sub := range re.Sub {
		size += programSize(sub)
	}
	return size
}

// regexReplace checks a pattern and the text that replaces what it matches.
// Envoy accepts a wrong reference and then replaces nothing.
func (c *checker) regexReplace(at api.Path, r *api.TrafficRoute_Http_Modify_RegexReplace) {
	re := c.regex(at.Field("pattern"), r.GetPattern())
	at, text := at.Field("substitution"), r.GetSubstitution()
	if text == "" {
		c.add(at, "must not be empty")
	}
	if strings.ContainsFunc(text, isControl) {
		c.add(at, "must not contain control characters")
	}
	for {
		_, rest, found := strings.Cut(text, `\`)
		if !found {
			return
		}
		switch {
		case rest != "" && rest[0] == '\\':
		case rest == "" || rest[0] < '0' || rest[0] > '9':
			c.add(at, `has a backslash without a group: allowed are \0 for the whole match, \1 to \9 for groups and \\ for a backslash`)
		case re != nil && int(rest[0]-'0') > re.MaxCap():
			c.add(at, `refers to group \%c; the pattern has %d`, rest[0], re.MaxCap())
		}
		text = rest[min(1, len(rest)):]
	}
}
