package envoytest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/encoding/protojson"
)

// validateTimeout is far above the few dozen milliseconds that it takes.
const validateTimeout = 30 * time.Second

// Validate lets the Envoy at binary check a bootstrap, given as YAML or JSON,
// with --mode validate, which listens nowhere. The error has Envoy's own
// reason. Any number of calls can run at the same time.
func Validate(ctx context.Context, binary string, config []byte) error {
	ctx, cancel := context.WithTimeout(ctx, validateTimeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "envoy-validate-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "envoy.yaml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, binary, "--mode", "validate", "--config-path", file,
		"--concurrency", "1", "--disable-hot-restart", "--log-level", "error")
	output, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("envoy --mode validate: %w", ctx.Err())
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	return fmt.Errorf("envoy refuses the configuration: %s", reason(string(output), file))
}

// ValidateBootstrap is Validate for a bootstrap as protobuf.
func ValidateBootstrap(ctx context.Context, binary string, bootstrap *bootstrapv3.Bootstrap) error {
	config, err := protojson.Marshal(bootstrap)
	if err != nil {
		return err
	}
	return Validate(ctx, binary, config)
}

// logPrefix is time, thread, level, logger and place of one of Envoy's log lines.
var logPrefix = regexp.MustCompile(`^(\[[^]]*\])+ (\[[^]]*\] )?`)

// reason is what Envoy's output says about why it ended, without the name of
// the temporary file and what surrounds the message.
func reason(output, file string) string {
	var lines []string
	for line := range strings.Lines(output) {
		line = logPrefix.ReplaceAllString(strings.TrimSpace(line), "")
		line = strings.TrimPrefix(line, "error initializing configuration '"+file+"': ")
		// Envoy says the same in its log and on stderr.
		if line != "" && (len(lines) == 0 || lines[len(lines)-1] != line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
