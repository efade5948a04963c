package files

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// watches says which changes of the file system matter, by the real paths of
// directories. A scan builds it anew while it looks around; a directory is
// watched before it is read, so no change falls in between.
type watches struct {
	watcher *fsnotify.Watcher
	log     *slog.Logger
	dirs    map[string]*interest
	failed  map[string]bool // directories that could not be watched
}

// interest is what matters in one directory.
type interest struct {
	listed bool            // its files and sub-directories
	names  map[string]bool // these entries, as parts of a path
}

// begin starts a scan.
func (w *watches) begin() { w.dirs = map[string]*interest{} }

// end forgets the directories that the scan did not come across. It reports
// whether there were any: a renamed directory shares its watch with the old
// name, so only another scan makes sure that it has one.
func (w *watches) end() (again bool) {
	for _, dir := range w.watcher.WatchList() {
		if w.dirs[dir] == nil {
			again = true
			// The directory may be gone, and with it its watch.
			_ = w.watcher.Remove(dir)
		}
	}
	return again
}

func (w *watches) dir(real string) *interest {
	i := w.dirs[real]
	if i == nil {
		i = &interest{names: map[string]bool{}}
		w.dirs[real] = i
		// Add again what is watched already: the path may have got a new
		// directory since.
		err := w.watcher.Add(real)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !w.failed[real] {
			w.failed[real] = true
			w.log.Warn("cannot watch a directory; changes there may go unseen", "directory", real, "reason", err)
		}
		if err == nil {
			delete(w.failed, real)
		}
	}
	return i
}

// maxLinks on the way to one file, as in Linux.
const maxLinks = 40

// trace resolves path, which is absolute, and watches every step of the way:
// each directory for the one entry that leads on, so that a symbolic link or a
// directory that is swapped for another is noticed.
func (w *watches) trace(path string) (real string, err error) {
	real = "/"
	parts := split(path)
	for links := 0; len(parts) > 0; {
		name := parts[0]
		parts = parts[1:]
		if name == ".." {
			real = filepath.Dir(real)
			continue
		}
		w.dir(real).names[name] = true
		next := filepath.Join(real, name)
		info, err := os.Lstat(next)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			real = next
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "open", Path: path, Err: errors.New("too many symbolic links")}
		}
		target, err := os.Readlink(next)
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(target) {
			real = "/"
		}
		parts = slices.Concat(split(target), parts)
	}
	return real, nil
}

// split returns the parts of a path without the empty ones and dots.
func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "." })
}

// matters reports whether an event may change the resources.
func (w *watches) matters(e fsnotify.Event) bool {
	if w.dirs[e.Name] != nil {
		return true
	}
	i := w.dirs[filepath.Dir(e.Name)]
	if i == nil {
		return false
	}
	name := filepath.Base(e.Name)
	if i.names[name] {
		return true
	}
	// What comes, goes or is renamed may be a directory, whatever its name.
	moved := e.Has(fsnotify.Create) || e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)
	return i.listed && !hidden(name) && (moved || holdsResources(name))
}
