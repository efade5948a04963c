package files

import (
	"fmt"
	"io/fs"
	"time"
)

const (
	// settled is how long a file that is written in place has to be left alone
	// before it is read: a writer may pause in the middle.
	settled = 500 * time.Millisecond
	// settledLate is settled for a file that has grown while it was waited for,
	// and for an empty one, which its writer may have emptied first.
	settledLate = time.Second
	// heldOpen is how long a writer may leave a file alone and keep it open;
	// then it counts as done.
	heldOpen = 5 * time.Second
	// pollOpen is how often is looked whether a writer is done.
	pollOpen = 20 * time.Millisecond
	// tooLong is how long a file may be written to before that is a problem.
	tooLong = 10 * time.Second
)

// writing is a file that is written in place, and not in use as it is now.
type writing struct {
	began, last time.Time // the first write and the latest
	size        int64     // when it was last looked at
	grows       bool
	seen        bool // by the scan
}

// wrote notes a write to the file that real names.
func (s *Source) wrote(real string, at time.Time) *writing {
	w := s.writing[real]
	if w == nil {
		w = &writing{began: at, size: -1}
		s.writing[real] = w
	}
	if at.After(w.last) {
		w.last = at
	}
	return w
}

// whole reports whether the changed file that real names may be read: nobody
// writes it any more, as far as can be told. One that was renamed to its place,
// or that a symbolic link leads to now, is whole at once.
func (s *Source) whole(path, real string, info fs.FileInfo, now time.Time) bool {
	modified := info.ModTime()
	if modified.After(now) {
		modified = time.Time{} // by another clock
	}
	w := s.writing[real]
	if w == nil && !(s.blind && now.Sub(modified) < settled) && info.Size() > 0 && !openForWriting(real) {
		return true
	}
	w = s.wrote(real, modified)
	w.seen = true
	w.grows = w.grows || w.size >= 0 && info.Size() > w.size
	w.size = info.Size()
	quiet := settled
	if w.grows || w.size == 0 {
		quiet = settledLate
	}
	due := w.last.Add(quiet)
	if !now.Before(due) {
		if !openForWriting(real) || now.Sub(w.last) >= heldOpen {
			delete(s.writing, real)
			return true
		}
		due = now.Add(pollOpen)
	}
	s.wakeAt(due)
	if now.Sub(w.began) >= tooLong {
		s.fail(path, now, fmt.Errorf("has been written to for more than %s: it is read when it has been left alone for %s", tooLong, quiet))
	}
	return false
}
