package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/static"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
)

func newRenderCommand() *cobra.Command {
	var (
		paths     []string
		dataplane = api.Key{Kind: api.KindDataplane}
		output    string
	)
	cmd := &cobra.Command{
		Use:   "render -f FILE|DIR|- --dataplane NAME",
		Short: "Write the Envoy configuration of a data plane",
		Long: `Render writes a complete, static Envoy configuration of one data plane to
standard output: listeners, routes with their mirrors, clusters, endpoints, and
the admin API on 127.0.0.1 where networking.admin.port is set. A plain
"envoy -c" runs it. It is what the host would serve, at once and for good.

Mirrors that are left out are told on standard error.

Exit codes:
  0  written
  1  the resources are not valid, or there is no such data plane
  2  the command line is wrong`,
		Example: `  kuma-mirror render -f policies/ --dataplane web > envoy.yaml && envoy -c envoy.yaml
  kuma-mirror render -f mesh.yaml -f route.yaml --dataplane web --mesh demo -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("output", output, "yaml", "json"); err != nil {
				return err
			}
			out, err := render(cmd.Context(), paths, dataplane, output, cmd.InOrStdin(), cmd.ErrOrStderr())
			if err == nil {
				_, err = cmd.OutOrStdout().Write(out)
			}
			if err != nil {
				return &failure{code: exitFailed, err: err}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&paths, "file", "f", nil, "file, directory or - for standard input; may be repeated")
	flags.StringVar(&dataplane.Name, "dataplane", "", "name of the Dataplane")
	flags.StringVar(&dataplane.Mesh, "mesh", api.DefaultMesh, "mesh of the Dataplane")
	flags.StringVarP(&output, "output", "o", "yaml", "yaml or json")
	must(cmd.MarkFlagRequired("file"))
	must(cmd.MarkFlagRequired("dataplane"))
	return cmd
}

func render(ctx context.Context, paths []string, dataplane api.Key, format string, stdin io.Reader, warnings io.Writer) ([]byte, error) {
	resources, err := api.Load(ctx, paths, stdin)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	violations := violationsOf(err)
	violations = append(violations, mesh.Validate(resources)...)
	if wrong := findings(violations); len(wrong) > 0 {
		for _, f := range wrong {
			fmt.Fprintln(warnings, api.Violation(f))
		}
		return nil, fmt.Errorf("nothing is rendered: %s in the resources", count(len(wrong), "error"))
	}

	index := mesh.New(resources)
	resource := index.Mesh(dataplane.Mesh).Dataplane(dataplane.Name)
	if resource == nil {
		return nil, unknownDataplane(index, dataplane)
	}
	rs, report, err := generate.Proxy(ctx, index, dataplane)
	if err != nil {
		return nil, err
	}
	for _, o := range report.Problems() {
		fmt.Fprintln(warnings, "Warning:", o)
	}
	b, err := static.Bootstrap(rs, resource)
	if err != nil {
		return nil, err
	}
	if format == "json" {
		return static.JSON(b)
	}
	return static.YAML(b)
}

func unknownDataplane(index *mesh.Index, dataplane api.Key) error {
	known := index.Dataplanes()
	if len(known) == 0 {
		return fmt.Errorf("there is no %s: the resources hold no Dataplane at all", dataplane)
	}
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = fmt.Sprintf("%s (mesh %s)", k.Name, k.Mesh)
	}
	return fmt.Errorf("there is no %s; those there are: %s", dataplane, strings.Join(names, ", "))
}
