package envoy

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// tail passes what is written on and remembers the last lines.
type tail struct {
	next io.Writer
	keep int

	mu      sync.Mutex
	lines   []string
	partial []byte
}

// maxLine bounds what is remembered of one line, in bytes.
const maxLine = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	rest := p
	for {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		t.partial = append(t.partial, line[:min(len(line), maxLine-len(t.partial))]...)
		if !ended {
			break
		}
		t.lines = append(t.lines, string(t.partial))
		if len(t.lines) > t.keep {
			t.lines = t.lines[1:]
		}
		t.partial, rest = t.partial[:0], after
	}
	t.mu.Unlock()
	return t.next.Write(p)
}

// String returns the last lines, indented.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := t.lines
	if len(t.partial) > 0 {
		lines = append(lines[:len(lines):len(lines)], string(t.partial))
	}
	return "  " + strings.Join(lines, "\n  ")
}
