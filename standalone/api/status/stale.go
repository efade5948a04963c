package status

import (
	"cmp"
	"maps"
	"slices"
	"time"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/files"
)

// Stale is what is not in use as it is written: what it was before is in use, or
// nothing of it.
type Stale struct {
	Kind StaleKind `json:"kind"`
	// Mesh is empty for a file.
	Mesh string `json:"mesh,omitempty"`
	// Name is the path of a file, the name of a data plane, or the type and
	// name of a resource.
	Name string `json:"name"`
	// Since is zero where that is not known.
	Since time.Time `json:"since,omitzero"`
	// Problems say why, at least one.
	Problems []string `json:"problems"`
}

// StaleKind says what is stale.
type StaleKind string

const (
	// StaleFile is a file that is bad, does not go with the others, or is
	// being written for long.
	StaleFile StaleKind = "file"
	// StaleResource is one of the store that is not valid to this version;
	// nothing of it is in use.
	StaleResource StaleKind = "resource"
	// StaleDataplane is one whose configuration cannot be generated, or is
	// refused by its Envoy.
	StaleDataplane StaleKind = "dataplane"
)

// StaleKinds are all there are.
func StaleKinds() []StaleKind { return []StaleKind{StaleFile, StaleResource, StaleDataplane} }

// FindStale returns all that is stale, ordered by kind as StaleKinds and by name.
// source may be nil.
func FindStale(source *files.Source, resources *catalog.Catalog, h *host.Host) []Stale {
	var all []Stale
	if source != nil {
		for _, f := range source.Status() {
			if len(f.Problems) == 0 {
				continue
			}
			stale := Stale{Kind: StaleFile, Name: f.Path, Since: f.Since}
			for _, p := range f.Problems {
				p.Source = "" // the name, once more
				stale.Problems = append(stale.Problems, p.String())
			}
			all = append(all, stale)
		}
	}
	invalid := resources.Invalid()
	for _, key := range slices.SortedFunc(maps.Keys(invalid), func(a, b api.Key) int { return cmp.Compare(a.String(), b.String()) }) {
		stale := Stale{Kind: StaleResource, Mesh: key.Mesh, Name: string(key.Kind) + " " + key.Name}
		for _, p := range invalid[key] {
			p.Source, p.Object = "", ""
			stale.Problems = append(stale.Problems, p.String())
		}
		all = append(all, stale)
	}
	for _, s := range h.Status() {
		stale := Stale{Kind: StaleDataplane, Mesh: s.Dataplane.Mesh, Name: s.Dataplane.Name}
		if s.Err != nil {
			stale.Problems = append(stale.Problems, "its configuration cannot be served: "+s.Err.Error())
		}
		if refused := refusalOf(s.Proxy); refused != nil {
			stale.Problems = append(stale.Problems, "its Envoy refuses its configuration: "+refused.Message)
		}
		if len(stale.Problems) > 0 {
			all = append(all, stale)
		}
	}
	return all
}
