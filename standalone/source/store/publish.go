package store

import (
	"errors"
	"io/fs"
	"os"
)

// Publish gives a finished file another name in its directory, where there is no
// file yet. It never replaces one: then the error is fs.ErrExist. The file may
// keep its first name, too.
func Publish(file, name string) error { return publish(os.Link, file, name) }

// publish is Publish with what makes links.
func publish(link func(from, to string) error, file, name string) error {
	// Unlike a rename a link fails where there is a file.
	err := link(file, name)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// Not every file system has links. There an empty file takes the name first:
	// it is seen for a moment, but what another process makes is not lost.
	taken, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_ = taken.Close() // nothing is written to it
	if err := os.Rename(file, name); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}
