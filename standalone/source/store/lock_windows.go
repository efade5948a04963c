package store

import (
	"errors"
	"os"
)

// lock fails: a store is a file of the control plane, which runs on Linux and
// macOS. The client commands need no store.
func lock(*os.File) error { return errors.New("a store cannot be used on Windows") }
