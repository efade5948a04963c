package carrier

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// emptyText is a text of no bytes: Kuma allows no tag without a value.
const emptyText = "::"

// escape writes a text with the characters that Kuma allows in the values of
// tags: letters, digits, dots, dashes and underscores stand for themselves,
// every other byte becomes a colon and two hex digits.
func escape(text string) string {
	if text == "" {
		return emptyText
	}
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; isPlain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, ":%02x", c)
		}
	}
	return b.String()
}

// unescape is the inverse of escape.
func unescape(value string) (string, error) {
	if value == emptyText {
		return "", nil
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case isPlain(c):
			b.WriteByte(c)
		case c != ':':
			return "", fmt.Errorf("has %q at byte %d: only letters, digits, dots, dashes and underscores stand for themselves, every other byte is a colon and two hex digits", c, i)
		case i+3 > len(value):
			return "", fmt.Errorf("ends in %q, in the middle of a character: a colon is followed by two hex digits", value[i:])
		default:
			decoded, err := hex.DecodeString(value[i+1 : i+3])
			if err != nil {
				return "", fmt.Errorf("has %q at byte %d: a colon is followed by two hex digits", value[i:i+3], i)
			}
			b.Write(decoded)
			i += 2
		}
	}
	return b.String(), nil
}

func isPlain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_'
}
