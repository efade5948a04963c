package mesh

import (
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
)

// Validate returns everything that is wrong with the resources, each on its own
// and together: two of one key, or a mesh that is not there. The mesh `default`
// needs no Mesh document; any other does, as in Kuma, so that a mistyped name is
// found.
func Validate(resources []*api.Resource) api.Violations {
	var out api.Violations
	meshes := map[string]bool{api.DefaultMesh: true}
	for _, r := range resources {
		if r.Kind == api.KindMesh {
			meshes[r.Meta.Name] = true
		}
	}
	seen := map[api.Key]*api.Resource{}
	for _, r := range resources {
		v := &validation{resource: r}
		if first := seen[r.Key()]; first != nil {
			v.add("", "is already in %s; rename or remove one of the two", first.Source)
		} else {
			seen[r.Key()] = r
		}
		if r.Kind != api.KindMesh && !meshes[r.Meta.Mesh] {
			v.add("mesh", "there is no mesh %q: add a document with type: Mesh and name: %s, or use one of %s",
				r.Meta.Mesh, r.Meta.Mesh, list(slices.Sorted(maps.Keys(meshes))))
		}
		v.name()
		switch spec := r.Spec.(type) {
		case *api.Dataplane:
			v.dataplane(v.resource.SpecPath(), spec)
		case *api.ExternalService:
			v.externalService(v.resource.SpecPath(), spec)
		case *api.TrafficRoute:
			v.violations = append(v.violations, plugin.ValidateTrafficRoute(r)...)
		}
		out = append(out, v.violations...)
	}
	return out.Sorted()
}

// validation gathers what is wrong with one resource.
type validation struct {
	resource   *api.Resource
	violations api.Violations
}

func (v *validation) add(path api.Path, format string, args ...any) {
	v.violations = append(v.violations, v.resource.Violation(path, format, args...))
}

var (
	resourceName = regexp.MustCompile(`^[a-z0-9._-]{1,253}$`)
	meshName     = regexp.MustCompile(`^[a-z0-9_-]{1,63}$`)
)

// name requires a name that Kuma would take.
func (v *validation) name() {
	path := api.Path("name")
	if v.resource.Form == api.Kubernetes {
		path = "metadata.name"
	}
	name := v.resource.Meta.Name
	switch {
	case v.resource.Kind == api.KindMesh && !meshName.MatchString(name):
		// An Envoy calls itself MESH.NAME, so there is no dot in a mesh.
		v.add(path, "%q is no name of a mesh; it is 1 to 63 of a-z 0-9 - _", name)
	case !resourceName.MatchString(name):
		v.add(path, "%q is no name; it is 1 to 253 of a-z 0-9 . - _", name)
	}
}

// ip requires an IP address, one that others can call unless anyAddress.
func (v *validation) ip(path api.Path, address string, anyAddress bool) {
	ip := net.ParseIP(address)
	switch {
	case ip == nil:
		v.add(path, "%q is not an IP address; a service with a host name is an ExternalService", address)
	case ip.IsUnspecified() && !anyAddress:
		v.add(path, "%s is no address that others can call; name the one they reach", address)
	}
}

func (v *validation) optionalIP(path api.Path, address string, anyAddress bool) {
	if address != "" {
		v.ip(path, address, anyAddress)
	}
}

func (v *validation) port(path api.Path, port uint32) {
	if port < 1 || port > 65535 {
		v.add(path, "%d is not a port; it must be 1 to 65535", port)
	}
}

// tags requires what the plugin does of tags, and a known protocol.
func (v *validation) tags(path api.Path, tags api.Tags) {
	v.violations = append(v.violations, plugin.ValidateTags(v.resource, path, tags)...)
	if p, ok := tags[api.ProtocolTag]; ok && p != string(api.ParseProtocol(p)) {
		v.add(path.Key(api.ProtocolTag), "%q is not a protocol; it is one of http, http2, grpc, kafka and tcp", p)
	}
}

func list(names []string) string {
	out := ""
	for i, name := range names {
		if i > 0 {
			out += ", "
		}
		out += fmt.Sprintf("%q", name)
	}
	return out
}
