package carrier

import api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"

// Encode is EncodeResource for a TrafficRoute without a name.
func Encode(spec *api.TrafficRoute) (*api.TrafficRoute, error) {
	encoded, violations := encode(&api.Resource{Kind: api.KindTrafficRoute, Spec: spec}, spec)
	for i := range violations {
		violations[i].Object = ""
	}
	return encoded, violations.OrNil()
}
