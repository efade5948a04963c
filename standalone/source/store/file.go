package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// lockPatience is how long Open waits for another process to end.
	lockPatience = time.Second
	lockInterval = 10 * time.Millisecond
	// mapped is how much of the address space the file has from the start.
	// Below that, a growing file never has to be mapped anew, for which a
	// write would wait until the backups under way are done.
	mapped = 256 << 20
	// growth is by how much the file grows at a time.
	growth = 1 << 20
)

// openLocked opens a file that is there, for this process alone. One on a file
// system that cannot be written to is opened to be read.
func openLocked(path string, open openFile) (f *os.File, readOnly bool, err error) {
	f, err = open(path, os.O_RDWR, 0)
	if errors.Is(err, syscall.EROFS) {
		readOnly = true
		f, err = open(path, os.O_RDONLY, 0)
	}
	if err != nil {
		return nil, readOnly, fmt.Errorf("cannot be opened: %w", err)
	}
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(lockInterval) {
		err := lock(f)
		switch {
		case err == nil:
			return f, readOnly, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			err = fmt.Errorf("cannot be locked: %w", err)
		case time.Now().Before(deadline):
			continue
		default:
			err = ErrInUse
		}
		return nil, readOnly, errors.Join(err, f.Close())
	}
}

// openDB opens what verify has found nothing wrong with.
func openDB(f *os.File, readOnly bool) (*bbolt.DB, error) {
	var db *bbolt.DB
	err := guarded(func() (err error) {
		db, err = bbolt.Open(f.Name(), 0, &bbolt.Options{
			ReadOnly: readOnly,
			// The list of free pages is made anew when the file is opened:
			// one thing less to write, and to be wrong.
			NoFreelistSync:  true,
			FreelistType:    bbolt.FreelistMapType,
			InitialMmapSize: mapped,
			OpenFile:        func(string, int, os.FileMode) (*os.File, error) { return f, nil },
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	db.AllocSize = growth
	return db, nil
}

// verify makes sure that all of a file can be read and makes sense to this
// version, or to its migrations, and returns its head.
func verify(data []byte, m migrations) (head, error) {
	if len(data) == 0 {
		// bbolt takes it for a new one.
		return head{}, damaged("it is empty")
	}
	// The head first: what a newer version does below it may look like damage.
	var sealedHead []byte
	if err := readImage(data, func(at place, value []byte) error {
		if at == headPlace() {
			sealedHead = value
		}
		return nil
	}); err != nil {
		return head{}, err
	}
	if sealedHead == nil {
		return head{}, damaged("it is no store of kuma-mirror")
	}
	h, err := decodeHead(sealedHead)
	if err != nil {
		return h, err
	}
	if err := m.know(h.Schema); err != nil {
		return h, err
	}
	count := uint64(0)
	err = readImage(data, func(at place, value []byte) error {
		if at != headPlace() {
			count++
		}
		_, err := sound(at, value)
		return err
	})
	if err == nil && count != h.Records {
		err = damaged("%d records of %d are there", count, h.Records)
	}
	return h, err
}

// verifyFile is verify for an open file.
func verifyFile(f *os.File, m migrations) (head, error) {
	info, err := f.Stat()
	if err != nil {
		return head{}, err
	}
	if !info.Mode().IsRegular() {
		return head{}, damaged("it is not a file")
	}
	// Not mapped: a page that the disk cannot read would be a fault.
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, info.Size()), data); err != nil {
		return head{}, fmt.Errorf("cannot be read: %w", err)
	}
	return verify(data, m)
}

// create makes the directory, and an empty store where there is no file. It is
// there whole or not at all.
func (s *Store) create() error {
	dir := filepath.Dir(s.path)
	if _, err := os.Stat(s.path); !errors.Is(err, fs.ErrNotExist) {
		return nil // what else is wrong, open says
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, newPattern)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	db, err := openDB(temp, false)
	if err != nil {
		return errors.Join(err, temp.Close())
	}
	if err := errors.Join(db.Update(head{Schema: s.o.migrations.schema()}.write), db.Close()); err != nil {
		return err
	}
	// Another process may have made one meanwhile.
	if err := Publish(temp.Name(), s.path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	s.o.Log.Info("a new store, with nothing in it", "file", s.path)
	if err := syncDir(dir); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(dir)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// Names of files that are there for a moment.
const (
	newPattern     = ".store-new-*"
	restorePattern = ".store-restore-*"
)

// tidy removes what a crash left behind. The store is locked.
func (s *Store) tidy() {
	for _, pattern := range []string{newPattern, restorePattern} {
		left, _ := filepath.Glob(filepath.Join(filepath.Dir(s.path), pattern))
		for _, path := range left {
			_ = os.Remove(path)
		}
	}
}

// syncDir has on disk which files a directory holds.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// guarded makes an error of what bbolt panics with, and of the fault where a
// page of the file cannot be read.
func guarded(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damaged("%v", r)
		}
	}()
	return do()
}
