package verdict

import (
	"strings"
	"unicode/utf8"
)

const (
	maxSegments = 12
	maxName     = 256
)

// Template returns the path without query in which identifiers are a *.
func Template(path string) string {
	path, _, _ = strings.Cut(path, "?")
	path, _, _ = strings.Cut(path, "#")
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(segments) > maxSegments {
		segments = append(segments[:maxSegments], "...")
	}
	for i, s := range segments {
		if isData(s) {
			segments[i] = "*"
		}
	}
	return clip("/" + strings.Join(segments, "/"))
}

// isData says whether a name is data rather than a name: a number, a UUID, a
// hash, a date, an address or a long token.
func isData(s string) bool {
	if s == "" {
		return false
	}
	digits, letters, hex, other := 0, 0, 0, 0
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case r >= 'a' && r <= 'f' || r >= 'A' && r <= 'F':
			letters++
			hex++
		case r >= 'g' && r <= 'z' || r >= 'G' && r <= 'Z':
			letters++
		case r == '-' || r == '_' || r == '.':
		default:
			other++
		}
	}
	switch {
	case other > 0 && strings.ContainsAny(s, "@:%=+,;"), len(s) > 40:
		return true
	case digits == 0:
		return len(s) >= 32 && hex == len(s)
	case letters == 0:
		return true
	case letters == hex && digits+hex >= 8:
		return true
	}
	return digits >= 4 || len(s) >= 16 && digits >= 3
}

// clip bounds a name.
func clip(s string) string {
	if len(s) <= maxName {
		return s
	}
	n := maxName
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
