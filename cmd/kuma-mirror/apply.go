package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/plan"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
)

func newApplyCommand() *cobra.Command {
	var (
		flags  clientFlags
		paths  []string
		dryRun dryRunFlags
	)
	cmd := &cobra.Command{
		Use:   "apply -f FILE|DIR|-",
		Short: "Create and change resources of a host",
		Long: `Apply sends resources to a host (kuma-mirror run --data-dir), which stores them and
serves them to the Envoys at once. All of them are taken or, where anything is
wrong with one, none.

With --dry-run nothing is changed: apply says which data planes' Envoys would get
another configuration, what becomes of the mirrors, and shows what differs in the
listeners, routes, clusters and endpoints.

Exit codes:
  0  done, or shown; also where nothing was to be changed
  1  the resources are not valid, or the host does not take them
  2  the command line is wrong`,
		Example: `  kuma-mirror apply -f policies/
  kuma-mirror apply -f route.yaml --dry-run
  kuma-mirror apply -f route.yaml --dry-run --diff=false
  kuma-mirror export --address http://127.0.0.1:15681 | kuma-mirror apply -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.client()
			if err != nil {
				return err
			}
			if err := dryRun.check(); err != nil {
				return err
			}
			resources, err := readToSend(cmd, paths, validToSend)
			if err != nil {
				return &failure{code: exitFailed, err: fmt.Errorf("nothing is applied: %w", err)}
			}
			if dryRun.on {
				p, err := c.PlanApply(cmd.Context(), resources)
				return finish(err, func() error { return dryRun.write(cmd.OutOrStdout(), flags.output, p) })
			}
			results, err := c.Apply(cmd.Context(), resources)
			return finish(err, func() error { return writeResults(cmd.OutOrStdout(), flags.output, results) })
		},
	}
	flags.add(cmd)
	flags.addOutput(cmd)
	dryRun.add(cmd)
	cmd.Flags().StringArrayVarP(&paths, "file", "f", nil, "file, directory or - for standard input; may be repeated")
	must(cmd.MarkFlagRequired("file"))
	return cmd
}

// finish goes on where a request succeeded. Whatever fails then is no mistake in
// the command line.
func finish(err error, then func() error) error {
	if err == nil {
		err = then()
	}
	if err != nil {
		return &failure{code: exitFailed, err: err}
	}
	return nil
}

// readToSend reads the resources of paths and looks at them with valid. What is
// wrong is told on standard error, and counted in the error.
func readToSend(cmd *cobra.Command, paths []string, valid func([]*api.Resource) api.Violations) ([]*api.Resource, error) {
	ctx := cmd.Context()
	resources, err := api.Load(ctx, paths, cmd.InOrStdin())
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	wrong := findings(append(violationsOf(err), valid(resources)...))
	for _, f := range wrong {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr(), api.Violation(f))
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("%s in the resources", count(len(wrong), "error"))
	}
	return resources, nil
}

// validToSend says what is wrong with resources whatever else the host has.
func validToSend(resources []*api.Resource) api.Violations {
	// Which meshes there are, only the host knows.
	const assumed = "a mesh of the host"
	meshes := map[string]bool{}
	for _, r := range resources {
		if r.Kind == api.KindMesh {
			meshes[r.Meta.Name] = true
		}
	}
	all := resources
	for _, r := range resources {
		if name := r.Meta.Mesh; r.Kind != api.KindMesh && !meshes[name] {
			meshes[name] = true
			all = append(all[:len(all):len(all)], &api.Resource{
				Kind: api.KindMesh, Meta: api.Meta{Name: name}, Spec: &api.Mesh{}, Source: assumed,
			})
		}
	}
	var wrong api.Violations
	for _, v := range catalog.Validate(all) {
		if v.Source != assumed {
			wrong = append(wrong, v)
		}
	}
	return wrong
}

// writeResults prints what became of each resource.
func writeResults(w io.Writer, format string, results []plan.Resource) error {
	if format != "table" {
		return writeData(w, format, results)
	}
	p := &printer{w: w}
	for _, r := range results {
		p.printf("%s\n", resultLine(w, r))
	}
	return p.err
}

func resultLine(w io.Writer, r plan.Resource) string {
	colours := map[catalog.Result]string{catalog.Created: green, catalog.Configured: yellow, catalog.Deleted: red}
	said := string(r.Result)
	if colour := colours[r.Result]; colour != "" {
		said = painter(w)(colour, said)
	}
	return r.Key().String() + " " + said
}

// writeData prints a value as JSON or YAML.
func writeData(w io.Writer, format string, value any) error {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false) // a diff has many a < and >
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return err
	}
	text := []byte(out.String())
	switch format {
	case "json":
	case "yaml":
		var err error
		if text, err = yaml.JSONToYAML(text); err != nil {
			return err
		}
	default:
		return errors.New("no such format: " + format)
	}
	_, err := w.Write(text)
	return err
}
