package catalog

import (
	"maps"
	"slices"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin/carrier"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
)

// Validate returns everything that is wrong with the resources, each on its own
// and together, and the loops of their mirrors where nothing else is, with the mirrors decoded that travel encoded. It is the Check
// for files.Options.
func Validate(resources []*api.Resource) api.Violations {
	var violations api.Violations
	decoded := make([]*api.Resource, len(resources))
	for i, r := range resources {
		var found api.Violations
		decoded[i], found = decode(r)
		violations = append(violations, found...)
	}
	violations = append(violations, mesh.Validate(decoded)...)
	if len(violations) == 0 {
		return mesh.Loops(decoded)
	}
	return violations.Sorted()
}

// decode is the one place where what travels encoded becomes what is served.
func decode(r *api.Resource) (*api.Resource, api.Violations) { return carrier.DecodeResource(r) }

// validateIn returns everything that is wrong with a decoded resource, where
// these meshes are there.
func validateIn(r *api.Resource, meshes map[string]bool) api.Violations {
	return validateAllIn([]*api.Resource{r}, meshes)
}

// validateAllIn is validateIn for several that belong together. What is wrong
// between resources are doubles and missing meshes alone, so nothing else that
// is in use has to be looked at.
func validateAllIn(resources []*api.Resource, meshes map[string]bool) api.Violations {
	all := slices.Clone(resources)
	for _, name := range slices.Sorted(maps.Keys(meshes)) {
		there := func(r *api.Resource) bool { return r.Key() == meshKey(name) }
		if name != "" && name != api.DefaultMesh && !slices.ContainsFunc(resources, there) {
			all = append(all, &api.Resource{Kind: api.KindMesh, Meta: api.Meta{Name: name}, Spec: &api.Mesh{}})
		}
	}
	return mesh.Validate(all)
}

// newLoops returns the loops of mirrors that are in after and not in before.
func newLoops(before, after resources) api.Violations {
	loops := mesh.Loops(after.servedResources())
	if len(loops) == 0 {
		return nil
	}
	known := mesh.Loops(before.servedResources())
	return slices.DeleteFunc(loops, func(v api.Violation) bool {
		return slices.ContainsFunc(known, func(k api.Violation) bool { return k.Object == v.Object && k.Path == v.Path })
	})
}

// noLoops is an *InvalidError where a change makes loops.
func noLoops(before, after resources) error {
	if loops := newLoops(before, after); len(loops) > 0 {
		return &InvalidError{Violations: loops}
	}
	return nil
}
