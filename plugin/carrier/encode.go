package carrier

import (
	"maps"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
)

// primaryWeight is that of a primary that was written as `destination`. Alone
// in its entry, any weight above 0 means the same.
const primaryWeight = 100

// encode is EncodeResource for the spec of r, which the violations name.
func encode(r *api.Resource, spec *api.TrafficRoute) (*api.TrafficRoute, api.Violations) {
	violations := plugin.ValidateTrafficRoute(r)
	_, problems := Decode(spec)
	violations = append(violations, violationsOf(r, problems)...)
	mirrored := false
	for at, e := range spec.Entries() {
		for at, m := range api.MirrorsOf(at, e) {
			mirrored = true
			for _, name := range carrierTags(m.GetDestination()) {
				at := r.SpecPath().Field(string(at)).Field("destination").Key(name)
				violations = append(violations, r.Violation(at, "is reserved: %s starts the tags that carry a mirror; name the tag differently", Prefix))
			}
		}
	}
	if len(violations) > 0 {
		return nil, violations
	}
	if !mirrored {
		return spec, nil
	}
	encoded := proto.CloneOf(spec)
	for at, e := range encoded.Entries() {
		for range api.MirrorsOf(at, e) {
			encodeEntry(e)
			break
		}
	}
	return encoded, nil
}

// encodeEntry turns the mirrors of an entry that has any into split entries.
func encodeEntry(e api.Entry) {
	in := slotsOf(e)
	about := map[string]string{versionTag: version}
	if len(*in.destination) > 0 {
		about[primaryTag] = asDestination
		*in.split = []*api.TrafficRoute_Split{{Weight: wrapperspb.UInt32(primaryWeight), Destination: *in.destination}}
		*in.destination = nil
	}
	if len(*in.mirrors) > 0 {
		about[listTag] = strconv.Itoa(len(*in.mirrors))
	}
	for _, m := range api.MirrorsOf("", e) {
		opener, carrier := encodeMirror(m)
		maps.Copy(carrier, about)
		for _, destination := range []map[string]string{opener, carrier} {
			*in.split = append(*in.split, &api.TrafficRoute_Split{Weight: wrapperspb.UInt32(0), Destination: destination})
		}
	}
	*in.mirror, *in.mirrors = nil, nil
}

// encodeMirror returns the destinations of the two split entries.
//
// A wildcard would become part of a server name that a zone ingress matches,
// and Envoy refuses the whole listener for it ("partial wildcards are not
// supported"). In a destination it means no more than leaving the tag out; see
// api.Tags.Resolve. That of the service alone is needed, and Kuma resolves it.
func encodeMirror(m *api.TrafficRoute_Mirror) (opener, carrier map[string]string) {
	opener, carrier = map[string]string{}, map[string]string{}
	for name, value := range m.GetDestination() {
		if value == api.MatchAll && name != api.ServiceTag {
			carrier[anyPrefix+name] = yes
			continue
		}
		opener[name], carrier[name] = value, value
	}
	flatten(m.ProtoReflect(), "", carrier)
	if n := len(carrier) - len(opener); n > 0 {
		carrier[fieldsTag] = strconv.Itoa(n)
	}
	return opener, carrier
}
