// Package carrier lets the mirrors of a TrafficRoute travel through a stock
// Kuma, which drops fields that it does not know: each mirror becomes two split
// entries of weight 0, which make no route and no cluster.
//
// The first, the opener, has the shadow's plain tags: from the split entries of
// all TrafficRoutes a zone ingress learns which destinations to let in. The
// second, the carrier, has the same tags and beside them one tag for each field
// of the mirror that is set, called Prefix and the field's path, such as
// `mirror.kuma-mirror.io/limits.maxDuration: 15s`.
package carrier

import (
	"slices"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// Prefix is what the names of all carrier tags start with, and no others'.
const Prefix = "mirror.kuma-mirror.io/"

// Tags that say something of the carrier. Fields of a mirror have no dash in
// their names, so that none is ever called the same.
const (
	versionTag = Prefix + "carrier-version"
	// fieldsTag counts the tags that say something of the mirror, where there
	// are any: of one that got lost nothing else would tell.
	fieldsTag = Prefix + "carrier-fields"
	// listTag marks a mirror that stands in `mirrors`, and has their number.
	listTag = Prefix + "carrier-list"
	// primaryTag marks an entry whose primary is written as `destination`.
	primaryTag = Prefix + "carrier-primary"
	// anyPrefix and the name of a tag mark one of the shadow's tags as '*'.
	anyPrefix = Prefix + "carrier-any/"
)

const (
	// version of the format. A reader refuses others.
	version = "1"
	// yes is the value of a tag whose presence is what matters.
	yes = "true"
	// asDestination is the value of primaryTag.
	asDestination = "destination"
)

// Problem is one thing that is wrong with a carrier.
type Problem struct {
	// At is the place in the Universal form, with the split entry and, where
	// it is about one, the tag:
	// conf.http[0].split[2].destination["mirror.kuma-mirror.io/percentage"].
	At api.Path
	// Message says what is wrong and what is allowed.
	Message string
}

// Has reports whether a TrafficRoute has any carrier tag, in order or not.
func Has(spec *api.TrafficRoute) bool {
	for _, e := range spec.Entries() {
		if hasTags(e) {
			return true
		}
	}
	return false
}

// EncodeResource returns a resource with its TrafficRoute as a stock Kuma keeps
// it: each mirror as two more split entries of weight 0. DecodeResource of it
// gives back the original. What is no TrafficRoute, or one without mirrors, such
// as one that is encoded already, is returned as it is; r itself is never
// changed.
//
// The error is api.Violations that name the resource: all that
// plugin.ValidateTrafficRoute has to say, mirrors whose destination has a tag of
// Prefix, and carriers that Decode refuses or that stand in one entry with a
// mirror.
func EncodeResource(r *api.Resource) (*api.Resource, error) {
	spec, ok := r.Spec.(*api.TrafficRoute)
	if !ok {
		return r, nil
	}
	encoded, violations := encode(r, spec)
	if len(violations) > 0 {
		return nil, violations
	}
	return withSpec(r, encoded), nil
}

// DecodeResource is Decode for a resource of any kind; what is no TrafficRoute
// is returned as it is. The violations name the resource.
func DecodeResource(r *api.Resource) (*api.Resource, api.Violations) {
	spec, ok := r.Spec.(*api.TrafficRoute)
	if !ok {
		return r, nil
	}
	decoded, problems := Decode(spec)
	return withSpec(r, decoded), violationsOf(r, problems)
}

// violationsOf gives the problems of the TrafficRoute r as what they are for
// its author.
func violationsOf(r *api.Resource, problems []Problem) api.Violations {
	var violations api.Violations
	for _, p := range problems {
		violations = append(violations, r.Violation(r.SpecPath().Field(string(p.At)), "%s", p.Message))
	}
	return violations
}

// withSpec returns r with another spec, r itself where it is the same.
func withSpec(r *api.Resource, spec *api.TrafficRoute) *api.Resource {
	if spec == r.Spec {
		return r
	}
	changed := *r
	changed.Spec = spec
	return &changed
}

// hasTags reports whether an entry has a carrier tag.
func hasTags(e api.Entry) bool {
	return isCarrier(e.GetDestination()) || slices.ContainsFunc(e.GetSplit(), func(s *api.TrafficRoute_Split) bool {
		return isCarrier(s.GetDestination())
	})
}

// isCarrier reports whether a destination has a carrier tag.
func isCarrier(destination map[string]string) bool {
	for name := range destination {
		if strings.HasPrefix(name, Prefix) {
			return true
		}
	}
	return false
}

// carrierTags returns the names of the carrier tags of a destination, sorted.
func carrierTags(destination map[string]string) []string {
	var names []string
	for name := range destination {
		if strings.HasPrefix(name, Prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// withoutCarrier returns the other tags of a destination.
func withoutCarrier(destination map[string]string) map[string]string {
	tags := map[string]string{}
	for name, value := range destination {
		if !strings.HasPrefix(name, Prefix) {
			tags[name] = value
		}
	}
	return tags
}

// slots are where an entry keeps its parts, to change them.
type slots struct {
	split       *[]*api.TrafficRoute_Split
	destination *map[string]string
	mirror      **api.TrafficRoute_Mirror
	mirrors     *[]*api.TrafficRoute_Mirror
}

// slotsOf returns the slots of one of the two entries that there are.
func slotsOf(e api.Entry) slots {
	if http, ok := e.(*api.TrafficRoute_Http); ok {
		return slots{&http.Split, &http.Destination, &http.Mirror, &http.Mirrors}
	}
	conf := e.(*api.TrafficRoute_Conf)
	return slots{&conf.Split, &conf.Destination, &conf.Mirror, &conf.Mirrors}
}
