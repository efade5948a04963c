package rest

import (
	"maps"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
	"google.golang.org/protobuf/reflect/protoreflect"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// A resource is described by hand, and refused where it has a field that is not:
// the schemas must have what the protos have.
var _ = DescribeTable("the schema has the fields of a resource's proto with their types, and no others",
	func(kind api.Kind, message protoreflect.ProtoMessage) {
		doc, err := document()
		Expect(err).NotTo(HaveOccurred())
		meta := properties(doc.Components.Schemas["MeshMeta"].Value)
		own := properties(doc.Components.Schemas[string(kind)].Value)
		for name := range meta {
			delete(own, name)
		}
		describes("", own, message.ProtoReflect().Descriptor())
	},
	Entry(nil, api.KindMesh, &api.Mesh{}),
	Entry(nil, api.KindDataplane, &api.Dataplane{}),
	Entry(nil, api.KindExternalService, &api.ExternalService{}),
	Entry(nil, api.KindTrafficRoute, &api.TrafficRoute{}),
)

// describes holds the properties of a schema against the fields of a message.
func describes(at string, all openapi3.Schemas, m protoreflect.MessageDescriptor) {
	GinkgoHelper()
	var fields []string
	for i := range m.Fields().Len() {
		fields = append(fields, m.Fields().Get(i).JSONName())
	}
	slices.Sort(fields)
	Expect(slices.Sorted(maps.Keys(all))).To(Equal(fields), "the properties of %q in openapi.yaml are not the fields of %s", at, m.FullName())
	for name, schema := range all {
		fd := m.Fields().ByJSONName(name)
		here := join(at, name)
		switch {
		case fd.IsMap():
			Expect(typesOf(schema.Value)).To(ConsistOf("object"), here)
			describesValue(here, entries(schema.Value), fd.MapValue())
		case fd.IsList():
			Expect(typesOf(schema.Value)).To(ConsistOf("array"), here)
			describesValue(here, schema.Value.Items.Value, fd)
		default:
			describesValue(here, schema.Value, fd)
		}
	}
}

func describesValue(at string, schema *openapi3.Schema, fd protoreflect.FieldDescriptor) {
	GinkgoHelper()
	if m := fd.Message(); m != nil {
		switch {
		case m.FullName() == "google.protobuf.Duration":
			Expect(typesOf(schema)).To(ConsistOf("string"), at)
		case m.ParentFile().Path() == "google/protobuf/wrappers.proto":
			describesValue(at, schema, m.Fields().ByName("value"))
		default:
			Expect(typesOf(schema)).To(ConsistOf("object"), at)
			Expect(schema.AdditionalProperties.Has).To(HaveValue(BeFalse()), "%s takes what it does not describe", at)
			describes(at, properties(schema), m)
		}
		return
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		Expect(typesOf(schema)).To(ConsistOf("boolean"), at)
	case protoreflect.StringKind, protoreflect.BytesKind:
		Expect(typesOf(schema)).To(ConsistOf("string"), at)
	case protoreflect.EnumKind:
		var values []any
		for i := range fd.Enum().Values().Len() {
			values = append(values, string(fd.Enum().Values().Get(i).Name()))
		}
		Expect(schema.Enum).To(ConsistOf(values...), at)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		Expect(typesOf(schema)).To(ConsistOf("number"), at)
	case protoreflect.Uint64Kind, protoreflect.Int64Kind:
		Expect(typesOf(schema)).To(ConsistOf("integer", "string"), at)
	default:
		Expect(typesOf(schema)).To(ConsistOf("integer"), at)
	}
}

// typesOf are the types that a value may have.
func typesOf(schema *openapi3.Schema) []string {
	switch {
	case schema.Type != nil:
		return schema.Type.Slice()
	case schema.Const != nil:
		return []string{map[bool]string{true: "boolean", false: "string"}[schema.Const == true]}
	case len(schema.AllOf) > 0:
		return typesOf(schema.AllOf[0].Value)
	}
	var types []string
	for _, one := range schema.OneOf {
		types = append(types, typesOf(one.Value)...)
	}
	return types
}

// properties are those of a schema and of all that it takes over.
func properties(schema *openapi3.Schema) openapi3.Schemas {
	all := openapi3.Schemas{}
	for _, part := range schema.AllOf {
		maps.Copy(all, properties(part.Value))
	}
	maps.Copy(all, schema.Properties)
	return all
}

// entries is the schema of a map's values.
func entries(schema *openapi3.Schema) *openapi3.Schema {
	for _, part := range schema.AllOf {
		return entries(part.Value)
	}
	return schema.AdditionalProperties.Schema.Value
}
