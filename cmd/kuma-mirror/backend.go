package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/kuma-mirror/kuma-mirror/internal/demo"
)

func newBackendCommand() *cobra.Command {
	var (
		o              demo.BackendOptions
		exitWithParent bool
	)
	cmd := &cobra.Command{
		Use:    "backend",
		Short:  "Run one backend of the demo",
		Hidden: true, // the demo runs it, as processes that can be killed
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			if exitWithParent {
				go func() {
					// Ends when the parent closes it, or is gone.
					_, _ = io.Copy(io.Discard, cmd.InOrStdin())
					cancel()
				}()
			}
			o.Log = cmd.OutOrStdout()
			if err := demo.ServeBackend(ctx, o); err != nil {
				return &failure{code: exitFailed, err: err}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Name, "name", "primary", "name to answer with")
	flags.IntVar(&o.Port, "port", 0, "port on 127.0.0.1; 0 takes a free one")
	flags.BoolVar(&exitWithParent, "exit-with-parent", false, "end when standard input is closed")
	return cmd
}
