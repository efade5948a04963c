package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/client"
)

func newRestoreCommand() *cobra.Command {
	var flags clientFlags
	var force bool
	cmd := &cobra.Command{
		Use:   "restore FILE|-",
		Short: "Put a backup in the place of a host's store",
		Long: `Restore replaces everything in a host's store by what 'kuma-mirror backup' saved,
all at once, while the host goes on: it serves what the backup holds at once. What
the host has from files stays.

Where the store is not empty restore says what would be lost and does nothing,
unless --force is given. A backup that is damaged, or of a newer version, changes
nothing either.

Exit codes:
  0  restored
  1  the store is not empty, or the host does not take the backup
  2  the command line is wrong`,
		Example: `  kuma-mirror restore kuma-mirror-2026-01-31.backup
  kuma-mirror restore --force kuma-mirror-2026-01-31.backup`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.client()
			if err != nil {
				return err
			}
			if err := restore(cmd, c, args[0], force); err != nil {
				return &failure{code: exitFailed, err: err}
			}
			return nil
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "replace what is in the store")
	return cmd
}

func restore(cmd *cobra.Command, c *client.Client, path string, force bool) error {
	ctx := cmd.Context()
	var backup io.Reader = cmd.InOrStdin()
	size := int64(-1)
	if path != api.Stdin {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		info, err := file.Stat()
		switch {
		case err != nil:
			return err
		case info.IsDir():
			return fmt.Errorf("%s is a directory, not a backup", path)
		case info.Mode().IsRegular():
			size = info.Size()
		}
		if size == 0 {
			return fmt.Errorf("%s is empty, and no backup", path)
		}
		backup = file
	}
	before, err := stored(ctx, c)
	if err != nil {
		return err
	}
	if len(before) > 0 && !force {
		return fmt.Errorf("nothing is restored: the store of %s holds %s, which would be lost; "+
			"save it with 'kuma-mirror backup', then add --force", c.Address(), countKinds(before))
	}
	p := newProgress(cmd.ErrOrStderr(), "sent")
	err = c.Restore(ctx, backup, size, p.show)
	p.clear()
	if e := (*client.Error)(nil); errors.As(err, &e) {
		for i := range e.Violations {
			e.Violations[i].Source = path
		}
	}
	if err != nil {
		return err
	}
	after, err := stored(ctx, c)
	if err != nil {
		return errors.Join(errors.New("restored, but what it gave cannot be shown"), err)
	}
	out := &printer{w: cmd.OutOrStdout()}
	if len(before) > 0 {
		out.printf("Replaced %s.\n", countKinds(before))
	}
	out.printf("Restored %s.\n", countKinds(after))
	return out.err
}

// stored returns the resources that the host has from its store.
func stored(ctx context.Context, c *client.Client) ([]*api.Resource, error) {
	var all []*api.Resource
	for _, kind := range client.Kinds() {
		items, err := c.List(ctx, kind, "")
		if err != nil {
			return nil, err
		}
		for _, i := range items {
			if isStored(i) {
				all = append(all, i.Resource)
			}
		}
	}
	return all, nil
}

// countKinds gives "1 Mesh, 2 Dataplanes and 3 TrafficRoutes".
func countKinds(resources []*api.Resource) string {
	var parts []string
	for _, kind := range client.Kinds() {
		n := 0
		for _, r := range resources {
			if r.Kind == kind {
				n++
			}
		}
		switch {
		case n > 1 && kind == api.KindMesh:
			parts = append(parts, fmt.Sprintf("%d Meshes", n))
		case n > 0:
			parts = append(parts, count(n, string(kind)))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}
