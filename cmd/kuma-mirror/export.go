package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/client"
)

func newExportCommand() *cobra.Command {
	var flags clientFlags
	var from string
	cmd := &cobra.Command{
		Use:   "export [KIND]",
		Short: "Write all resources of a host as YAML",
		Long: `Export writes every resource that a host has in use to standard output: Meshes
first, so that 'kuma-mirror apply -f -' takes it. Times are left out, which are the
host's, and the Mesh "default" where nobody wrote one: it is always there.

With a KIND, --mesh or both it writes less: a host that has more than an apply
takes, which is 4 MiB, is exported in parts. The Meshes come first, and each mesh
has its Mesh in its part.

What the host has from files is among it. To apply an export to the host it comes
from, where it then changes nothing, leave that out with --source api: a host does
not write over its files.

Exit codes:
  0  written
  1  the host does not answer
  2  the command line is wrong`,
		Example: `  kuma-mirror export > resources.yaml
  kuma-mirror export | kuma-mirror apply --address https://other.example:5681 -f -
  kuma-mirror export --source api > written.yaml
  kuma-mirror export meshes > meshes.yaml
  kuma-mirror export dataplanes -m shop > shop-dataplanes.yaml
  kuma-mirror export -o json | jq '.items[] | .name'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("export takes at most one kind, not %d arguments", len(args))
			}
			return nil
		},
		ValidArgsFunction: cobra.FixedCompletions(collections(), cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			kinds := client.Kinds()
			if len(args) == 1 {
				kind, err := parseKind(args[0])
				if err != nil {
					return err
				}
				kinds = []api.Kind{kind}
			}
			if err := oneOf("output", flags.output, "yaml", "json"); err != nil {
				return err
			}
			if err := oneOf("source", from, "all", "api", "files"); err != nil {
				return err
			}
			c, err := flags.client()
			if err != nil {
				return err
			}
			var all []*api.Resource
			for _, kind := range kinds {
				items, err := listIn(cmd.Context(), c, kind, flags.mesh)
				if client.IsNotFound(err) {
					err = fmt.Errorf("there is no %s", api.Key{Kind: api.KindMesh, Name: flags.mesh})
				}
				if err != nil {
					return &failure{code: exitFailed, err: err}
				}
				for _, i := range items {
					if !exported(i, from) {
						continue
					}
					i.Meta.CreationTime, i.Meta.ModificationTime = time.Time{}, time.Time{}
					all = append(all, i.Resource)
				}
			}
			return finish(nil, func() error { return writeResources(cmd.OutOrStdout(), flags.output, all) })
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVarP(&flags.mesh, "mesh", "m", "", "this mesh alone, with its Mesh (default: all meshes)")
	must(cmd.RegisterFlagCompletionFunc("mesh", flags.completeMeshes))
	cmd.Flags().StringVar(&from, "source", "all", "all, api (what was written over the API) or files")
	must(cmd.RegisterFlagCompletionFunc("source", cobra.FixedCompletions([]string{"all", "api", "files"}, cobra.ShellCompDirectiveNoFileComp)))
	cmd.Flags().StringVarP(&flags.output, "output", "o", "yaml", "yaml or json")
	must(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"yaml", "json"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// listIn returns the resources of a kind in a mesh, its Mesh where that is the
// kind; those of all meshes where mesh is "".
func listIn(ctx context.Context, c *client.Client, kind api.Kind, mesh string) ([]client.Item, error) {
	if kind != api.KindMesh || mesh == "" {
		return c.List(ctx, kind, mesh)
	}
	item, err := c.Get(ctx, keyOf(kind, "", mesh))
	return []client.Item{item}, err
}

// exported reports whether a resource is among those from a source.
func exported(i client.Item, from string) bool {
	switch from {
	case "api":
		return isStored(i)
	case "files":
		return i.File != ""
	default:
		implied := i.File == "" && !isStored(i)
		return !implied || i.Meta.Name != api.DefaultMesh
	}
}
