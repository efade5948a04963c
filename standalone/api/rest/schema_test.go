package rest

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/plan"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
)

// What the API answers is made of Go types, and described by hand: the two must
// have the same fields.
var _ = DescribeTable("the schema has the fields of what is answered, and no others",
	func(name string, value any) {
		doc, err := document()
		Expect(err).NotTo(HaveOccurred())
		schema := doc.Components.Schemas[name].Value
		filled := reflect.New(reflect.TypeOf(value)).Elem()
		fill(filled)
		encoded, err := json.Marshal(filled.Interface())
		Expect(err).NotTo(HaveOccurred())
		var body any
		Expect(json.Unmarshal(encoded, &body)).To(Succeed())
		Expect(slices.Sorted(maps.Keys(given("", body)))).To(Equal(slices.Sorted(maps.Keys(described("", schema)))))
	},
	Entry("mirrors", "Mirror", status.Mirror{}),
	Entry("plans", "Plan", plan.Plan{}),
	Entry("what was applied", "Applied", plan.Resource{}),
	Entry("what was restored", "Restored", catalog.Restored{}),
	Entry("errors", "Problem", problem{}),
	Entry("the index", "Index", index{}),
	Entry("what was written", "Written", putAnswer{}),
	Entry("overviews", "DataplaneOverview", overview{}),
)

// opaque are the fields whose inside is the user's, or another schema's.
var opaque = []string{"shadow.tags", "stored", "replaced", "restored", "diffs", "labels", "dataplane", "dataplanes.mirrors.before.destination", "dataplanes.mirrors.after.destination"}

// given returns the paths of all fields of some JSON.
func given(at string, value any) map[string]bool {
	fields := map[string]bool{}
	switch v := value.(type) {
	case map[string]any:
		if slices.Contains(opaque, at) {
			break
		}
		for name, field := range v {
			here := join(at, name)
			fields[here] = true
			maps.Copy(fields, given(here, field))
		}
	case []any:
		for _, entry := range v {
			maps.Copy(fields, given(at, entry))
		}
	}
	return fields
}

// described returns the paths of all fields of a schema.
func described(at string, schema *openapi3.Schema) map[string]bool {
	fields := map[string]bool{}
	if slices.Contains(opaque, at) {
		return fields
	}
	for name, field := range schema.Properties {
		here := join(at, name)
		fields[here] = true
		maps.Copy(fields, described(here, field.Value))
	}
	for _, part := range schema.AllOf {
		maps.Copy(fields, described(at, part.Value))
	}
	if schema.Items != nil {
		maps.Copy(fields, described(at, schema.Items.Value))
	}
	return fields
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// fill sets every field to something.
func fill(v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Now()))
		return
	case json.RawMessage:
		v.SetBytes([]byte("{}"))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint64:
		v.SetUint(1)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	default:
		Fail("cannot fill a " + v.Type().String())
	}
}
