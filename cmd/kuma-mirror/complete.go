package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/client"
)

// completionTimeout is how long a shell waits for names.
const completionTimeout = 2 * time.Second

// completeKindAndName completes a kind and then names of it, maxNames at most; 0
// means any number.
func (f *clientFlags) completeKindAndName(maxNames int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return collections(), cobra.ShellCompDirectiveNoFileComp
		}
		kind, err := parseKind(args[0])
		if err != nil || maxNames > 0 && len(args) > maxNames {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f.names(cmd.Context(), kind, f.mesh), cobra.ShellCompDirectiveNoFileComp
	}
}

// collections are what a user calls the kinds.
func collections() []string {
	var names []string
	for _, kind := range client.Kinds() {
		names = append(names, client.Collection(kind))
	}
	return names
}

// completeMeshes completes --mesh.
func (f *clientFlags) completeMeshes(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return f.names(cmd.Context(), api.KindMesh, ""), cobra.ShellCompDirectiveNoFileComp
}

// names asks the host; one that does not answer in time has none.
func (f *clientFlags) names(ctx context.Context, kind api.Kind, mesh string) []string {
	quick := *f
	quick.timeout, quick.output = completionTimeout, ""
	c, err := quick.client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	items, err := c.List(ctx, kind, mesh)
	if err != nil {
		return nil
	}
	var names []string
	for _, i := range items {
		names = append(names, i.Meta.Name)
	}
	return names
}
