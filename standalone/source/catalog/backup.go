package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
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

// Counts are numbers of resources, by kind.
type Counts map[api.Kind]int

// String gives "1 Mesh, 2 Dataplanes", or "nothing".
func (c Counts) String() string {
	var parts []string
	for _, kind := range []api.Kind{api.KindMesh, api.KindDataplane, api.KindExternalService, api.KindTrafficRoute} {
		switch n := c[kind]; {
		case n > 1 && kind == api.KindMesh:
			parts = append(parts, fmt.Sprintf("%d Meshes", n))
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", n, kind))
		case n == 1:
			parts = append(parts, fmt.Sprintf("1 %s", kind))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// Restored is what a Restore did. Its JSON is what POST /restore answers.
type Restored struct {
	// Replaced is what the store held, Restored what it holds now.
	Replaced Counts `json:"replaced"`
	Restored Counts `json:"restored"`
}

// Restore replaces everything in the store by what a backup holds, at once: it
// is on disk, and in use, when Restore returns. Resources have the times of the
// backup, and other ETags than ever before. Where the store is not empty it is a
// *NotEmptyError, unless force is set. A backup that is damaged, of a newer
// version or not valid is an *InvalidError. Either changes nothing. The other
// errors are *ReadOnlyError where there is no store, *UnavailableError, that of
// reading r and that of ctx.
func (c *Catalog) Restore(ctx context.Context, r io.Reader, force bool) (Restored, error) {
	if c.store == nil {
		return Restored{}, &ReadOnlyError{}
	}
	if !force {
		// Looked at again when it is written; this spares the reading.
		c.mu.RLock()
		stored := c.countStored()
		c.mu.RUnlock()
		if len(stored) > 0 {
			return Restored{}, &NotEmptyError{Stored: stored}
		}
	}
	from := &source{r: r}
	records, err := c.store.ReadBackup(from)
	switch {
	case err == nil:
	case from.failed != nil:
		return Restored{}, from.failed
	case errors.Is(err, store.ErrDamaged), errors.Is(err, store.ErrNewer):
		return Restored{}, &InvalidError{Violations: api.Violations{{Source: backupSource, Message: err.Error()}}}
	default:
		return Restored{}, &UnavailableError{Err: err}
	}
	w := newWrite()
	w.replace, w.force = true, force
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
		return Restored{}, &InvalidError{Violations: violations.Sorted()}
	}
	if err := c.do(ctx, w); err != nil {
		return Restored{}, err
	}
	c.onWrite(ctx, w.written(), nil)
	return w.restored, nil
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
