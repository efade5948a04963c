package host

import (
	"reflect"
	"slices"

	"google.golang.org/protobuf/proto"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/mesh"
)

// change is the difference between two sets of resources.
type change struct {
	dataplanes map[api.Key]bool
	// services whose instances may have changed.
	services map[service]bool
	// routes that came, went or changed, as they were and as they are.
	routes []*api.Resource
}

type service struct{ mesh, name string }

// compare finds what differs. Most resources of an update are the same pointers
// as before.
func compare(before, after []*api.Resource) change {
	c := change{dataplanes: map[api.Key]bool{}, services: map[service]bool{}}
	old := make(map[api.Key]*api.Resource, len(before))
	for _, r := range before {
		old[r.Key()] = r
	}
	for _, r := range after {
		was := old[r.Key()]
		delete(old, r.Key())
		if was == r || was != nil && reflect.DeepEqual(was.Meta, r.Meta) && proto.Equal(was.Spec, r.Spec) {
			continue
		}
		if was != nil {
			c.add(was)
		}
		c.add(r)
	}
	for _, r := range old {
		c.add(r)
	}
	return c
}

func (c *change) add(r *api.Resource) {
	switch spec := r.Spec.(type) {
	case *api.Dataplane:
		c.dataplanes[r.Key()] = true
		for _, name := range services(spec.GetNetworking()) {
			c.services[service{r.Meta.Mesh, name}] = true
		}
	case *api.ExternalService:
		c.services[service{r.Meta.Mesh, api.Tags(spec.GetTags()).Service()}] = true
	case *api.TrafficRoute:
		c.routes = append(c.routes, r)
	}
}

// touches reports whether the change may matter to the data plane, which was
// there before and is in the index of what there is now. It errs on the safe
// side: what it says is not touched is generated the same as before.
func (c change) touches(dataplane api.Key, index *mesh.Index) bool {
	if c.dataplanes[dataplane] {
		return true
	}
	m := index.Mesh(dataplane.Mesh)
	networking := m.Dataplane(dataplane.Name).Spec.(*api.Dataplane).GetNetworking()
	own := services(networking)
	for _, r := range c.routes {
		if r.Meta.Mesh == dataplane.Mesh && mayGovern(r, own) {
			return true
		}
	}
	if len(c.services) == 0 {
		return false
	}
	uses := func(tags map[string]string) bool {
		return c.services[service{dataplane.Mesh, api.Tags(tags).Service()}]
	}
	for _, o := range networking.GetOutbound() {
		if uses(o.GetTags()) {
			return true
		}
	}
	// The routes that have not changed are the same before and after.
	return slices.ContainsFunc(m.Routes(), func(r *api.Resource) bool {
		return mayGovern(r, own) && slices.ContainsFunc(destinations(r.Spec.(*api.TrafficRoute)), uses)
	})
}

// mayGovern reports whether a TrafficRoute's sources may match a data plane of
// the given services; it looks at no other tags.
func mayGovern(route *api.Resource, own []string) bool {
	return slices.ContainsFunc(route.Spec.(*api.TrafficRoute).GetSources(), func(s *api.Selector) bool {
		name, ok := s.GetMatch()[api.ServiceTag]
		return !ok || name == api.MatchAll || slices.Contains(own, name)
	})
}

// destinations returns the tags of everything a TrafficRoute sends or copies
// requests to.
func destinations(route *api.TrafficRoute) []map[string]string {
	var all []map[string]string
	for at, e := range route.Entries() {
		all = append(all, e.GetDestination())
		for _, s := range e.GetSplit() {
			all = append(all, s.GetDestination())
		}
		for _, m := range api.MirrorsOf(at, e) {
			all = append(all, m.GetDestination())
		}
	}
	return all
}

// services returns what a data plane stands for.
func services(networking *api.Dataplane_Networking) []string {
	var names []string
	for _, tags := range mesh.SourceTags(networking) {
		if name := tags.Service(); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
