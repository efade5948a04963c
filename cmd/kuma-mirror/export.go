package main

import (
	"time"

	"github.com/spf13/cobra"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/client"
)

func newExportCommand() *cobra.Command {
	var flags clientFlags
	var from string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write all resources of a host as YAML",
		Long: `Export writes every resource that a host has in use to standard output: Meshes
first, so that 'kuma-mirror apply -f -' takes it. Times are left out, which are the
host's, and the Mesh "default" where nobody wrote one: it is always there.

What the host has from files is among it. To apply an export to the host it comes
from, where it then changes nothing, leave that out with --source api: a host does
not write over its files.

Exit codes:
Exit codes:
  0  written
  1  the host does not answer
  2  the command line is wrong`,
		Example: `  kuma-mirror export > resources.yaml
  kuma-mirror export | kuma-mirror apply --address https://other.example:5681 -f -
  kuma-mirror export --source api > written.yaml
  kuma-mirror export -o json | jq '.items[] | .name'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
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
			for _, kind := range client.Kinds() {
				items, err := c.List(cmd.Context(), kind, "")
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
	cmd.Flags().StringVar(&from, "source", "all", "all, api (what was written over the API) or files")
	must(cmd.RegisterFlagCompletionFunc("source", cobra.FixedCompletions([]string{"all", "api", "files"}, cobra.ShellCompDirectiveNoFileComp)))
	cmd.Flags().StringVarP(&flags.output, "output", "o", "yaml", "yaml or json")
	must(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"yaml", "json"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
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
