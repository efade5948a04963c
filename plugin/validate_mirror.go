package plugin

import (
	"math"
	"regexp"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/generator"
)

// What a mirror may say; `api/v1alpha1/traffic_route.proto` tells the users.
const (
	maxMirrors            = 16
	percentageSteps       = 10_000 // four decimals, what Envoy's fractions hold
	maxConcurrentRequests = 1_000_000
	maxRequestBodyBytes   = 64 << 20
	minMaxDuration        = time.Millisecond
	maxMaxDuration        = time.Hour
)

// mirrorName has no dots, which would split the names of Envoy's stats.
var mirrorName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,63}$`)

// mirrors checks the mirrors of one entry, or of conf, at the given path.
func (c *checker) mirrors(at api.Path, e api.Entry) {
	if e.GetMirror() != nil && len(e.GetMirrors()) > 0 {
		c.add(at.Field("mirrors"), `excludes "mirror": use one of them`)
	}
	if n := len(e.GetMirrors()); n > maxMirrors {
		c.add(at.Field("mirrors"), "has %d entries; at most %d are allowed", n, maxMirrors)
	}
	type identity struct{ destination, name string }
	first := map[identity]api.Path{}
	for at, m := range api.MirrorsOf(at, e) {
		c.mirror(at, m)
		id := identity{api.Tags(m.GetDestination()).String(), m.GetName()}
		switch other, ok := first[id]; {
		case !ok:
			first[id] = at
		case len(m.GetDestination()) > 0:
			c.add(at, "has the same destination and name as %s; give one of them another name", other)
		}
	}
}

func (c *checker) mirror(at api.Path, m *api.TrafficRoute_Mirror) {
	c.selectorTags(at.Field("destination"), m.GetDestination())
	if p := m.GetPercentage(); p != nil {
		c.percentage(at.Field("percentage"), p.GetValue())
	}
	if name := m.GetName(); name != "" && !mirrorName.MatchString(name) {
		c.add(at.Field("name"), "is %q; must be 1 to 63 letters, digits, dashes and underscores", name)
	}
	c.limits(at.Field("limits"), m.GetLimits())
	c.copyHeaders(at.Field("requestHeaders"), m.GetRequestHeaders(), at.Field("host"))
	c.mark(at.Field("requestHeaders"), m.GetRequestHeaders(), true)
	c.body(at, m)
	if h := m.GetHost(); h != nil {
		c.mirrorHost(at.Field("host"), h)
	}
}

func (c *checker) body(at api.Path, m *api.TrafficRoute_Mirror) {
	switch m.GetBody() {
	case "":
	case generator.OmitBody:
		if m.GetLimits().GetMaxRequestBodyBytes() != nil {
			c.add(at.Field("limits").Field("maxRequestBodyBytes"), "excludes \"body: %s\": copies without a body need no limit for it", generator.OmitBody)
		}
	default:
		c.add(at.Field("body"), "is %q; must be %q, or leave it out to copy the body", m.GetBody(), generator.OmitBody)
	}
}

func (c *checker) percentage(at api.Path, p float64) {
	if !(p >= 0 && p <= 100) { // so that NaN is refused too
		c.add(at, "is %g; must be 0 to 100", p)
		return
	}
	// Decimal fractions are not exact in binary: allow for a few units in the
	// last place, relative to the value so that 1e-12 does not pass for 0.
	steps := p * percentageSteps
	if math.Abs(steps-math.Round(steps)) > steps*1e-14 {
		c.add(at, "is %g; at most four decimals are allowed", p)
	}
}

func (c *checker) limits(at api.Path, l *api.TrafficRoute_Mirror_Limits) {
	if n := l.GetMaxConcurrentRequests(); n != nil && (n.GetValue() < 1 || n.GetValue() > maxConcurrentRequests) {
		c.add(at.Field("maxConcurrentRequests"), "is %d; must be 1 to %d", n.GetValue(), maxConcurrentRequests)
	}
	if n := l.GetMaxRequestBodyBytes(); n.GetValue() > maxRequestBodyBytes {
		c.add(at.Field("maxRequestBodyBytes"), "is %d; must be 0 to %d, 0 streams the body", n.GetValue(), maxRequestBodyBytes)
	}
	if d := l.GetMaxDuration(); d != nil && !isBetween(d, minMaxDuration, maxMaxDuration) {
		c.add(at.Field("maxDuration"), "must be 1ms to 1h, such as 15s")
	}
}

func isBetween(d *durationpb.Duration, least, most time.Duration) bool {
	return d.IsValid() && d.AsDuration() >= least && d.AsDuration() <= most
}

func (c *checker) mirrorHost(at api.Path, h *api.TrafficRoute_Mirror_Host) {
	switch h.GetType().(type) {
	case *api.TrafficRoute_Mirror_Host_Suffix:
		if !h.GetSuffix() {
			c.add(at.Field("suffix"), "must be true; leave host out to keep the host as it is")
		}
	case *api.TrafficRoute_Mirror_Host_Value:
		c.host(at.Field("value"), h.GetValue())
	default:
		c.add(at, `either "suffix: true" or "value" is required`)
	}
}
