// Package envoybin finds the Envoy binary that commands and tests run.
package envoybin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// Version is the pinned Envoy that commands run: the one of Kuma 2.14.
const Version = "1.38.2"

// Versions lists the pinned Envoys, which the tests run on; Version comes
// first. Each has a file build/envoy/requirements-VERSION.txt.
func Versions() []string { return []string{Version, "1.40.0"} }

// Path is where a pinned Envoy lies in the repository at root, whether it has
// been downloaded or not.
func Path(root, version string) string {
	return filepath.Join(root, ".envoy", version, "envoy")
}

// Find returns the absolute path of the Envoy to run: flag (the value of
// --envoy, a path or a name on PATH) if it is not empty, else $ENVOY, else the
// pinned one in the repository this program was built in, else `envoy` on
// PATH. What flag or $ENVOY name must be there: nothing is tried after them.
func Find(flag string) (string, error) {
	program, err := os.Executable()
	if err == nil {
		program, err = filepath.EvalSymlinks(program)
	}
	if err != nil {
		program = "" // no repository to look in
	}
	return find(flag, program)
}

func find(flag, program string) (string, error) {
	if flag != "" {
		return named("--envoy", flag)
	}
	if env := os.Getenv("ENVOY"); env != "" {
		return named("$ENVOY", env)
	}
	looked := "$ENVOY is not set"
	if program != "" {
		// The program is bin/kuma-mirror.
		pinned := Path(filepath.Dir(filepath.Dir(program)), Version)
		if path, err := lookPath(pinned); err == nil {
			return path, nil
		}
		looked += ", " + pinned + " is not there"
	}
	if path, err := lookPath("envoy"); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("no Envoy found: %s and PATH has no envoy; "+
		"run 'make envoy' in the repository to get the pinned one, or name yours with --envoy or ENVOY=/path/to/envoy", looked)
}

func named(source, name string) (string, error) {
	path, err := lookPath(name)
	if err != nil {
		// The errors of exec and of the file system repeat the name.
		var execErr *exec.Error
		if errors.As(err, &execErr) {
			err = execErr.Err
		}
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return "", fmt.Errorf("%s names %q, which cannot be run: %w", source, name, err)
	}
	return path, nil
}

// lookPath is exec.LookPath with an absolute result. A relative name on PATH
// is refused as there: it would depend on the working directory.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}
