// Package catalog holds the resources in use: those of files, and those of the
// store that no file holds. All that is written over the API goes through it.
package catalog

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/files"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
)

// Options of New.
type Options struct {
	// Store takes what is written; nil means that writes are refused. It is
	// the caller's to close, after Run and all calls have returned.
	Store *store.Store
	// Files come before the store; nil means that there are none. Their Check
	// is Validate.
	Files *files.Source
	// Log takes what is not as its author may think; nil means
	// slog.Default().
	Log *slog.Logger
	// OnWrite, where it is set, is called by every Put, Delete and Change before
	// it returns, with its context: with what was written, or with what was to
	// be and the error. Restore calls it with what it has written.
	OnWrite func(context.Context, []Written, error)
}

// Catalog is the resources in use. Its methods may be called from any
// goroutine.
//
// What a file holds is in use, and not the store's resource of that key, which
// comes back when the file gives it up. The mesh `default` is always there, and
// so is one that anything in use belongs to.
type Catalog struct {
	store *store.Store
	files *files.Source
	log   *slog.Logger
	// onWrite is never nil.
	onWrite func(context.Context, []Written, error)
	// changed has something in it when Run has something to hand over.
	changed chan struct{}

	turn  chan struct{} // full while somebody writes
	queue queue

	mu sync.RWMutex // guards resources; what is stored is changed by who has the turn
	resources
}

// Entry is one resource in use.
type Entry struct {
	// Resource as it was written: an encoded policy is encoded. Never
	// changed. One of the store has its times in Meta.
	Resource *api.Resource
	// ETag is a strong entity tag with its quotes: another for every write,
	// and for every content of a file.
	ETag string
	// File is where it comes from, as in Resource.Source; empty when it was
	// written over the API, and for a Mesh that is there without having been
	// written.
	File string
}

// New returns a catalog of what is in the store and in the files now.
func New(o Options) (*Catalog, error) {
	c := &Catalog{
		store: o.Store, files: o.Files, log: o.Log,
		changed: make(chan struct{}, 1), turn: make(chan struct{}, 1),
		resources: resources{held: layer{}, stored: []layer{{}}},
	}
	if c.log == nil {
		c.log = slog.Default()
	}
	if c.onWrite = o.OnWrite; c.onWrite == nil {
		c.onWrite = func(context.Context, []Written, error) {}
	}
	if c.store != nil {
		records, err := c.store.Records()
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			it := c.storedItem(r)
			c.top()[it.key()] = it
		}
	}
	if c.files != nil {
		c.setFiles(c.files.Resources())
	}
	c.warnOfMeshes(nil)
	c.warnOfLoops()
	return c, nil
}

// storedItem is what is in use of a record. One that this version finds invalid
// stays in the store, where it can be mended, and is not served.
func (c *Catalog) storedItem(r store.Record) *item {
	it := &item{entry: Entry{Resource: r.Resource, ETag: quoted(r.Digest)}, content: r.Content}
	served, violations := decode(r.Resource)
	violations = append(violations, validateIn(served, map[string]bool{r.Resource.Meta.Mesh: true})...)
	for _, v := range violations {
		c.log.Error("a resource of the store is not valid to this version, and not in use; write it anew", "problem", v.String())
	}
	if len(violations) == 0 {
		it.served = served
	} else {
		it.violations = violations
	}
	return it
}

// setFiles makes resources what the files hold.
func (c *Catalog) setFiles(all []*api.Resource) {
	held := make(layer, len(all))
	for _, r := range all {
		// Of what has not changed, files.Source gives the same pointers.
		if was := c.held[r.Key()]; was != nil && was.entry.Resource == r {
			held[r.Key()] = was
			continue
		}
		it := &item{entry: Entry{Resource: r, ETag: contentTag(r), File: r.Source}}
		var violations api.Violations
		if it.served, violations = decode(r); len(violations) > 0 {
			it.served = nil // which Validate, the files' Check, does not let through
		}
		held[r.Key()] = it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	implied := c.impliedMeshes()
	same := len(held) == len(c.held)
	for key, it := range held {
		same = same && c.held[key] == it
		if c.held[key] == nil && c.getStored(key) != nil {
			c.log.Warn("a file holds a resource that the store has too: the file's is in use, and the store's again when the file gives it up",
				"resource", key.String(), "file", it.entry.File)
		}
	}
	for key := range c.held {
		if held[key] == nil && c.getStored(key) != nil {
			c.log.Info("no file holds a resource any more: the store's is in use again", "resource", key.String())
		}
	}
	c.held = held
	if !same {
		c.warnOfMeshes(implied)
		c.warnOfLoops()
		c.notify()
	}
}

// warnOfMeshes warns of the meshes that are there without a Mesh, if they are
// not known.
func (c *Catalog) warnOfMeshes(known []string) {
	for _, name := range c.impliedMeshes() {
		if name != api.DefaultMesh && !slices.Contains(known, name) {
			c.log.Warn("a mesh has no Mesh any more, which a file held; what is in it stays in use", "mesh", name)
		}
	}
}

// warnOfLoops warns of loops between what files and the store hold, which the
// files' Check cannot see, and of those that are older than the check.
func (c *Catalog) warnOfLoops() {
	for _, v := range mesh.Loops(c.servedResources()) {
		c.log.Warn("mirrors make a loop, which ends after one copy", "problem", v.String())
	}
}

// notify has Run hand over what is in use.
func (c *Catalog) notify() {
	select {
	case c.changed <- struct{}{}:
	default: // it will, anyway
	}
}

// breather bounds how long Run waits after a long update for the next.
const breather = time.Second

// Run calls update with what is in use, decoded and valid, at first and after
// every change, until ctx ends; it follows the files meanwhile. Of changes that
// happen while update works it hands over the latest state. Updates take half
// of the time at most, which leaves the rest to the writes that cause them.
// Run can be called once.
func (c *Catalog) Run(ctx context.Context, update func([]*api.Resource)) error {
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer func() {
		cancel()
		following.Wait()
	}()
	failed := make(chan error, 1)
	if c.files != nil {
		following.Go(func() { failed <- c.files.Run(ctx, c.setFiles) })
	}
	for {
		start := time.Now()
		update(c.InUse())
		rest := time.After(min(time.Since(start), breather))
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			if err == nil && ctx.Err() == nil {
				err = errors.New("the files are not followed any more")
			}
			return err
		case <-c.changed:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-rest:
		}
	}
}

// InUse returns what Run hands over.
func (c *Catalog) InUse() []*api.Resource {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.servedResources()
}

// Invalid returns what is wrong with the resources of the store that are not in use
// because this version finds them invalid.
func (c *Catalog) Invalid() map[api.Key]api.Violations {
	c.mu.RLock()
	defer c.mu.RUnlock()
	invalid := map[api.Key]api.Violations{}
	for key, it := range c.written() {
		if len(it.violations) > 0 {
			invalid[key] = it.violations
		}
	}
	return invalid
}

// Get returns the resource of that key, where there is one in use.
func (c *Catalog) Get(key api.Key) (Entry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if it := c.get(key); it != nil {
		return it.entry, true
	}
	return Entry{}, false
}

// List returns the resources of a kind, ordered by mesh and name; those of all
// meshes where mesh is empty.
func (c *Catalog) List(kind api.Kind, mesh string) []Entry {
	c.mu.RLock()
	among := c.written()
	if kind == api.KindMesh {
		among = c.all()
	}
	var all []Entry
	for key, it := range among {
		if key.Kind == kind && (mesh == "" || key.Mesh == mesh) {
			all = append(all, it.entry)
		}
	}
	c.mu.RUnlock()
	slices.SortFunc(all, func(a, b Entry) int { return compareKeys(a.Resource.Key(), b.Resource.Key()) })
	return all
}

func compareKeys(a, b api.Key) int {
	return cmp.Or(
		strings.Compare(a.Mesh, b.Mesh),
		strings.Compare(a.Name, b.Name),
		strings.Compare(string(a.Kind), string(b.Kind)),
	)
}
