package rest

import (
	"net/http"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// kind is one type of resources, in the words of Kuma's API.
type kind struct {
	api.Kind
	// path is the segment of the URL that lists it.
	path string
	// singular and plural are what a person calls it.
	singular, plural string
	// short is Kuma's short name; not every kind has one.
	short string
	// policy says whether Kuma counts it as a policy.
	policy bool
	// federated says whether Kuma hands it from a global to the zone control
	// planes, and so whether `kumactl export` has it by default.
	federated bool
}

// kinds are the types this host has, in the order of their names.
func kinds() []kind {
	return []kind{
		{Kind: api.KindDataplane, path: "dataplanes", singular: "Dataplane", plural: "Dataplanes", short: "dp"},
		{Kind: api.KindExternalService, path: "external-services", singular: "External Service", plural: "External Services", federated: true},
		{Kind: api.KindMesh, path: "meshes", singular: "Mesh", plural: "Meshes", short: "m", federated: true},
		{Kind: api.KindTrafficRoute, path: "traffic-routes", singular: "Traffic Route", plural: "Traffic Routes", policy: true, federated: true},
	}
}

// isMesh tells the one kind that is in no mesh.
func (k kind) isMesh() bool { return k.Kind == api.KindMesh }

// key names the resource of a request's path.
func (k kind) key(r *http.Request) api.Key {
	if k.isMesh() {
		return api.Key{Kind: k.Kind, Name: r.PathValue("mesh")}
	}
	return api.Key{Kind: k.Kind, Mesh: r.PathValue("mesh"), Name: r.PathValue("name")}
}
