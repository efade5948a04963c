package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/client"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
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
		switch {
		case size == 0:
			return fmt.Errorf("%s is empty, and no backup", path)
		case size > store.MaxBackupBytes:
			return fmt.Errorf("%s has %s, and a host takes at most %s; put it in the place of the host's store.db while that does not run",
				path, byteCount(size), byteCount(store.MaxBackupBytes))
		}
		backup = file
	}
	p := newProgress(cmd.ErrOrStderr(), "sent")
	done, err := c.Restore(cmd.Context(), backup, size, force, p.show)
	p.clear()
	if e := (*client.Error)(nil); errors.As(err, &e) {
		if len(e.Stored) > 0 {
			return fmt.Errorf("nothing is restored: the store of %s holds %s, which would be lost; "+
				"save it with 'kuma-mirror backup', then add --force", c.Address(), e.Stored)
		}
		for i := range e.Violations {
			e.Violations[i].Source = path
		}
	}
	if err != nil {
		return err
	}
	out := &printer{w: cmd.OutOrStdout()}
	if len(done.Replaced) > 0 {
		out.printf("Replaced %s.\n", done.Replaced)
	}
	out.printf("Restored %s.\n", done.Restored)
	return out.err
}
