package plugin_test

import (
	"math"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
)

func nan() float64         { return math.NaN() }
func inf(sign int) float64 { return math.Inf(sign) }

// FuzzValidateTrafficRoute reads its input both as a protobuf message and as a
// document. Whatever it is: no panic, and what is said is addressed and the
// same each time.
func FuzzValidateTrafficRoute(f *testing.F) {
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		spec := &api.TrafficRoute{}
		if proto.Unmarshal(data, spec) == nil {
			checkRoute(t, &api.Resource{Kind: api.KindTrafficRoute, Meta: api.Meta{Mesh: "m", Name: "r"}, Spec: spec})
		}
		resources, _ := api.Parse("fuzz", data)
		for _, r := range resources {
			checkRoute(t, r)
		}
	})
}

func checkRoute(t *testing.T, r *api.Resource) {
	check := func(once, twice api.Violations) {
		if !slices.Equal(once, twice) {
			t.Errorf("not the same twice:\n%v\n%v", once, twice)
		}
		for _, v := range once {
			if v.Object != r.Key().String() || v.Message == "" || r.Kind == api.KindTrafficRoute && v.Path == "" {
				t.Errorf("not addressed: %#v", v)
			}
		}
	}
	check(plugin.ValidateTrafficRoute(r), plugin.ValidateTrafficRoute(r))
	check(plugin.Warnings(r), plugin.Warnings(r))
	plugin.NewRouteSelector([]api.Tags{{api.ServiceTag: "web"}}, []*api.Resource{r}).For("backend")
}
