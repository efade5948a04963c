package plugin

import (
	"maps"
	"math"
	"slices"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// Envoy's bounds and default for the ring of a ring hash load balancer, in
// entries.
const (
	defaultMinRingSize = 1024
	maxRingSize        = 8388608
)

// ValidateTrafficRoute returns everything that is wrong with a TrafficRoute and
// its mirrors, in the order of the document; nothing where it is valid. What
// passes gives a configuration that Envoy accepts.
//
// The rules are Kuma's, and further ones where Envoy would refuse the
// configuration, and with it everything else that the proxy should get, or
// where what is written could never work. r's name and mesh are not looked at.
func ValidateTrafficRoute(r *api.Resource) api.Violations {
	c := &checker{resource: r}
	spec, ok := r.Spec.(*api.TrafficRoute)
	if !ok {
		c.add("", "is not a TrafficRoute")
		return c.found
	}
	root := r.SpecPath()
	c.sources(root.Field("sources"), spec.GetSources())
	c.destinations(root.Field("destinations"), spec.GetDestinations())
	c.conf(root.Field("conf"), spec.GetConf())
	return c.found
}

// checker collects what there is to say about one resource.
type checker struct {
	resource *api.Resource
	found    api.Violations
}

func (c *checker) add(at api.Path, format string, args ...any) {
	c.found = append(c.found, c.resource.Violation(at, format, args...))
}

func (c *checker) sources(at api.Path, sources []*api.Selector) {
	if len(sources) == 0 {
		c.add(at, "at least one selector is required; match: {kuma.io/service: '*'} selects every data plane")
	}
	for i, s := range sources {
		c.selectorTags(at.Index(i).Field("match"), s.GetMatch())
	}
}

func (c *checker) destinations(at api.Path, destinations []*api.Selector) {
	if len(destinations) == 0 {
		c.add(at, "at least one selector is required; match: {kuma.io/service: '*'} selects every service")
	}
	for i, d := range destinations {
		match := at.Index(i).Field("match")
		c.selectorTags(match, d.GetMatch())
		for _, tag := range slices.Sorted(maps.Keys(d.GetMatch())) {
			if tag != api.ServiceTag {
				c.add(match.Key(tag), "is not allowed: destinations are selected by %q alone", api.ServiceTag)
			}
		}
	}
}

func (c *checker) conf(at api.Path, conf *api.TrafficRoute_Conf) {
	if conf == nil {
		c.add(at, `is required, with either "destination" or "split"`)
		return
	}
	for i, entry := range conf.GetHttp() {
		c.http(at.Field("http").Index(i), entry)
	}
	c.splitOrDestination(at, conf.GetSplit(), conf.GetDestination())
	c.mirrors(at, conf)
	c.loadBalancer(at.Field("loadBalancer"), conf.GetLoadBalancer())
}

func (c *checker) http(at api.Path, entry *api.TrafficRoute_Http) {
	c.match(at.Field("match"), entry.GetMatch())
	c.modify(at.Field("modify"), entry.GetModify(), entry.GetMatch())
	c.splitOrDestination(at, entry.GetSplit(), entry.GetDestination())
	c.mirrors(at, entry)
}

func (c *checker) splitOrDestination(at api.Path, split []*api.TrafficRoute_Split, destination map[string]string) {
	switch {
	case len(split) == 0 && len(destination) == 0:
		c.add(at, `either "destination" or "split" is required`)
	case len(split) > 0 && len(destination) > 0:
		c.add(at, `"split" and "destination" exclude each other`)
	}
	if len(destination) > 0 {
		c.selectorTags(at.Field("destination"), destination)
	}
	if len(split) > 0 {
		c.split(at.Field("split"), split)
	}
}

func (c *checker) split(at api.Path, split []*api.TrafficRoute_Split) {
	var total uint64
	for i, s := range split {
		if s.GetWeight() == nil {
			c.add(at.Index(i).Field("weight"), "is required, 0 to %d; 0 sends nothing", uint32(math.MaxUint32))
		}
		total += uint64(s.GetWeight().GetValue())
		c.selectorTags(at.Index(i).Field("destination"), s.GetDestination())
	}
	switch {
	case total == 0:
		c.add(at, "at least one weight must be above 0")
	case total > math.MaxUint32:
		c.add(at, "the weights add up to %d; Envoy allows %d at most", total, uint32(math.MaxUint32))
	}
}

func (c *checker) loadBalancer(at api.Path, lb *api.TrafficRoute_LoadBalancer) {
	if lb.GetLeastRequest().GetChoiceCount() == 1 {
		c.add(at.Field("leastRequest").Field("choiceCount"), "is 1; must be at least 2, or 0 for Envoy's default")
	}
	if ring := lb.GetRingHash(); ring != nil {
		c.ringHash(at.Field("ringHash"), ring)
	}
}

func (c *checker) ringHash(at api.Path, ring *api.TrafficRoute_LoadBalancer_RingHash) {
	switch f := ring.GetHashFunction(); f {
	case "XX_HASH", "MURMUR_HASH_2":
	default:
		c.add(at.Field("hashFunction"), "is %q; must be XX_HASH or MURMUR_HASH_2", f)
	}
	smallest, largest := ring.GetMinRingSize(), ring.GetMaxRingSize()
	if smallest > maxRingSize {
		c.add(at.Field("minRingSize"), "is %d; must be 0 to %d", smallest, maxRingSize)
	}
	if largest > maxRingSize {
		c.add(at.Field("maxRingSize"), "is %d; must be 0 to %d", largest, maxRingSize)
	}
	switch {
	case largest == 0:
	case smallest == 0 && largest < defaultMinRingSize:
		c.add(at.Field("maxRingSize"), "is %d, below Envoy's default of %d for minRingSize; set minRingSize too", largest, defaultMinRingSize)
	case smallest > largest:
		c.add(at.Field("maxRingSize"), "is %d, below minRingSize %d", largest, smallest)
	}
}
