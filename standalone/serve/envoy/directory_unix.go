//go:build unix

package envoy

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

const (
	directoryPrefix = "kuma-mirror-"
	lockName        = "lock"
)

// directory has what one Envoy is started with, secrets among it. Only this user
// may enter it. Its lock is held by this process and by its Envoys, which get the
// file: whoever gets the lock knows that all of them have ended.
type directory struct {
	path string
	lock *os.File
}

// newDirectory makes a directory, and removes those of processes that were killed
// and could not.
func newDirectory() (*directory, error) {
	removeAbandoned()
	// It gets its name when it is locked: until then it is nobody's to remove.
	path, err := os.MkdirTemp("", "."+directoryPrefix)
	if err != nil {
		return nil, err
	}
	d := &directory{path: path}
	named := filepath.Join(filepath.Dir(path), filepath.Base(path)[1:])
	if d.lock, err = os.OpenFile(filepath.Join(path, lockName), os.O_CREATE|os.O_RDWR, 0o600); err == nil {
		if err = syscall.Flock(int(d.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			if err = os.Rename(path, named); err == nil {
				d.path = named
				return d, nil
			}
		}
	}
	d.remove()
	return nil, fmt.Errorf("cannot lock %s: %w", path, err)
}

func (d *directory) remove() {
	_ = os.RemoveAll(d.path)
	if d.lock != nil {
		_ = d.lock.Close()
	}
}

// removeAbandoned removes what killed processes of this user have left. It is no
// error where it cannot: the next start tries again.
func removeAbandoned() {
	paths, _ := filepath.Glob(filepath.Join(os.TempDir(), directoryPrefix+"*"))
	for _, path := range paths {
		if lock := lockAbandoned(path); lock != nil {
			(&directory{path: path, lock: lock}).remove()
		}
	}
}

// lockAbandoned returns the lock of a directory whose processes have ended; nil
// for one that is in use, or that is not this user's alone: anybody may put
// anything of that name into the directory for temporary files.
func lockAbandoned(path string) *os.File {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
		return nil
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Geteuid() {
		return nil
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		_ = lock.Close()
		return nil
	}
	return lock
}
