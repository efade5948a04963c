// Package files is the source of resources that reads them from files and
// follows what happens to those.
package files

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

const (
	// quiet is how long nothing may have happened before the files are read,
	// so that a burst of writes is read once.
	quiet = 4 * time.Millisecond
	// patience bounds quiet where writes never pause.
	patience = 40 * time.Millisecond
	// settle is how long a file has to be bad, or gone, before that counts:
	// many editors and shells empty or move a file before they write it.
	settle = 200 * time.Millisecond
	// coarse is the worst resolution of modification times; a file that was
	// read so soon after its last change is read again.
	coarse = 2 * time.Second
)

// Options of Open.
type Options struct {
	// Check says what is wrong with all resources taken together, such as two
	// of one name; a violation's Source is that of the resource at fault.
	Check func([]*api.Resource) api.Violations
	// Log takes refused files; nil means slog.Default().
	Log *slog.Logger
}

// Source is the resources of files and directories.
//
// A directory stands for the files that api.Load reads of it.
//
// What runs is never taken down by a bad file: one that cannot be read, is
// invalid or does not go together with the others keeps the resources it held
// before (a new file has none) until it is good again. A file that is deleted
// takes its resources with it, as does one that has none any more; what was
// named to Open has to be there and keeps them. What is being written is not
// used: a file that is written in place is read once its writer seems to be done.
type Source struct {
	roots   []string
	options Options
	watches *watches
	writing map[string]*writing // by real paths

	// Of the scan that runs, or of the last one:
	again bool      // whether it asks for another
	blind bool      // whether writes before it may have gone unseen
	next  time.Time // when the next one is due; zero when none is

	mu    sync.Mutex // guards files for Status
	files map[string]*file
}

// file is what is known of one file.
type file struct {
	info   fs.FileInfo // when it was last read; nil when it could not be
	readAt time.Time
	sum    [sha256.Size]byte // of the content

	good    []*api.Resource // in use
	next    []*api.Resource // read and valid, to be in use; nil when good is all
	problem *problem        // why next is not in use, or why there is none
	refused bool            // whether a problem was reported since the content was last put in use
	missing time.Time       // since when the file is gone; zero when it is there
}

// problem is why a file's content is not in use.
type problem struct {
	violations api.Violations
	since      time.Time
	reported   bool
}

// Status is the state of one file.
type Status struct {
	Path string
	// Resources of the file that are in use.
	Resources int
	// Problems with what the file holds now; empty when that is in use.
	Problems api.Violations
	// Since is when there were none yet; zero when there are none.
	Since time.Time
}

// Open reads paths, files and directories, and begins to watch them; it waits for
// files that are being written. Every problem there is makes it fail, with all of
// them as api.Violations: an Envoy that runs already keeps what it has when its
// host does not start.
func Open(ctx context.Context, paths []string, o Options) (*Source, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("cannot watch files: %w; see the sysctls fs.inotify.max_user_instances and max_user_watches", err)
	}
	s := &Source{
		options: o,
		files:   map[string]*file{},
		writing: map[string]*writing{},
		watches: &watches{watcher: watcher, log: o.Log, failed: map[string]bool{}},
	}
	var problems api.Violations
	for _, path := range paths {
		if path == api.Stdin {
			problems = append(problems, api.Violation{Source: path, Message: "standard input cannot be followed; name files or directories"})
			continue
		}
		s.roots = append(s.roots, filepath.Clean(path))
	}
	if err := s.scanWritten(ctx); err != nil {
		_ = watcher.Close()
		return nil, err
	}
	for _, root := range s.roots {
		if info, err := os.Stat(root); err == nil && info.IsDir() && !s.holds(root) {
			problems = append(problems, api.Violation{Source: root, Message: "holds no resource file: *.yaml, *.yml or *.json"})
		}
	}
	var all []*api.Resource
	for _, path := range slices.Sorted(maps.Keys(s.files)) {
		f := s.files[path]
		if f.next == nil && f.problem != nil {
			problems = append(problems, f.problem.violations...)
		}
		all = append(all, f.good...)
		all = append(all, f.next...)
	}
	problems = append(problems, o.Check(all)...)
	if len(problems) > 0 {
		_ = watcher.Close()
		return nil, slices.Compact(problems.Sorted())
	}
	return s, nil
}

// scanWritten scans until nothing is being written, or until what is has become
// a problem.
func (s *Source) scanWritten(ctx context.Context) error {
	for {
		now := time.Now()
		s.blind = true
		s.scan(now)
		young := false
		for _, w := range s.writing {
			young = young || now.Sub(w.began) < tooLong
		}
		if !young {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(s.next)):
		}
	}
}

// Close ends the watching. Run has to have returned, if it was called.
func (s *Source) Close() error { return s.watches.watcher.Close() }

// Resources returns what is in use, ordered by file and place in the file.
func (s *Source) Resources() []*api.Resource {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inUse()
}

// inUse returns what is in use, that of the files named last at the end.
func (s *Source) inUse(last ...string) []*api.Resource {
	var all []*api.Resource
	for _, path := range slices.Sorted(maps.Keys(s.files)) {
		if !slices.Contains(last, path) {
			all = append(all, s.files[path].good...)
		}
	}
	for _, path := range last {
		all = append(all, s.files[path].good...)
	}
	return all
}

// Status returns the state of every file, ordered by path. It may be called
// while Run runs.
func (s *Source) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Status
	for _, path := range slices.Sorted(maps.Keys(s.files)) {
		f := s.files[path]
		status := Status{Path: path, Resources: len(f.good)}
		if f.problem != nil {
			status.Problems, status.Since = f.problem.violations, f.problem.since
		}
		all = append(all, status)
	}
	return all
}

// Run calls emit with all resources, at first and then after every change,
// until ctx ends. Changes that happen while emit works are seen afterwards.
func (s *Source) Run(ctx context.Context, emit func([]*api.Resource)) error {
	emit(s.Resources())
	// What happened between Open and now waits in the kernel.
	var wake <-chan time.Time // when to scan; nil when there is no reason to
	var urgent bool           // whether wake is for an event
	var latest time.Time      // by when events of a burst are answered
	event := func() {
		now := time.Now()
		if !urgent {
			urgent, latest = true, now.Add(patience)
		}
		wake = time.After(min(quiet, latest.Sub(now)))
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-s.watches.watcher.Events:
			if !ok {
				return errors.New("the watch on the files was closed")
			}
			if s.watches.matters(e) {
				s.noticed(e)
				event()
			}
		case err, ok := <-s.watches.watcher.Errors:
			if !ok {
				return errors.New("the watch on the files was closed")
			}
			// Above all the queue's overflow: events are lost, so look at
			// everything.
			s.options.Log.Warn("the watch on the files has failed for a moment; reading all of them", "reason", err)
			s.blind = true
			event()
		case <-wake:
			wake, urgent = nil, false
			now := time.Now()
			changed := s.scan(now)
			if s.again {
				wake = time.After(quiet)
			} else if !s.next.IsZero() {
				wake = time.After(max(s.next.Sub(now), time.Millisecond))
			}
			if changed {
				emit(s.Resources())
			}
		}
	}
}

// noticed keeps in mind which files are written in place. A file that was created
// or renamed to its place is another one than was written before.
func (s *Source) noticed(e fsnotify.Event) {
	if e.Has(fsnotify.Create) {
		delete(s.writing, e.Name)
	}
	if e.Has(fsnotify.Write) {
		s.wrote(e.Name, time.Now())
	}
}

// wakeAt has the next scan happen at t or earlier.
func (s *Source) wakeAt(t time.Time) {
	if s.next.IsZero() || t.Before(s.next) {
		s.next = t
	}
}

// scan looks at everything and reports whether the resources in use changed.
func (s *Source) scan(now time.Time) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = time.Time{}
	for _, w := range s.writing {
		w.seen = false
	}
	s.watches.begin()
	found := map[string]bool{}
	for _, root := range s.roots {
		s.scanRoot(root, now, found)
	}
	s.again, s.blind = s.watches.end(), false
	maps.DeleteFunc(s.writing, func(_ string, w *writing) bool { return !w.seen })
	for path, f := range s.files {
		switch {
		case found[path]:
			f.missing = time.Time{}
		case f.missing.IsZero():
			f.missing = now
			s.wakeAt(now.Add(settle))
		case now.Sub(f.missing) >= settle:
			if len(f.good) > 0 {
				s.options.Log.Info("a file is gone, and its resources with it", "file", path, "resources", len(f.good))
				changed = true
			}
			delete(s.files, path)
		default:
			s.wakeAt(f.missing.Add(settle))
		}
	}
	if changed {
		for _, v := range s.options.Check(s.inUse()) {
			s.options.Log.Warn("what is left does not go together", "problem", v.String())
		}
	}
	if s.adopt(now) {
		changed = true
	}
	s.report(now)
	return changed
}

func (s *Source) scanRoot(root string, now time.Time, found map[string]bool) {
	abs, err := filepath.Abs(root)
	if err == nil {
		var real string
		if real, err = s.watches.trace(abs); err == nil {
			err = s.scanPath(root, real, now, found)
		}
	}
	if err == nil {
		return
	}
	s.keep(root, found)
	s.fail(root, now, fmt.Errorf("cannot be read: %w", reason(err)))
}

// keep counts path and everything below it as found.
func (s *Source) keep(path string, found map[string]bool) {
	found[path] = true
	for known := range s.files {
		if below(path, known) {
			found[known] = true
		}
	}
}

func (s *Source) holds(root string) bool {
	for path := range s.files {
		if below(root, path) {
			return true
		}
	}
	return false
}

func below(dir, path string) bool {
	if dir == "." {
		return !filepath.IsAbs(path)
	}
	return strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// scanPath looks at a file or directory, which path names and real is. Its
// error means that path itself cannot be looked at.
func (s *Source) scanPath(path, real string, now time.Time, found map[string]bool) error {
	info, err := os.Stat(real)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		found[path] = true
		s.readFile(path, real, info, now)
		return nil
	}
	s.watches.dir(real).listed = true
	entries, err := os.ReadDir(real)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if hidden(e.Name()) || !e.IsDir() && !holdsResources(e.Name()) {
			continue
		}
		path, next := filepath.Join(path, e.Name()), filepath.Join(real, e.Name())
		var err error
		if e.Type()&fs.ModeSymlink != 0 {
			if next, err = s.watches.trace(next); err == nil {
				info, err = os.Stat(next)
			}
			if err == nil && !info.Mode().IsRegular() {
				continue
			}
		} else if !e.IsDir() && !e.Type().IsRegular() {
			continue
		}
		if err == nil {
			err = s.scanPath(path, next, now, found)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it went between listing and looking
			}
		}
		if err != nil {
			s.keep(path, found)
			s.fail(path, now, fmt.Errorf("cannot be read: %w", reason(err)))
		}
	}
	return nil
}

// readFile reads a file that may have changed.
func (s *Source) readFile(path, real string, info fs.FileInfo, now time.Time) {
	f := s.file(path)
	if f.info != nil && os.SameFile(f.info, info) && f.info.Size() == info.Size() &&
		f.info.ModTime().Equal(info.ModTime()) && f.readAt.Sub(info.ModTime()) > coarse {
		return
	}
	if !info.Mode().IsRegular() {
		s.fail(path, now, errors.New("is neither a file nor a directory, and cannot be followed"))
		return
	}
	if !s.whole(path, real, info, now) {
		return
	}
	data, err := read(real)
	if err == nil && !unchanged(real, info) {
		s.wrote(real, now).seen = true
		s.wakeAt(now.Add(settled))
		return
	}
	if err != nil {
		s.fail(path, now, fmt.Errorf("cannot be read: %w", reason(err)))
		return
	}
	sum := sha256.Sum256(data)
	known := f.info != nil && f.sum == sum
	f.info, f.readAt, f.sum = info, now, sum
	if known {
		return
	}
	f.next, f.problem = nil, nil
	resources, violations := parse(path, data)
	if len(violations) > 0 {
		f.problem = &problem{violations: violations, since: now}
		return
	}
	f.next = resources
}

// unchanged reports whether the file is as it was.
func unchanged(real string, was fs.FileInfo) bool {
	info, err := os.Stat(real)
	return err == nil && os.SameFile(info, was) && info.Size() == was.Size() && info.ModTime().Equal(was.ModTime())
}

func (s *Source) file(path string) *file {
	f := s.files[path]
	if f == nil {
		f = &file{}
		s.files[path] = f
	}
	return f
}

// fail notes that path cannot be read.
func (s *Source) fail(path string, now time.Time, err error) {
	f := s.file(path)
	v := api.Violations{{Source: path, Message: err.Error()}}
	f.info, f.next = nil, nil
	if f.problem == nil || !slices.Equal(f.problem.violations, v) {
		f.problem = &problem{violations: v, since: now}
	}
}

// adopt puts in use what was read, as far as it goes together: all of it, or
// file by file what adds no violation. Files that were refused before get
// another chance, as others may have changed.
func (s *Source) adopt(now time.Time) (changed bool) {
	var pending []string
	for _, path := range slices.Sorted(maps.Keys(s.files)) {
		if s.files[path].next != nil {
			pending = append(pending, path)
		}
	}
	if len(pending) == 0 {
		return false
	}
	known := s.options.Check(s.inUse())
	if s.try(pending, known) == nil {
		return true
	}
	for progress := true; progress; {
		progress = false
		pending = slices.DeleteFunc(pending, func(path string) bool {
			violations := s.try([]string{path}, known)
			if violations == nil {
				progress, changed = true, true
				return true
			}
			f := s.files[path]
			if f.problem == nil || !slices.Equal(f.problem.violations, violations) {
				f.problem = &problem{violations: violations, since: now}
			}
			return false
		})
	}
	return changed
}

// try puts the next resources of the files in use, unless that brings
// violations beyond those that are known.
func (s *Source) try(paths []string, known api.Violations) api.Violations {
	before := make([][]*api.Resource, len(paths))
	for i, path := range paths {
		f := s.files[path]
		before[i], f.good = f.good, f.next
	}
	// Of two that exclude each other the later one is at fault.
	added := slices.DeleteFunc(s.options.Check(s.inUse(paths...)), func(v api.Violation) bool { return slices.Contains(known, v) })
	for i, path := range paths {
		f := s.files[path]
		if len(added) > 0 {
			f.good = before[i]
			continue
		}
		if len(f.good) == 0 && len(before[i]) > 0 {
			s.options.Log.Info("a file has nothing in it any more, and its resources end", "file", path, "resources", len(before[i]))
		}
		if f.refused {
			s.options.Log.Info("a file is in use again", "file", path, "resources", len(f.good))
		}
		f.next, f.problem, f.refused = nil, nil, false
	}
	if len(added) > 0 {
		return added
	}
	return nil
}

// report logs the problems that have settled, each once.
func (s *Source) report(now time.Time) {
	for _, path := range slices.Sorted(maps.Keys(s.files)) {
		f := s.files[path]
		if f.problem == nil || f.problem.reported {
			continue
		}
		if now.Sub(f.problem.since) < settle {
			s.wakeAt(f.problem.since.Add(settle))
			continue
		}
		f.problem.reported, f.refused = true, true
		consequence := "what it held before stays in use"
		if len(f.good) == 0 && f.info != nil {
			consequence = "nothing of it is in use"
		}
		for _, v := range f.problem.violations {
			s.options.Log.Error("a file is refused; "+consequence, "file", path, "problem", v.String())
		}
	}
}

// read returns the start of a file that is too long, which Parse refuses.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, api.MaxInputBytes+1))
}

func parse(path string, data []byte) ([]*api.Resource, api.Violations) {
	resources, err := api.Parse(path, data)
	if err == nil || errors.Is(err, api.ErrNoResources) {
		return append([]*api.Resource{}, resources...), nil
	}
	var violations api.Violations
	if !errors.As(err, &violations) {
		violations = api.Violations{{Source: path, Message: err.Error()}}
	}
	return nil, violations
}

// reason is an error of the file system without the path, which the message
// has already.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func hidden(name string) bool { return strings.HasPrefix(name, ".") }

func holdsResources(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}
