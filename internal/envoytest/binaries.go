// Package envoytest runs real Envoys in tests: it finds the binaries, checks
// configurations with `envoy --mode validate`, and starts Envoys that end with
// the test.
//
// Functions that return an error work anywhere. Binary, Default and Run are for
// Ginkgo specs: they fail the spec, and clean up when it ends.
package envoytest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/onsi/ginkgo/v2"

	"github.com/kuma-mirror/kuma-mirror/internal/envoybin"
)

// EnvoysVariable is the environment variable that names the Envoys to test
// with, as VERSION=PATH:VERSION=PATH; `make test` sets it.
const EnvoysVariable = "KUMA_MIRROR_TEST_ENVOYS"

// Versions lists the Envoys that tests run on: those of $KUMA_MIRROR_TEST_ENVOYS,
// else the pinned ones. It can be called while specs are being built, as it
// does not look whether the binaries are there; Binary does.
func Versions() []string {
	named, err := fromEnvironment()
	if err != nil || len(named) == 0 {
		return envoybin.Versions()
	}
	versions := make([]string, len(named))
	for i, envoy := range named {
		versions[i] = envoy.version
	}
	return versions
}

// Find returns the path of the Envoy of that version: the one that
// $KUMA_MIRROR_TEST_ENVOYS names, else the pinned one in the repository around
// the working directory. The error says how to get it.
func Find(version string) (string, error) {
	named, err := fromEnvironment()
	if err != nil {
		return "", err
	}
	for _, envoy := range named {
		if envoy.version == version {
			return envoy.path, isProgram(envoy.path)
		}
	}
	if len(named) > 0 {
		return "", fmt.Errorf("$%s has no Envoy %s", EnvoysVariable, version)
	}
	root, err := repository()
	if err != nil {
		return "", err
	}
	path := envoybin.Path(root, version)
	if err := isProgram(path); err != nil {
		return "", fmt.Errorf("%w; run 'make envoys' (all tested versions; 'make envoy' gets %s)", err, envoybin.Version)
	}
	return path, nil
}

// Binary is Find for a running spec, which fails without the binary: tests
// with Envoy are never skipped.
func Binary(version string) string {
	ginkgo.GinkgoHelper()
	path, err := Find(version)
	if err != nil {
		ginkgo.Fail(err.Error())
	}
	return path
}

// Default is the Binary for a spec that needs just one Envoy: the first of
// Versions, which is the one commands run.
func Default() string {
	ginkgo.GinkgoHelper()
	return Binary(Versions()[0])
}

type named struct{ version, path string }

func fromEnvironment() ([]named, error) {
	value := os.Getenv(EnvoysVariable)
	if value == "" {
		return nil, nil
	}
	var envoys []named
	for _, item := range strings.Split(value, ":") {
		version, path, ok := strings.Cut(item, "=")
		if !ok || version == "" || path == "" {
			return nil, fmt.Errorf("$%s is %q, which is not VERSION=PATH:VERSION=PATH", EnvoysVariable, value)
		}
		envoys = append(envoys, named{version, path})
	}
	return envoys, nil
}

func isProgram(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("no Envoy: %w", err)
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("no Envoy: %s is not an executable file", path)
	}
	return nil
}

// repository is the folder with go.mod around the working directory, which
// for a test is the folder of its package.
func repository() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod in %s or above it: set $%s", start, EnvoysVariable)
		}
	}
}
