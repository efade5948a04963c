// Command kuma-mirror-impact is the laboratory that measures what a bad shadow
// does to the primary. It is no part of kuma-mirror itself.
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
	exitOK     = 0 // the primary did not notice
	exitFailed = 1 // it did, or the laboratory failed
	exitUsage  = 2 // the command line is wrong
)

// failure is an error that is not the command line's.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

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
	fmt.Fprintln(root.ErrOrStderr(), "Error:", err)
	if errors.As(err, &failure{}) {
		return exitFailed
	}
	fmt.Fprintf(root.ErrOrStderr(), "Run '%s --help' for usage.\n", root.CommandPath())
	return exitUsage
}
