// Package v1alpha1 holds the resources as users write them: TrafficRoute with
// its mirrors, and the Mesh, Dataplane and ExternalService that the standalone
// host needs; their two written forms; and the violations that name what is
// wrong with them.
package v1alpha1

import (
	"time"

	"google.golang.org/protobuf/proto"
)

// Kind is the type of a resource, as `type` (Universal) or `kind` (Kubernetes)
// spells it.
type Kind string

// The kinds this module knows.
const (
	KindMesh            Kind = "Mesh"
	KindDataplane       Kind = "Dataplane"
	KindExternalService Kind = "ExternalService"
	KindTrafficRoute    Kind = "TrafficRoute"
)

// DefaultMesh is the mesh of a resource that names none.
const DefaultMesh = "default"

// Form is how a resource was written.
type Form int

const (
	// Universal is Kuma's flat form: type, mesh and name beside the spec.
	Universal Form = iota
	// Kubernetes is the form of a custom resource: apiVersion, kind,
	// metadata, mesh and spec.
	Kubernetes
)

// Meta is what every resource has beside its spec.
type Meta struct {
	// Mesh the resource belongs to; empty for a Mesh.
	Mesh string
	// Name, unique among the resources of one kind in one mesh.
	Name string
	// Namespace of the Kubernetes form; empty elsewhere.
	Namespace string

	Labels map[string]string
	// Annotations of the Kubernetes form; nil elsewhere.
	Annotations map[string]string

	// CreationTime and ModificationTime are zero where nobody kept them, as
	// in most files.
	CreationTime     time.Time
	ModificationTime time.Time
}

// Resource is one resource of any kind.
type Resource struct {
	Kind Kind
	Form Form
	Meta Meta
	// Spec is *Mesh, *Dataplane, *ExternalService or *TrafficRoute, as Kind
	// says; never nil.
	Spec proto.Message
	// Source says where the resource was read: a file's path, "-" for
	// standard input or a URL; with "#1", "#2" for the resources of one that
	// holds several, items of lists counted. For messages only.
	Source string
}

// Key identifies a resource.
type Key struct {
	Kind Kind
	Mesh string
	Name string
}

// Key returns the resource's identity.
func (r *Resource) Key() Key {
	return Key{Kind: r.Kind, Mesh: r.Meta.Mesh, Name: r.Meta.Name}
}

// SpecPath is where the fields of the spec stand in the document: below `spec`
// in the Kubernetes form, at the top in the Universal one.
func (r *Resource) SpecPath() Path {
	if r.Form == Kubernetes {
		return "spec"
	}
	return ""
}

// String names the resource in messages: `TrafficRoute "web" in mesh "default"`.
func (k Key) String() string {
	s := string(k.Kind) + " " + quote(k.Name)
	if k.Kind != KindMesh {
		s += " in mesh " + quote(k.Mesh)
	}
	return s
}
