package catalog

import (
	"context"
	"errors"
	"io"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/store"
)

// Backup writes a copy of the store to w, as it is at one moment; see
// store.Store. The error is *ReadOnlyError where there is no store, else that of
// writing to w.
func (c *Catalog) Backup(w io.Writer) error {
	if c.store == nil {
		return &ReadOnlyError{}
	}
	return c.store.Backup(w)
}

// Restore replaces everything in the store by what a backup holds, at once: it
// is on disk, and in use, when Restore returns. Resources have the times of the
// backup, and other ETags than ever before. A backup that is damaged, of a newer
// version or not valid is an *InvalidError, and changes nothing. The other
// errors are *ReadOnlyError where there is no store, *UnavailableError, that of
// reading r and that of ctx.
func (c *Catalog) Restore(ctx context.Context, r io.Reader) error {
	if c.store == nil {
		return &ReadOnlyError{}
	}
	from := &source{r: r}
	records, err := c.store.ReadBackup(from)
	switch {
	case err == nil:
	case from.failed != nil:
		return from.failed
	case errors.Is(err, store.ErrDamaged), errors.Is(err, store.ErrNewer):
		return &InvalidError{Violations: api.Violations{{Source: backupSource, Message: err.Error()}}}
	default:
		return &UnavailableError{Err: err}
	}
	w := newWrite()
	w.replace = true
	meshes := map[string]bool{}
	var violations api.Violations
	var all []*api.Resource
	for _, record := range records {
		read := *record.Resource
		read.Source = backupSource
		// A Mesh may be in a file, or have been in one that is gone.
		meshes[read.Meta.Mesh] = true
		p, found := prepare(&read)
		violations = append(violations, found...)
		all = append(all, p.served)
		w.puts = append(w.puts, p)
	}
	violations = append(violations, validateAllIn(all, meshes)...)
	if len(violations) > 0 {
		return &InvalidError{Violations: violations.Sorted()}
	}
	return c.do(ctx, w)
}

// backupSource is the Source of what is wrong with a backup.
const backupSource = "backup"

// source remembers the error of a reader.
type source struct {
	r      io.Reader
	failed error
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.failed = err
	}
	return n, err
}
