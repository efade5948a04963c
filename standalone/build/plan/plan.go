// Package plan says what a change of resources would do to the Envoys of the
// data planes, before it does.
package plan

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/check"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
)

// Plan is what a change would do. Its JSON is what POST /plan answers.
type Plan struct {
	// Resources are those asked for, in that order, and what would become of
	// each.
	Resources []Resource `json:"resources"`
	// Dataplanes are those whose Envoys would get another configuration,
	// ordered by mesh and name.
	Dataplanes []Dataplane `json:"dataplanes"`
	// Diffs are unified diffs of Envoy's YAML, by their Change.Diff. Many data
	// planes often share one.
	Diffs map[string]string `json:"diffs"`
	// Warnings are those that the change brings, and those of the resources
	// asked for.
	Warnings []Warning `json:"warnings"`
}

// Resource is a resource asked for. POST /apply answers a list of them.
type Resource struct {
	Kind api.Kind `json:"kind"`
	// Mesh is empty for a Mesh.
	Mesh   string         `json:"mesh,omitempty"`
	Name   string         `json:"name"`
	Result catalog.Result `json:"result"`
}

// ResourcesOf returns what became, or would become, of each resource of a change.
func ResourcesOf(applied []catalog.Applied) []Resource {
	all := make([]Resource, len(applied))
	for i, a := range applied {
		key := a.Resource.Key()
		all[i] = Resource{Kind: key.Kind, Mesh: key.Mesh, Name: key.Name, Result: a.Result}
	}
	return all
}

// Key returns the resource's identity.
func (r Resource) Key() api.Key { return api.Key{Kind: r.Kind, Mesh: r.Mesh, Name: r.Name} }

// Verb is what happens to a data plane or to one of its Envoy's resources.
type Verb string

// All there is to happen.
const (
	Added   Verb = "added"
	Removed Verb = "removed"
	Changed Verb = "changed"
)

// Dataplane is what a change would do to one data plane.
type Dataplane struct {
	Mesh string `json:"mesh"`
	Name string `json:"name"`
	// Change says whether the data plane itself comes, goes or stays.
	Change Verb `json:"change"`
	// Changes of its Envoy's resources, ordered by type and name.
	Changes []Change `json:"changes"`
	// Mirrors that would not be as they were, ordered by listener, policy and
	// path.
	Mirrors []Mirror `json:"mirrors"`
	// Error is why nothing could be generated, and the Envoy would keep what it
	// has; empty where it could.
	Error string `json:"error,omitempty"`
}

// Type is a type of Envoy's resources.
type Type string

// The types, in the order of Dataplane.Changes.
const (
	Listener  Type = "listener"
	Route     Type = "route"
	Cluster   Type = "cluster"
	Endpoints Type = "endpoints"
)

// Change is what would happen to one resource of an Envoy.
type Change struct {
	Type   Type   `json:"type"`
	Name   string `json:"name"`
	Change Verb   `json:"change"`
	// Diff is the key of Plan.Diffs; empty where the whole data plane comes or
	// goes.
	Diff string `json:"diff,omitempty"`
}

// Warning is something that an author of resources should know.
type Warning struct {
	// Object names the resource, as api.Key.String does.
	Object string `json:"object"`
	// Path of the field; empty for the whole resource.
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
}

// For says what putting and deleting resources would do now. Its errors are
// those of catalog.Catalog.DryRun, and ctx's.
func For(ctx context.Context, c *catalog.Catalog, puts []*api.Resource, deletes []api.Key) (*Plan, error) {
	would, err := c.DryRun(puts, deletes)
	if err != nil {
		return nil, err
	}
	return Make(ctx, would.Before, would.After, ResourcesOf(would.Applied))
}

// Make says what going from the resources before to those after would do. Both
// are decoded and valid, with unique keys, and stay as they are. asked is for
// Plan.Resources. Equal resources give an equal plan. The error is ctx's.
func Make(ctx context.Context, before, after []*api.Resource, asked []Resource) (*Plan, error) {
	p := &Plan{
		Resources:  append([]Resource{}, asked...),
		Dataplanes: []Dataplane{},
		Diffs:      map[string]string{},
		Warnings:   []Warning{},
	}
	var work sync.WaitGroup
	var was, is api.Violations
	// A caller must not learn which files this machine has.
	work.Go(func() { _, was = check.Resources(ctx, before, nil) })
	work.Go(func() { _, is = check.Resources(ctx, after, nil) })
	p.dataplanes(ctx, before, after)
	work.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	p.warnings(was, is, asked)
	return p, nil
}

// dataplanes fills Dataplanes and Diffs.
func (p *Plan) dataplanes(ctx context.Context, before, after []*api.Resource) {
	change := generate.Compare(before, after)
	w := &world{before: mesh.New(before), after: mesh.New(after)}
	var touched []api.Key
	for _, key := range w.after.Dataplanes() {
		if !w.hadBefore(key) || change.Touches(key, w.after) {
			touched = append(touched, key)
		}
	}
	for _, key := range w.before.Dataplanes() {
		if w.after.Mesh(key.Mesh).Dataplane(key.Name) == nil {
			touched = append(touched, key)
		}
	}
	slices.SortFunc(touched, func(a, b api.Key) int {
		if a.Mesh != b.Mesh {
			return strings.Compare(a.Mesh, b.Mesh)
		}
		return strings.Compare(a.Name, b.Name)
	})

	found := make([]*Dataplane, len(touched))
	jobs := make(chan int)
	var workers sync.WaitGroup
	// Half of the processors are left to what is served meanwhile.
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		workers.Go(func() {
			for i := range jobs {
				found[i] = w.dataplane(ctx, touched[i])
			}
		})
	}
	for i := range touched {
		jobs <- i
	}
	close(jobs)
	workers.Wait()
	for _, d := range found {
		if d != nil {
			p.Dataplanes = append(p.Dataplanes, *d)
		}
	}
	w.diffs.Range(func(key, text any) bool {
		p.Diffs[key.(string)] = text.(string)
		return true
	})
}

// warnings fills Warnings with those of is that were not, or whose resource was
// asked for.
func (p *Plan) warnings(was, is api.Violations, asked []Resource) {
	known := map[Warning]bool{}
	for _, v := range was {
		known[warningOf(v)] = true
	}
	for _, r := range asked {
		for _, v := range is {
			if v.Object == r.Key().String() {
				delete(known, warningOf(v))
			}
		}
	}
	for _, v := range is {
		if w := warningOf(v); !known[w] {
			known[w] = true
			p.Warnings = append(p.Warnings, w)
		}
	}
	slices.SortStableFunc(p.Warnings, func(a, b Warning) int { return strings.Compare(a.Object, b.Object) })
}

// warningOf leaves out where the resource was read, which matters to nobody
// but the host.
func warningOf(v api.Violation) Warning {
	return Warning{Object: v.Object, Path: v.Path, Message: v.Message}
}
