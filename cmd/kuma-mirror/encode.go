package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin/carrier"
)

func newEncodeCommand() *cobra.Command {
	var (
		paths  []string
		output string
	)
	cmd := &cobra.Command{
		Use:   "encode -f FILE|DIR|-",
		Short: "Write TrafficRoutes with mirrors as a stock Kuma keeps them",
		Long: `Encode writes TrafficRoutes so that their mirrors travel through a stock Kuma,
which would drop them: each mirror becomes two split entries of weight 0, which
make no route and no cluster. A kuma-cp with the mirror policy reads them; one
without ignores them. "kuma-mirror decode" gives back the original.

Resources of other kinds, and TrafficRoutes without a mirror, are written as
they are, so that whole folders can be given. Where anything is wrong, nothing
is written.

Exit codes:
  0  written
  1  the resources are not valid
  2  the command line is wrong`,
		Example: `  kumactl apply -f <(kuma-mirror encode -f policy.yaml)
  kuma-mirror encode -f policies/ | kubectl apply -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("output", output, "yaml", "json"); err != nil {
				return err
			}
			if err := encode(cmd.Context(), paths, output, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil {
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

func encode(ctx context.Context, paths []string, format string, stdin io.Reader, stdout, stderr io.Writer) error {
	documents, violations, err := rewrite(ctx, paths, stdin, func(r *api.Resource) (*api.Resource, api.Violations) {
		encoded, err := carrier.EncodeResource(r)
		if err != nil {
			return r, violationsOf(err)
		}
		return encoded, nil
	})
	if err != nil {
		return err
	}
	if wrong := printViolations(stderr, violations); wrong > 0 {
		return fmt.Errorf("nothing is encoded: %s in the resources", count(wrong, "error"))
	}
	if len(documents) == 0 {
		return errors.New("nothing is encoded: there is no resource in the input")
	}
	return writeDocuments(stdout, format, documents)
}

// printViolations writes the violations, each once and on a line, and returns their
// number.
func printViolations(w io.Writer, violations api.Violations) int {
	wrong := findings(violations)
	for _, f := range wrong {
		fmt.Fprintln(w, api.Violation(f))
	}
	return len(wrong)
}
