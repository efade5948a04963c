package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/client"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/plan"
)

func newDeleteCommand() *cobra.Command {
	var (
		flags         clientFlags
		paths         []string
		ignoreMissing bool
		dryRun        dryRunFlags
	)
	cmd := &cobra.Command{
		Use:   "delete (KIND NAME... | -f FILE|DIR|-)",
		Short: "Delete resources of a host",
		Long: `Delete removes resources by kind and name, or all that a file names; of a file
only kind, mesh and name count. All are removed or, where one cannot be, none.

A TrafficRoute that goes takes its mirrors with it: no further request is copied.
A Mesh takes its TrafficRoutes and ExternalServices with it, and stays where it
has Dataplanes.

With --dry-run nothing is changed: delete says which data planes' Envoys would get
another configuration, what becomes of the mirrors, and shows what differs.

Exit codes:
  0  deleted, or shown
  1  there is no such resource, or the host does not delete it
  2  the command line is wrong`,
		Example: `  kuma-mirror delete traffic-route web
  kuma-mirror delete traffic-route web -m shop --dry-run
  kuma-mirror delete -f policies/ --ignore-not-found`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(paths) > 0 && len(args) > 0:
				return errors.New("delete takes either -f or a kind and names, not both")
			case len(paths) > 0 && cmd.Flags().Changed("mesh"):
				return errors.New("--mesh is for names; what -f names has its mesh in the file")
			case len(paths) == 0 && len(args) < 2:
				return errors.New("delete needs a kind and a name, such as 'delete traffic-route web', or -f FILE")
			}
			return nil
		},
		ValidArgsFunction: flags.completeKindAndName(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := flags.client()
			if err != nil {
				return err
			}
			if err := dryRun.check(); err != nil {
				return err
			}
			var keys []api.Key
			if len(args) > 0 {
				kind, err := parseKind(args[0])
				if err != nil {
					return err
				}
				for _, name := range args[1:] {
					keys = append(keys, keyOf(kind, flags.mesh, name))
				}
			} else {
				resources, err := readToSend(cmd, paths, func([]*api.Resource) api.Violations { return nil })
				if err != nil {
					return &failure{code: exitFailed, err: fmt.Errorf("nothing is deleted: %w", err)}
				}
				for _, r := range resources {
					keys = append(keys, r.Key())
				}
			}
			keys, missing, err := sortOut(ctx, c, keys)
			if err == nil && len(missing) > 0 && !ignoreMissing {
				err = missingError(missing)
			}
			if err != nil {
				return &failure{code: exitFailed, err: err}
			}
			if !dryRun.on {
				results := []plan.Resource{}
				if len(keys) > 0 {
					results, err = c.Delete(ctx, keys)
				}
				return finish(err, func() error { return writeResults(cmd.OutOrStdout(), flags.output, results) })
			}
			p := &plan.Plan{Resources: []plan.Resource{}, Dataplanes: []plan.Dataplane{}, Diffs: map[string]string{}, Warnings: []plan.Warning{}}
			if len(keys) > 0 {
				p, err = c.PlanDelete(ctx, keys)
			}
			return finish(err, func() error { return dryRun.write(cmd.OutOrStdout(), flags.output, p) })
		},
	}
	flags.add(cmd)
	flags.addOutput(cmd)
	flags.addMesh(cmd, "mesh of the names")
	dryRun.add(cmd)
	cmd.Flags().StringArrayVarP(&paths, "file", "f", nil, "delete what a file, directory or - for standard input names; may be repeated")
	cmd.Flags().BoolVar(&ignoreMissing, "ignore-not-found", false, "a resource that is not there is no error")
	return cmd
}

// sortOut parts the resources that the host has from those it has not.
func sortOut(ctx context.Context, c *client.Client, keys []api.Key) (there, missing []api.Key, err error) {
	for _, key := range keys {
		if slices.Contains(there, key) || slices.Contains(missing, key) {
			continue
		}
		switch _, err := c.Get(ctx, key); {
		case client.IsNotFound(err):
			missing = append(missing, key)
		case err != nil:
			return nil, nil, err
		default:
			there = append(there, key)
		}
	}
	return there, missing, nil
}

func missingError(missing []api.Key) error {
	text := "nothing is deleted: there is no "
	for i, key := range missing {
		if i > 0 {
			text += ", no "
		}
		text += key.String()
	}
	return errors.New(text)
}
