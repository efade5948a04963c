package envoy

import (
	"errors"
	"fmt"
	"os"
)

// directory is unused: there is no Envoy for Windows.
type directory struct {
	path string
	lock *os.File
}

func newDirectory() (*directory, error) {
	return nil, fmt.Errorf("Envoy on Windows: %w", errors.ErrUnsupported)
}

func (*directory) remove() {}
