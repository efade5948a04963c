package carrier

import (
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// Encode is EncodeResource for a TrafficRoute without a name.
func Encode(spec *api.TrafficRoute) (*api.TrafficRoute, error) {
	encoded, violations := encode(&api.Resource{Kind: api.KindTrafficRoute, Spec: spec}, spec)
	for i := range violations {
		violations[i].Object = ""
	}
	return encoded, violations.OrNil()
}

// Tags returns the tags of a message of any type.
func Tags(m protoreflect.Message) map[string]string {
	tags := map[string]string{}
	flatten(m, "", tags)
	return tags
}

// Read is the inverse of Tags.
func Read(m protoreflect.Message, tags map[string]string) error {
	paths := carrierTags(tags)
	for i, name := range paths {
		paths[i] = name[len(Prefix):]
	}
	slices.SortFunc(paths, comparePaths)
	for _, path := range paths {
		if err := set(m, path, tags[Prefix+path]); err != nil {
			return err
		}
	}
	return nil
}

// TagPath is the path of a violation, as tags have it.
func TagPath(path string) string { return tagPath(path) }
