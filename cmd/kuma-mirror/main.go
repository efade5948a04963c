// Command kuma-mirror mirrors traffic with Envoy the way a Kuma user writes it:
// a TrafficRoute with a mirror section.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes, the same for every command.
const (
	exitOK     = 0 // done
	exitFailed = 1 // the input is invalid, or what was asked for failed
	exitUsage  = 2 // the command line is wrong
)

// failure ends a command with an exit code of its own. A nil err means that
// everything there is to say has been printed.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string {
	if f.err == nil {
		return ""
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The second Ctrl-C ends the program at once.
	context.AfterFunc(ctx, stop)
	code := run(ctx, newRootCommand())
	stop()
	os.Exit(code)
}

func run(ctx context.Context, root *cobra.Command) int {
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := exitUsage // cobra's own errors: unknown commands, flags and arguments
	var f *failure
	if errors.As(err, &f) {
		code = f.code
	}
	if msg := err.Error(); msg != "" {
		fmt.Fprintln(root.ErrOrStderr(), "Error:", msg)
	}
	if code == exitUsage {
		fmt.Fprintf(root.ErrOrStderr(), "Run '%s --help' for usage.\n", root.CommandPath())
	}
	return code
}
