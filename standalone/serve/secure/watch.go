package secure

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// interval is how often files are read again. They are small, and reading
	// them sees every way of replacing one: written in place, renamed over,
	// or a symbolic link that is swapped, as Kubernetes does.
	interval = time.Second
	// maxFile is the most that is read of one.
	maxFile = 1 << 20
)

// Watched is a value made of files. When they change, so does the value; when
// what they hold becomes bad, the last good value stays. Its methods may be
// called from any goroutine.
type Watched[T any] struct {
	what  string
	files []string
	parse func(contents [][]byte) (T, error)

	value atomic.Pointer[T]

	mu      sync.Mutex // of what follows, and of changes
	sum     [sha256.Size]byte
	problem string // of the last reading; "" when it was good
	told    bool   // whether the problem was logged
}

// Watch reads files and makes a value of what they hold; what is the value's
// name in logs and errors.
func Watch[T any](what string, files []string, parse func(contents [][]byte) (T, error)) (*Watched[T], error) {
	w := &Watched[T]{what: what, files: files, parse: parse}
	contents, err := w.read()
	if err != nil {
		return nil, err
	}
	value, err := parse(contents)
	if err != nil {
		return nil, w.explain(err)
	}
	w.sum = sum(contents)
	w.value.Store(&value)
	return w, nil
}

// Value returns the last good one.
func (w *Watched[T]) Value() T { return *w.value.Load() }

// Run reads the files again every second until ctx ends, and calls changed,
// which may be nil, after each change of the value. While that fails it is called
// again every second.
func (w *Watched[T]) Run(ctx context.Context, log *slog.Logger, changed func() error) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var due bool       // whether changed is to be called
	var problem string // of the last call; "" when it was good
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		due = w.refresh(log) || due
		if !due || changed == nil {
			continue
		}
		err := changed()
		due = err != nil
		switch {
		case err != nil && err.Error() != problem:
			problem = err.Error()
			log.Error("was read again, but is not in use yet; trying again every second: "+w.what, "problem", problem)
		case err == nil && problem != "":
			problem = ""
			log.Info("in use now: "+w.what, "files", strings.Join(w.files, ", "))
		}
	}
}

// refresh reads the files and reports whether there is another value.
func (w *Watched[T]) refresh(log *slog.Logger) (changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	contents, err := w.read()
	if err == nil {
		now := sum(contents)
		if now == w.sum {
			w.good(log)
			return false
		}
		var value T
		if value, err = w.parse(contents); err == nil {
			w.sum = now
			w.value.Store(&value)
			w.told = false
			w.good(log)
			log.Info("read again: "+w.what, "files", strings.Join(w.files, ", "))
			return true
		}
		err = w.explain(err)
	}
	// A file that is being written, or a certificate whose key follows, is bad
	// for a moment: told is what is bad twice.
	if text := err.Error(); text != w.problem {
		w.problem, w.told = text, false
	} else if !w.told {
		w.told = true
		log.Error("cannot be used; what was read before stays in use: "+w.what, "problem", text)
	}
	return false
}

func (w *Watched[T]) good(log *slog.Logger) {
	if w.told {
		log.Info("as it was before, and good: "+w.what, "files", strings.Join(w.files, ", "))
	}
	w.problem, w.told = "", false
}

func (w *Watched[T]) explain(err error) error {
	return fmt.Errorf("%s: %w", strings.Join(w.files, " and "), err)
}

func (w *Watched[T]) read() ([][]byte, error) {
	contents := make([][]byte, len(w.files))
	for i, name := range w.files {
		var err error
		if contents[i], err = readFile(name); err != nil {
			return nil, err
		}
	}
	return contents, nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("%s: has more than %d bytes", name, maxFile)
	}
	return content, nil
}

// sum tells contents apart, and where one file ends and the next begins.
func sum(contents [][]byte) [sha256.Size]byte {
	h := sha256.New()
	for _, c := range contents {
		one := sha256.Sum256(c)
		h.Write(one[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}
