// Package store keeps resources on disk, in one file: what was written is there
// after a crash, whole.
package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// FileName is what the store's file is called in its directory.
const FileName = "store.db"

// What is wrong with a file, for errors.Is.
var (
	// ErrDamaged is the error of a file that is no store, or not all of one.
	ErrDamaged = errors.New("is damaged")
	// ErrNewer is the error of a store that holds what only a newer version
	// understands.
	ErrNewer = errors.New("was written by a newer kuma-mirror")
	// ErrInUse is the error of a store that another process has open.
	ErrInUse = errors.New("is in use by another kuma-mirror")
)

// Options of Open.
type Options struct {
	// Log takes what happens to the file; nil means slog.Default().
	Log *slog.Logger
	// OnWrite, where it is set, is called after each transaction with its
	// figures. It must not call the store.
	OnWrite func(Write)

	// For tests: what stands for the disk and for later versions.
	openFile   openFile   // nil means os.OpenFile
	migrations migrations // nil means those there are
	maxBackup  int64      // 0 means MaxBackupBytes
}

type openFile func(path string, flag int, mode os.FileMode) (*os.File, error)

// Write is what one transaction did.
type Write struct {
	// Records written or removed.
	Records int
	// Duration, the waiting for the disk included.
	Duration time.Duration
	// Err is nil where all of it is on disk.
	Err error
}

// Store is one open file. Its methods may be called from any goroutine.
type Store struct {
	path string
	o    Options
	db   *bbolt.DB

	writing sync.Mutex // held by the one who writes
	// undo has the values, nil for none, of what a failed transaction wrote:
	// where only its last step failed, the file may hold the new ones.
	undo map[place][]byte
	// commit runs a transaction and has it on disk when it returns.
	commit func(func(*bbolt.Tx) error) error

	mu      sync.Mutex // guards what follows
	count   int
	err     error // of the last write
	unknown error // why bbolt cannot be trusted any more
}

// Status is the state of the store.
type Status struct {
	// Path of the file.
	Path string
	// Records in it.
	Records int
	// Bytes is the size of the file.
	Bytes int64
	// Err is why the last write failed; nil when it did not.
	Err error
}

// Open opens the store in a directory, and makes directory and store where they
// are not there. A store that an older version wrote is brought up to date; what
// it was stays beside it as store.db.schema-1 or the like. A store on a file
// system that cannot be written to is opened to be read.
//
// The errors name the file and what to do.
func Open(dir string, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.openFile == nil {
		o.openFile = os.OpenFile
	}
	if o.migrations == nil {
		o.migrations = allMigrations()
	}
	if o.maxBackup == 0 {
		o.maxBackup = MaxBackupBytes
	}
	s := &Store{path: filepath.Join(dir, FileName), o: o, undo: map[place][]byte{}}
	if err := s.create(); err != nil {
		return nil, fmt.Errorf("there is no store in %s, and none can be made: %w", dir, err)
	}
	if err := s.open(); err != nil {
		return nil, s.explain(err)
	}
	return s, nil
}

// open opens the file, which is there.
func (s *Store) open() error {
	f, readOnly, err := openLocked(s.path, s.o.openFile)
	if err != nil {
		return err
	}
	h, err := verifyFile(f, s.o.migrations)
	if err == nil {
		s.db, err = openDB(f, readOnly)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.commit = s.db.Update
	if readOnly {
		s.o.Log.Warn("the store's file system cannot be written to: what the store holds is served, and nothing can be changed", "file", s.path)
		s.commit = func(func(*bbolt.Tx) error) error {
			return errors.New("its file system could not be written to when kuma-mirror was started; mend that and start it again")
		}
	} else {
		s.tidy()
	}
	if err := s.migrate(h); err != nil {
		return errors.Join(err, s.db.Close())
	}
	if _, err := s.Records(); err != nil {
		return errors.Join(err, s.db.Close())
	}
	if info, err := os.Stat(s.path); err == nil && info.Mode().Perm()&0o077 != 0 {
		s.o.Log.Warn("other users can read or write the store, which may hold keys; chmod it to 0600", "file", s.path, "mode", info.Mode().Perm())
	}
	return nil
}

// explain says what to do about a file that cannot be opened.
func (s *Store) explain(err error) error {
	advice := ""
	switch {
	case errors.Is(err, ErrInUse):
		advice = "; stop that one, or give this one a directory of its own"
	case errors.Is(err, ErrNewer):
		advice = "; start that version, or move the file away and put a backup of this version in its place"
	case errors.Is(err, ErrDamaged):
		advice = "; move it away, put the last backup in its place under the same name, and start again; " +
			"without a backup, start without it and apply the resources anew"
	case errors.Is(err, os.ErrPermission):
		advice = "; start as the user who owns it"
	}
	return fmt.Errorf("%s %w%s", s.path, err, advice)
}

// Close ends the use of the file, after what is being written and after the
// backups under way: what takes those has to be ended first.
func (s *Store) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.broken() != nil {
		return nil // its locks may be held for ever
	}
	return s.db.Close()
}

// Path is the file's.
func (s *Store) Path() string { return s.path }

// Status returns the state of the store.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := Status{Path: s.path, Records: s.count, Err: s.err}
	if info, err := os.Stat(s.path); err == nil {
		status.Bytes = info.Size()
	}
	return status
}

// Records returns everything in the store, ordered by kind, mesh and name.
func (s *Store) Records() ([]Record, error) {
	var records []Record
	err := guarded(func() error {
		return s.db.View(func(tx *bbolt.Tx) (err error) {
			records, err = readRecords(tx)
			return err
		})
	})
	if err == nil {
		s.mu.Lock()
		s.count = len(records)
		s.mu.Unlock()
	}
	return records, err
}

// Write writes and removes resources, in one transaction. All of it is on disk
// when Write returns, or it fails and nothing is changed; a later Write may
// succeed. Removing what is not there is no error. No key may be there twice.
//
// What is returned are the records of puts, in their order. However much is
// written, the disk is waited for once.
func (s *Store) Write(puts []*Draft, deletes []api.Key) ([]Record, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.broken(); err != nil {
		return nil, err
	}
	start := time.Now()
	var records []Record
	var b *batch
	err := guarded(func() error {
		return s.commit(func(tx *bbolt.Tx) (err error) {
			b, records, err = s.write(tx, puts, deletes)
			return err
		})
	})
	if err != nil {
		records, err = nil, fmt.Errorf("cannot write to %s: %w", s.path, err)
	}
	s.settle(b, err)
	if s.o.OnWrite != nil {
		s.o.OnWrite(Write{Records: len(puts) + len(deletes), Duration: time.Since(start), Err: err})
	}
	return records, err
}

func (s *Store) write(tx *bbolt.Tx, puts []*Draft, deletes []api.Key) (*batch, []Record, error) {
	b, err := begin(tx)
	if err != nil {
		return b, nil, err
	}
	for at, value := range s.undo {
		if err := b.set(at, value); err != nil {
			return b, nil, err
		}
	}
	var records []Record
	for _, d := range puts {
		record, err := b.put(d)
		if err != nil {
			return b, nil, err
		}
		records = append(records, record)
	}
	for _, key := range deletes {
		if err := b.set(placeOf(key), nil); err != nil {
			return b, nil, err
		}
	}
	return b, records, b.end()
}

// settle notes how a write ended.
func (s *Store) settle(b *batch, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	switch {
	case err == nil:
		clear(s.undo)
		s.count = int(b.head.Records)
	case errors.Is(err, ErrDamaged):
		s.unknown = err
	case b != nil:
		for at, value := range b.was {
			if _, ok := s.undo[at]; !ok {
				s.undo[at] = value
			}
		}
	}
}

func (s *Store) broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unknown
}
