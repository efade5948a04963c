package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
)

func newBackupCommand() *cobra.Command {
	var flags clientFlags
	var force bool
	cmd := &cobra.Command{
		Use:   "backup FILE|-",
		Short: "Save a copy of a host's store",
		Long: `Backup saves everything that was written to a host over its API, as it is at one
moment, while the host goes on. What the host has from files is not in it.

The file is there when all of it is, and on the disk; only its owner can read it.
A file that is there already stays, unless --force is given. - is standard output.

Exit codes:
  0  saved
  1  the host does not answer, or the file cannot be written
  2  the command line is wrong`,
		Example: `  kuma-mirror backup kuma-mirror-$(date +%F).backup
  kuma-mirror backup - | ssh other.example 'cat > kuma-mirror.backup'`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.client()
			if err != nil {
				return err
			}
			p := newProgress(cmd.ErrOrStderr(), "saved")
			if args[0] == api.Stdin {
				size, err := c.Backup(cmd.Context(), cmd.OutOrStdout(), p.show)
				p.clear()
				return finish(err, func() error { return warnOfSize(cmd.ErrOrStderr(), size) })
			}
			var size int64
			err = writeFile(args[0], force, func(w io.Writer) error {
				size, err = c.Backup(cmd.Context(), w, p.show)
				return err
			})
			p.clear()
			return finish(err, func() error {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "Saved %s to %s\n", byteCount(size), args[0]); err != nil {
					return err
				}
				return warnOfSize(cmd.ErrOrStderr(), size)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there already")
	return cmd
}

// warnOfSize warns of a backup that cannot be restored over the API.
func warnOfSize(w io.Writer, size int64) error {
	if size <= store.MaxBackupBytes {
		return nil
	}
	_, err := fmt.Fprintf(w, "Warning: 'kuma-mirror restore' takes at most %s. This backup can only take the place of store.db, while no host runs.\n",
		byteCount(store.MaxBackupBytes))
	return err
}

// oneFile is for commands with one file as their only argument.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return fmt.Errorf("%s needs one FILE, or - for standard input and output", cmd.Name())
	}
	return nil
}

// writeFile makes a file of what write gives, all of it or nothing. One that is
// there already is replaced with force only.
func writeFile(path string, force bool, write func(io.Writer) error) error {
	exists := &fs.PathError{Op: "write", Path: path, Err: errors.New("is there already; choose another name, or add --force to replace it")}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return &fs.PathError{Op: "write", Path: path, Err: errors.New("is a directory")}
	case err == nil && !force:
		return exists
	}
	// CreateTemp's mode is 0600. In the same directory it can be renamed.
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	err = write(file)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if force {
		return os.Rename(file.Name(), path)
	}
	// Somebody may have made the file meanwhile.
	if err = store.Publish(file.Name(), path); errors.Is(err, fs.ErrExist) {
		return exists
	}
	return err
}

// progress tells on a terminal, in one line, how far a long transfer is.
type progress struct {
	w     io.Writer
	what  string
	start time.Time
	shown time.Time
}

// newProgress returns nil, which shows nothing, where w is no terminal.
func newProgress(w io.Writer, what string) *progress {
	if !isTerminal(w) {
		return nil
	}
	return &progress{w: w, what: what, start: time.Now()}
}

func (p *progress) show(bytes int64) {
	const often = 200 * time.Millisecond
	now := time.Now()
	if p == nil || now.Sub(p.start) < time.Second || now.Sub(p.shown) < often {
		return
	}
	p.shown = now
	_, _ = fmt.Fprintf(p.w, "\r%s %s\x1b[K", byteCount(bytes), p.what)
}

func (p *progress) clear() {
	if p != nil && !p.shown.IsZero() {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// byteCount is a size for people: 812 bytes, 64.0 KiB, 3.2 MiB.
func byteCount(n int64) string {
	switch {
	case n < 1<<10:
		return count(int(n), "byte")
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	default:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
}
