package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
)

// Result is what a write did to one resource.
type Result string

// The results of writes. A write that would change nothing but the times is not
// done: times and ETag stay as they are.
const (
	Created    Result = "created"
	Configured Result = "configured"
	Unchanged  Result = "unchanged"
	Deleted    Result = "deleted"
	// Failed is the result of a write that was not done, for Options.OnWrite.
	Failed Result = "failed"
)

// Written is what a write did to one resource, or was to do.
type Written struct {
	Key    api.Key
	Result Result
	// Before and After are the resource decoded; nil where there was, or is,
	// none, and where the write failed.
	Before, After *api.Resource
}

// Applied is what became of one resource of a Change.
type Applied struct {
	// Entry as it is now; as it was, for a deleted one. In a DryRun one that
	// would be written has no ETag.
	Entry
	Result Result
}

// Put writes a resource, which must not be changed afterwards. It is on disk,
// and seen by Get, when Put returns; the data planes have it a moment later.
// CreationTime and ModificationTime are the catalog's: those of r do not count.
// What is in use already is not written again, and keeps its ETag and times.
//
// The errors are those of Change.
func (c *Catalog) Put(ctx context.Context, r *api.Resource, when If) (e Entry, created bool, err error) {
	applied, err := c.change(ctx, []*api.Resource{r}, nil, when)
	if err != nil {
		return Entry{}, false, err
	}
	return applied[0].Entry, applied[0].Result == Created, nil
}

// Delete removes a resource. A Mesh takes its TrafficRoutes and
// ExternalServices with it, as in Kuma; one with Dataplanes is not deleted. The
// errors are those of Change.
func (c *Catalog) Delete(ctx context.Context, key api.Key, when If) error {
	_, err := c.change(ctx, nil, []api.Key{key}, when)
	return err
}

// Change does several writes or, where one of them cannot be done, none: what
// became of each, puts before deletes.
//
// The error is *InvalidError, *NotFoundError, *ConflictError, ErrPrecondition,
// *ReadOnlyError or *UnavailableError, maybe wrapped, or that of ctx: then
// nothing is changed. Any other is a mistake in this program, after which the
// change may be on disk or not.
func (c *Catalog) Change(ctx context.Context, puts []*api.Resource, deletes []api.Key) ([]Applied, error) {
	return c.change(ctx, puts, deletes, If{})
}

// change does writes on a condition, which is for one resource, and tells of them.
func (c *Catalog) change(ctx context.Context, puts []*api.Resource, deletes []api.Key, when If) (applied []Applied, err error) {
	var w *write
	defer func() {
		if err == nil {
			c.onWrite(ctx, w.written(), nil)
			return
		}
		var asked []Written
		for _, r := range puts {
			asked = append(asked, Written{Key: r.Key(), Result: Failed})
		}
		for _, key := range deletes {
			asked = append(asked, Written{Key: key, Result: Failed})
		}
		c.onWrite(ctx, asked, err)
	}()
	if c.store == nil {
		return nil, &ReadOnlyError{}
	}
	if w, err = c.newPuts(puts); err != nil {
		return nil, err
	}
	w.deletes, w.when = deletes, when
	err = c.do(ctx, w)
	return w.applied, err
}

// DryRun is what a Change would do, all of it at one moment.
type DryRun struct {
	// Applied is what would become of each.
	Applied []Applied
	// Before is what Run hands over, After what it would hand over then.
	Before, After []*api.Resource
}

// DryRun says what a Change would do, with or without a store. The errors are
// those of Change but for that of the disk.
func (c *Catalog) DryRun(puts []*api.Resource, deletes []api.Key) (DryRun, error) {
	w, err := c.newPuts(puts)
	if err != nil {
		return DryRun{}, err
	}
	w.deletes = deletes
	c.mu.RLock()
	defer c.mu.RUnlock()
	changes := layer{}
	if err := w.plan(c.resources, changes, time.Now()); err != nil {
		return DryRun{}, err
	}
	if err := noLoops(c.resources, c.with(changes)); err != nil {
		return DryRun{}, err
	}
	w.finish()
	return DryRun{Applied: w.applied, Before: c.servedResources(), After: c.with(changes).servedResources()}, nil
}

// write is one or more resources to be written or deleted together.
type write struct {
	puts    []put
	deletes []api.Key
	when    If   // where it is about one
	replace bool // of everything in the store, with the times in puts
	force   bool // with replace: of what is not empty, too

	// What comes of it; to be read when done is closed.
	done     chan struct{}
	planned  []planned
	also     []planned // what goes without having been named
	applied  []Applied
	restored Restored // with replace
	err      error
}

func newWrite() *write { return &write{done: make(chan struct{})} }

// planned is what becomes of one resource: the item that will be, or was.
type planned struct {
	item   *item
	result Result
	was    *item // nil where there was none
}

// put is a resource that is valid by itself.
type put struct {
	draft  *store.Draft
	served *api.Resource // decoded
}

// prepare does what takes time, before it is anybody's turn to write.
func prepare(r *api.Resource) (put, api.Violations) {
	served, violations := decode(r)
	draft, err := store.NewDraft(r)
	if err != nil {
		violations = append(violations, r.Violation("", "%s", err))
	}
	return put{draft: draft, served: served}, violations
}

// newPuts is a write of resources.
func (c *Catalog) newPuts(resources []*api.Resource) (*write, error) {
	w := newWrite()
	var violations api.Violations
	for _, r := range resources {
		p, found := prepare(r)
		violations = append(violations, found...)
		w.puts = append(w.puts, p)
	}
	c.mu.RLock()
	meshes := w.meshes(c.resources)
	c.mu.RUnlock()
	violations = append(violations, w.validate(meshes)...)
	if len(violations) > 0 {
		return nil, &InvalidError{Violations: violations.Sorted()}
	}
	return w, nil
}

// meshes are those that the puts need or, where one of them is not there, all
// that are, to be named.
func (w *write) meshes(among resources) map[string]bool {
	needed := map[string]bool{}
	for _, p := range w.puts {
		if mesh := p.served.Meta.Mesh; mesh != "" {
			needed[mesh] = true
		}
	}
	for name := range needed {
		if !among.hasMesh(name) {
			return among.meshes()
		}
	}
	return needed
}

// validate returns what is wrong with the puts where these meshes are there.
func (w *write) validate(meshes map[string]bool) api.Violations {
	var all []*api.Resource
	for _, p := range w.puts {
		all = append(all, p.served)
	}
	return validateAllIn(all, meshes)
}

// plan adds what w does to changes, which is empty, or returns why it cannot be
// done.
func (w *write) plan(before resources, changes layer, now time.Time) error {
	after := before.with(changes)
	if w.replace {
		return w.planReplace(before, changes)
	}
	w.planned, w.also = nil, nil
	for _, p := range w.puts {
		key := p.draft.Resource.Key()
		if held := after.held[key]; held != nil {
			return &ReadOnlyError{Key: key, File: held.entry.File}
		}
		was := before.get(key)
		if !w.when.holds(was) {
			return fmt.Errorf("%s: %w", key, ErrPrecondition)
		}
		w.planned = append(w.planned, planPut(after, p, was, now))
	}
	if err := w.planDeletes(after); err != nil {
		return err
	}
	for _, p := range w.puts {
		mesh := p.served.Meta.Mesh
		switch {
		case after.get(p.served.Key()) == nil:
			return &InvalidError{Violations: api.Violations{p.served.Violation("", "is to be written, and to be deleted by itself or with its mesh")}}
		case mesh != "" && !after.writtenMesh(mesh) && !before.hasMesh(mesh):
			// It has gone since they were validated.
			return &InvalidError{Violations: w.validate(w.meshes(before))}
		}
	}
	return nil
}

func (w *write) planDeletes(after resources) error {
	// Meshes last, when what is in them may be gone.
	deletes := slices.SortedStableFunc(slices.Values(w.deletes), func(a, b api.Key) int { return isMesh(a) - isMesh(b) })
	gone := layer{}
	for _, key := range deletes {
		was, err := w.planDelete(after, key)
		if err != nil {
			return err
		}
		gone[key] = was
	}
	for _, key := range w.deletes {
		w.planned = append(w.planned, planned{gone[key], Deleted, gone[key]})
	}
	return nil
}

func isMesh(key api.Key) int {
	if key.Kind == api.KindMesh {
		return 1
	}
	return 0
}

// planPut plans one put, before which there was was.
func planPut(after resources, p put, was *item, now time.Time) planned {
	key := p.draft.Resource.Key()
	stored := after.getStored(key)
	if stored != nil && stored.content == p.draft.Content {
		return planned{stored, Unchanged, stored}
	}
	created := now.UTC()
	if stored != nil {
		created = stored.entry.Resource.Meta.CreationTime
	}
	after.top()[key] = newItem(p, created, now.UTC())
	if was != nil {
		return planned{after.top()[key], Configured, was}
	}
	return planned{after.top()[key], Created, nil}
}

// newItem is an item that is to be written.
func newItem(p put, created, modified time.Time) *item {
	draft := *p.draft
	resource := *p.draft.Resource
	resource.Meta.CreationTime, resource.Meta.ModificationTime = created, modified
	draft.Resource = &resource
	it := &item{entry: Entry{Resource: &resource}, served: &resource, content: draft.Content, draft: &draft}
	if p.served.Spec != resource.Spec {
		served := resource
		served.Spec = p.served.Spec
		it.served = &served
	}
	return it
}

// planDelete plans one deletion and returns what was there.
func (w *write) planDelete(after resources, key api.Key) (*item, error) {
	if held := after.held[key]; held != nil {
		return nil, &ReadOnlyError{Key: key, File: held.entry.File}
	}
	was := after.get(key)
	if was == nil {
		return nil, &NotFoundError{Key: key}
	}
	if !w.when.holds(was) {
		return nil, fmt.Errorf("%s: %w", key, ErrPrecondition)
	}
	if key.Kind == api.KindMesh {
		if err := w.planMeshDelete(after, key); err != nil {
			return nil, err
		}
	}
	after.top()[key] = nil
	return was, nil
}

// planMeshDelete plans the deletion of what goes with a mesh.
func (w *write) planMeshDelete(after resources, key api.Key) error {
	var dataplanes, held, others []string
	var goes []api.Key
	for k, it := range after.in(key.Name) {
		switch {
		case k.Kind == api.KindDataplane:
			dataplanes = append(dataplanes, k.Name)
		case it.entry.File != "":
			held = append(held, fmt.Sprintf("%s %q of %s", k.Kind, k.Name, it.entry.File))
		default:
			goes = append(goes, k)
			others = append(others, fmt.Sprintf("%s %q", k.Kind, k.Name))
		}
	}
	switch {
	case len(dataplanes) > 0:
		return &ConflictError{Reason: fmt.Sprintf("the mesh %q cannot be deleted while there are Dataplanes in it: %s", key.Name, some(dataplanes))}
	case len(held) > 0:
		return &ConflictError{Reason: fmt.Sprintf("the mesh %q cannot be deleted while files hold what is in it: %s", key.Name, some(held))}
	case after.getStored(key) == nil && key.Name == api.DefaultMesh:
		return &ConflictError{Reason: fmt.Sprintf("the mesh %q is always there", key.Name)}
	case after.getStored(key) == nil:
		return &ConflictError{Reason: fmt.Sprintf("the mesh %q has no Mesh to delete; it is there as long as something is in it: %s", key.Name, some(others))}
	}
	for _, k := range goes {
		was := after.get(k)
		w.also = append(w.also, planned{was, Deleted, was})
		after.top()[k] = nil
	}
	return nil
}

// some names a few of many.
func some(names []string) string {
	slices.Sort(names)
	const most = 5
	if more := len(names) - most; more > 0 {
		names = append(names[:most:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// planReplace plans the replacement of everything.
func (w *write) planReplace(before resources, changes layer) error {
	w.restored = Restored{Replaced: before.countStored(), Restored: Counts{}}
	if len(w.restored.Replaced) > 0 && !w.force {
		return &NotEmptyError{Stored: w.restored.Replaced}
	}
	w.planned, w.also = nil, nil
	stored := layer{}
	for key, was := range before.allStored() {
		changes[key], stored[key] = nil, was
	}
	for _, p := range w.puts {
		w.restored.Restored[p.served.Kind]++
		meta := p.served.Meta // of the backup
		it := newItem(p, meta.CreationTime, meta.ModificationTime)
		changes[it.key()] = it
		w.planned = append(w.planned, planned{it, Configured, stored[it.key()]})
	}
	for key, was := range stored {
		if changes[key] == nil {
			w.also = append(w.also, planned{was, Deleted, was})
		}
	}
	return nil
}

// finish tells what became of the write.
func (w *write) finish() {
	for _, p := range w.planned {
		w.applied = append(w.applied, Applied{Entry: p.item.entry, Result: p.result})
	}
}

// written is what became of each resource, those among them that went with a mesh.
func (w *write) written() []Written {
	var all []Written
	for _, p := range slices.Concat(w.planned, w.also) {
		one := Written{Key: p.item.key(), Result: p.result}
		if p.was != nil {
			one.Before = p.was.served
		}
		if p.result != Deleted {
			one.After = p.item.served
		}
		if one.Result == Configured && p.was == nil {
			one.Result = Created // of a backup
		}
		all = append(all, one)
	}
	return all
}
