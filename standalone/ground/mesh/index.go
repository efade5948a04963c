// Package mesh holds the resources of all meshes the way generation asks for
// them: services with their endpoints and protocols, data planes, TrafficRoutes.
// It also says what is wrong with the resources.
package mesh

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// Index is all resources of all meshes. It never changes after New, so any
// number of goroutines may share it; what it returns must not be changed either.
type Index struct {
	meshes map[string]*Mesh
}

// Mesh is what one mesh holds.
type Mesh struct {
	dataplanes map[string]*api.Resource
	services   map[string]*Service
	routes     []*api.Resource
}

// New indexes resources, which are expected to be valid and their keys unique
// (see Validate). Their order does not matter.
func New(resources []*api.Resource) *Index {
	// Endpoints and routes are kept in the order of their names, so that equal
	// resources give an equal index.
	sorted := slices.SortedFunc(slices.Values(resources), func(a, b *api.Resource) int {
		return cmp.Or(
			strings.Compare(a.Meta.Mesh, b.Meta.Mesh),
			strings.Compare(a.Meta.Name, b.Meta.Name),
		)
	})
	x := &Index{meshes: map[string]*Mesh{}}
	for _, r := range sorted {
		switch spec := r.Spec.(type) {
		case *api.Dataplane:
			m := x.mesh(r.Meta.Mesh)
			m.dataplanes[r.Meta.Name] = r
			m.addInbounds(spec.GetNetworking())
		case *api.ExternalService:
			m := x.mesh(r.Meta.Mesh)
			m.service(api.Tags(spec.GetTags()).Service()).addExternal(r.Meta.Name, spec)
		case *api.TrafficRoute:
			m := x.mesh(r.Meta.Mesh)
			m.routes = append(m.routes, r)
		}
	}
	return x
}

func (x *Index) mesh(name string) *Mesh {
	m := x.meshes[name]
	if m == nil {
		m = &Mesh{dataplanes: map[string]*api.Resource{}, services: map[string]*Service{}}
		x.meshes[name] = m
	}
	return m
}

func (m *Mesh) service(name string) *Service {
	s := m.services[name]
	if s == nil {
		s = &Service{}
		m.services[name] = s
	}
	return s
}

func (m *Mesh) addInbounds(n *api.Dataplane_Networking) {
	for _, inbound := range n.GetInbound() {
		if inbound.GetState() == api.Dataplane_Networking_Inbound_Ignored {
			continue
		}
		m.service(api.Tags(inbound.GetTags()).Service()).addInbound(n, inbound)
	}
}

// Mesh returns the mesh of that name; one that no resource belongs to is empty.
func (x *Index) Mesh(name string) *Mesh {
	if m := x.meshes[name]; m != nil {
		return m
	}
	return &Mesh{}
}

// Dataplanes returns the keys of all data planes, ordered by mesh and name.
func (x *Index) Dataplanes() []api.Key {
	var keys []api.Key
	for _, mesh := range slices.Sorted(maps.Keys(x.meshes)) {
		for _, name := range slices.Sorted(maps.Keys(x.meshes[mesh].dataplanes)) {
			keys = append(keys, api.Key{Kind: api.KindDataplane, Mesh: mesh, Name: name})
		}
	}
	return keys
}

// Dataplane returns the data plane of that name, or nil.
func (m *Mesh) Dataplane(name string) *api.Resource { return m.dataplanes[name] }

// Service returns the service of that name, or nil where no inbound and no
// ExternalService has it.
func (m *Mesh) Service(name string) *Service { return m.services[name] }

// Routes returns the TrafficRoutes, ordered by name.
func (m *Mesh) Routes() []*api.Resource { return m.routes }
