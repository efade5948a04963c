package plugin

import (
	"slices"
	"sync"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// Note is what a host remembers of one proxy between two runs of Apply.
type Note struct {
	// Findings are what somebody should know, a line each.
	Findings []string
	// States counts the mirrors by what became of them.
	States map[State]int
}

// Note is what is worth remembering of the report: its problems, and how many
// mirrors are in which state.
func (r Report) Note() Note {
	var note Note
	for _, o := range r.Problems() {
		note.Findings = append(note.Findings, o.String())
	}
	if len(r) > 0 {
		note.States = map[State]int{}
	}
	for _, o := range r {
		note.States[o.State]++
	}
	return note
}

// Journal remembers a Note on each proxy, so that a host that computes its
// proxies again and again can say what changed instead of repeating itself. The
// zero value is empty and ready to use, by several goroutines at once.
type Journal struct {
	mu    sync.RWMutex
	notes map[api.Key]Note
}

// Record takes down the newest note on a proxy, the zero Note where there is
// nothing to remember. It returns the findings that are new since the last one,
// and those that no longer hold.
func (j *Journal) Record(proxy api.Key, note Note) (begun, ended []string) {
	last := j.note(proxy)
	empty := len(note.Findings) == 0 && len(note.States) == 0
	if empty && len(last.Findings) == 0 && len(last.States) == 0 {
		return nil, nil // the usual case: a proxy without mirrors
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	last = j.notes[proxy]
	if empty {
		delete(j.notes, proxy)
	} else {
		if j.notes == nil {
			j.notes = map[api.Key]Note{}
		}
		j.notes[proxy] = note
	}
	return without(note.Findings, last.Findings), without(last.Findings, note.Findings)
}

// States counts the mirrors of all proxies by what became of them.
func (j *Journal) States() map[State]int {
	j.mu.RLock()
	defer j.mu.RUnlock()
	total := map[State]int{}
	for _, note := range j.notes {
		for state, n := range note.States {
			total[state] += n
		}
	}
	return total
}

func (j *Journal) note(proxy api.Key) Note {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.notes[proxy]
}

// without returns the lines that are not among the others, each once.
func without(lines, others []string) []string {
	var out []string
	for _, line := range lines {
		if !slices.Contains(others, line) && !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return out
}
