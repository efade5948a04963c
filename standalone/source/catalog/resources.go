package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"maps"
	"slices"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
)

// item is one resource.
type item struct {
	entry Entry
	// served is the resource decoded; nil where it is not valid.
	served *api.Resource
	// violations say why, of one of the store.
	violations api.Violations
	// content is store.Record.Content; empty for one of a file.
	content string
	// draft is what is to be written; nil once it is.
	draft *store.Draft
}

func (it *item) key() api.Key { return it.entry.Resource.Key() }

// layer is resources by key; nil for one that is deleted.
type layer = map[api.Key]*item

// resources are those of files and store.
type resources struct {
	held layer // by files
	// stored is what the store has, and above that layers of changes that it
	// does not have yet.
	stored []layer
}

// with returns the resources with changes on top. Those of r must stay as they
// are while it is used.
func (r resources) with(changes layer) resources {
	return resources{r.held, append(slices.Clip(r.stored), changes)}
}

// top is the layer that takes changes.
func (r resources) top() layer { return r.stored[len(r.stored)-1] }

// getStored returns what is, or will be, in the store; nil for nothing.
func (r resources) getStored(key api.Key) *item {
	for _, l := range slices.Backward(r.stored) {
		if it, ok := l[key]; ok {
			return it
		}
	}
	return nil
}

// allStored gives everything that is, or will be, in the store.
func (r resources) allStored() iter.Seq2[api.Key, *item] {
	return func(yield func(api.Key, *item) bool) {
		for i, l := range r.stored {
			above := resources{stored: r.stored[i+1:]}
			for key, it := range l {
				if it != nil && !above.covers(key) && !yield(key, it) {
					return
				}
			}
		}
	}
}

func (r resources) countStored() Counts {
	counts := Counts{}
	for key := range r.allStored() {
		counts[key.Kind]++
	}
	return counts
}

// covers reports whether a layer says something of the key.
func (r resources) covers(key api.Key) bool {
	return slices.ContainsFunc(r.stored, func(l layer) bool {
		_, ok := l[key]
		return ok
	})
}

// get returns what is in use; nil for nothing.
func (r resources) get(key api.Key) *item {
	if it := r.held[key]; it != nil {
		return it
	}
	if it := r.getStored(key); it != nil {
		return it
	}
	if key.Kind == api.KindMesh && r.hasMesh(key.Name) {
		return impliedMesh(key.Name)
	}
	return nil
}

// written gives everything in use that somebody has written.
func (r resources) written() iter.Seq2[api.Key, *item] {
	return func(yield func(api.Key, *item) bool) {
		for key, it := range r.held {
			if !yield(key, it) {
				return
			}
		}
		for key, it := range r.allStored() {
			if r.held[key] == nil && !yield(key, it) {
				return
			}
		}
	}
}

// all gives everything in use, the meshes that are implied too.
func (r resources) all() iter.Seq2[api.Key, *item] {
	return func(yield func(api.Key, *item) bool) {
		for key, it := range r.written() {
			if !yield(key, it) {
				return
			}
		}
		for _, name := range r.impliedMeshes() {
			if !yield(meshKey(name), impliedMesh(name)) {
				return
			}
		}
	}
}

// impliedMeshes are the names of those that are there though nobody has written
// a Mesh: the default one, and those that something in use belongs to.
func (r resources) impliedMeshes() []string {
	names := map[string]bool{api.DefaultMesh: true}
	for key := range r.written() {
		if key.Mesh != "" {
			names[key.Mesh] = true
		}
	}
	maps.DeleteFunc(names, func(name string, _ bool) bool { return r.writtenMesh(name) })
	return slices.Sorted(maps.Keys(names))
}

// in gives everything in use that belongs to a mesh.
func (r resources) in(mesh string) iter.Seq2[api.Key, *item] {
	return func(yield func(api.Key, *item) bool) {
		for key, it := range r.written() {
			if key.Mesh == mesh && !yield(key, it) {
				return
			}
		}
	}
}

func (r resources) servedResources() []*api.Resource {
	var served []*api.Resource
	for _, it := range r.all() {
		if it.served != nil {
			served = append(served, it.served)
		}
	}
	return served
}

// writtenMesh reports whether somebody has written a Mesh of that name.
func (r resources) writtenMesh(name string) bool {
	return r.held[meshKey(name)] != nil || r.getStored(meshKey(name)) != nil
}

// hasMesh reports whether there is a mesh of that name.
func (r resources) hasMesh(name string) bool {
	if name == api.DefaultMesh || r.writtenMesh(name) {
		return true
	}
	for range r.in(name) {
		return true
	}
	return false
}

// meshes are the names of all there are.
func (r resources) meshes() map[string]bool {
	names := map[string]bool{}
	for key := range r.all() {
		if key.Kind == api.KindMesh {
			names[key.Name] = true
		}
	}
	return names
}

func meshKey(name string) api.Key { return api.Key{Kind: api.KindMesh, Name: name} }

// impliedMesh is a Mesh that nobody has written.
func impliedMesh(name string) *item {
	r := &api.Resource{Kind: api.KindMesh, Meta: api.Meta{Name: name}, Spec: &api.Mesh{}}
	return &item{entry: Entry{Resource: r, ETag: contentTag(r)}, served: r}
}

// contentTag is the entity tag of what has no other version than its content.
func contentTag(r *api.Resource) string {
	written, err := api.EncodeJSON(r)
	if err != nil {
		// Nothing that is valid has such a value.
		written = []byte(err.Error())
	}
	sum := sha256.Sum256(written)
	return quoted(hex.EncodeToString(sum[:8]))
}

func quoted(tag string) string { return `"` + tag + `"` }
