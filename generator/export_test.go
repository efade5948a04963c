package generator

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// WithOptions is an identity with these fields of a mirror, as if their proto
// marked them.
func (id Identity) WithOptions(m *api.TrafficRoute_Mirror, fields ...protoreflect.FieldDescriptor) Identity {
	id.Options = optionsOf(m.ProtoReflect(), fields)
	return id
}
