package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kuma-mirror/kuma-mirror/plugin/carrier"
)

func newDecodeCommand() *cobra.Command {
	var (
		paths  []string
		output string
	)
	cmd := &cobra.Command{
		Use:   "decode -f FILE|DIR|-",
		Short: "Write what a stock Kuma holds as TrafficRoutes with mirrors",
		Long: `Decode writes TrafficRoutes that "kuma-mirror encode" wrote with their mirrors in
place, as they are after a stay in Kuma or in Kubernetes. Lists become documents;
resources of other kinds, and TrafficRoutes without a mirror, are written as they
are.

A mirror that was damaged on the way is told on standard error. All the mirrors
of its entry are then left out, as a kuma-cp with the mirror policy leaves them
out, and the entry is written as it was found.

Exit codes:
  0  written
  1  something is damaged or cannot be read; the rest is written
  2  the command line is wrong`,
		Example: `  kumactl get traffic-route route-default -o yaml | kuma-mirror decode -f -
  kumactl get traffic-routes -o json | kuma-mirror decode -f -
  kubectl get trafficroutes -o yaml | kuma-mirror decode -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("output", output, "yaml", "json"); err != nil {
				return err
			}
			if err := decode(cmd.Context(), paths, output, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil {
				return &failure{code: exitFailed, err: err}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&paths, "file", "f", nil, "file, directory or - for standard input; may be repeated")
	flags.StringVarP(&output, "output", "o", "yaml", "yaml or json")
	must(cmd.MarkFlagRequired("file"))
	return cmd
}

func decode(ctx context.Context, paths []string, format string, stdin io.Reader, stdout, stderr io.Writer) error {
	documents, violations, err := rewrite(ctx, paths, stdin, carrier.DecodeResource)
	if err != nil {
		return err
	}
	if err := writeDocuments(stdout, format, documents); err != nil {
		return err
	}
	if wrong := printViolations(stderr, violations); wrong > 0 {
		return fmt.Errorf("not all is decoded: %s in the resources", count(wrong, "error"))
	}
	if len(documents) == 0 {
		return errors.New("nothing is decoded: there is no resource in the input")
	}
	return nil
}
