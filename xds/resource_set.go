// Package xds holds Envoy's resources of one proxy and puts request mirror
// policies into their route tables. It knows nothing of where the resources
// come from.
package xds

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// OriginMirror is the origin of everything that this project adds to a
// ResourceSet.
const OriginMirror = "mirror"

// Resource is one resource of Envoy's.
type Resource struct {
	// Name as Envoy knows it; unique among the resources of its type.
	Name string
	// Origin says who generated the resource. Hosts use it to leave the
	// resources of others alone.
	Origin string
	// Resource is the resource itself, such as *clusterv3.Cluster.
	Resource proto.Message
}

type key struct{ kind, name string }

// ResourceSet is what one proxy is served: resources by type and name. The zero
// value is empty and ready to use. It is not safe for use by several
// goroutines.
type ResourceSet struct {
	resources map[key]*Resource
}

// Add puts resources in; one of the same type and name is replaced.
func (s *ResourceSet) Add(resources ...*Resource) {
	if s.resources == nil {
		s.resources = map[key]*Resource{}
	}
	for _, r := range resources {
		s.resources[key{kindOf(r.Resource), r.Name}] = r
	}
}

// Remove takes the resource of the type of like and of that name out, if it is
// there.
func (s *ResourceSet) Remove(like proto.Message, name string) {
	delete(s.resources, key{kindOf(like), name})
}

// Get returns the resource of the type of like and of that name, or nil.
func (s *ResourceSet) Get(like proto.Message, name string) *Resource {
	return s.resources[key{kindOf(like), name}]
}

// All returns every resource, ordered by type and name.
func (s *ResourceSet) All() []*Resource {
	keys := slices.SortedFunc(maps.Keys(s.resources), func(a, b key) int {
		if a.kind != b.kind {
			return strings.Compare(a.kind, b.kind)
		}
		return strings.Compare(a.name, b.name)
	})
	all := make([]*Resource, len(keys))
	for i, k := range keys {
		all[i] = s.resources[k]
	}
	return all
}

// Listeners returns the listeners, ordered by name.
func (s *ResourceSet) Listeners() []*listener.Listener { return ofType[*listener.Listener](s) }

// Clusters returns the clusters, ordered by name.
func (s *ResourceSet) Clusters() []*cluster.Cluster { return ofType[*cluster.Cluster](s) }

// Routes returns the route configurations that are resources of their own,
// ordered by name.
func (s *ResourceSet) Routes() []*route.RouteConfiguration {
	return ofType[*route.RouteConfiguration](s)
}

// Endpoints returns the load assignments, ordered by name.
func (s *ResourceSet) Endpoints() []*endpoint.ClusterLoadAssignment {
	return ofType[*endpoint.ClusterLoadAssignment](s)
}

// IsMirror reports whether the set's cluster of that name was made for a mirror.
func (s *ResourceSet) IsMirror(name string) bool {
	r := s.Get((*cluster.Cluster)(nil), name)
	return r != nil && r.Origin == OriginMirror
}

func ofType[T proto.Message](s *ResourceSet) []T {
	var out []T
	for _, r := range s.All() {
		if t, ok := r.Resource.(T); ok {
			out = append(out, t)
		}
	}
	return out
}

func kindOf(m proto.Message) string { return string(m.ProtoReflect().Descriptor().FullName()) }
