package plugin

import (
	"maps"
	"regexp"
	"slices"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// Kuma's character sets; see validators.go of its mesh resources.
var (
	tagNames = charset{regexp.MustCompile(`^[a-zA-Z0-9.\-_:/]+$`),
		"letters, digits, dots, dashes, underscores, colons and slashes"}
	tagValues = charset{regexp.MustCompile(`^[a-zA-Z0-9.\-_:]+$`),
		"letters, digits, dots, dashes, underscores and colons"}
	selectorValues = charset{regexp.MustCompile(`^([a-zA-Z0-9.\-_:/]+|\*)$`),
		"letters, digits, dots, dashes, underscores, colons and slashes, or '*' alone"}
)

// charset is what a text may consist of, and how to say so.
type charset struct {
	allowed *regexp.Regexp
	words   string
}

// ValidateTags returns what is wrong with the tags at the given path that an
// endpoint, a gateway or an outbound of r has: names, values (no wildcards) and
// the required `kuma.io/service`.
func ValidateTags(r *api.Resource, at api.Path, tags map[string]string) api.Violations {
	c := &checker{resource: r}
	c.tags(at, tags, tagValues)
	return c.found
}

// selectorTags checks the tags of a selector or a destination, whose values may
// be wildcards.
func (c *checker) selectorTags(at api.Path, tags map[string]string) {
	c.tags(at, tags, selectorValues)
}

func (c *checker) tags(at api.Path, tags map[string]string, values charset) {
	if _, ok := tags[api.ServiceTag]; !ok {
		c.add(at, "the tag %q is required", api.ServiceTag)
	}
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		if !tagNames.allowed.MatchString(name) {
			c.add(at.Key(name), "the name of a tag consists of %s", tagNames.words)
		}
		if value := tags[name]; !values.allowed.MatchString(value) {
			c.add(at.Key(name), "is %q; the value of a tag consists of %s", value, values.words)
		}
	}
}
