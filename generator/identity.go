// Package generator makes mirror clusters: their identity, their names, and the
// protections that keep a shadow from hurting the primary.
package generator

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"time"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// Limits bounds what the copies of one mirror cluster may cost a proxy.
type Limits struct {
	// MaxConcurrentRequests is the number of copies in flight at once.
	MaxConcurrentRequests uint32
	// MaxRequestBodyBytes is how much of a request's body is held for its
	// copy, in bytes; 0 streams it.
	MaxRequestBodyBytes uint32
	// MaxDuration is the longest life of a copy.
	MaxDuration time.Duration
}

// DefaultLimits are the limits of a mirror that says none.
var DefaultLimits = Limits{
	MaxConcurrentRequests: 128,
	MaxRequestBodyBytes:   1 << 20,
	MaxDuration:           15 * time.Second,
}

// LimitsOf returns the limits a user wrote, with the defaults for what is
// absent.
func LimitsOf(l *api.TrafficRoute_Mirror_Limits) Limits {
	limits := DefaultLimits
	if l.GetMaxConcurrentRequests() != nil {
		limits.MaxConcurrentRequests = l.GetMaxConcurrentRequests().GetValue()
	}
	if l.GetMaxRequestBodyBytes() != nil {
		limits.MaxRequestBodyBytes = l.GetMaxRequestBodyBytes().GetValue()
	}
	if l.GetMaxDuration() != nil {
		limits.MaxDuration = l.GetMaxDuration().AsDuration()
	}
	return limits
}

// Identity is all that tells the mirror clusters of one proxy apart: mirrors of
// the same identity share a cluster, and with it connections, limits and stats.
type Identity struct {
	// Tags of the shadow, without wildcards.
	Tags api.Tags
	// Name in Envoy's stats; empty means the cluster's name.
	Name   string
	Limits Limits
}

// IdentityOf returns the identity of a mirror on an outbound with the given
// tags.
func IdentityOf(m *api.TrafficRoute_Mirror, outbound api.Tags) Identity {
	return Identity{
		Tags:   api.Tags(m.GetDestination()).Resolve(outbound),
		Name:   m.GetName(),
		Limits: LimitsOf(m.GetLimits()),
	}
}

// ClusterName returns the name of the mirror cluster: that of the destination's
// Kuma cluster followed by "_mirror", by the mirror's name where it has one, so
// that it is found in all that Envoy says of its clusters, and by a hash where
// limits differ from the defaults. It depends on nothing but the identity.
func (id Identity) ClusterName() string {
	if id.Limits == DefaultLimits && !ambiguous.MatchString(id.Name) {
		return id.plainName()
	}
	return id.DistinctClusterName()
}

// DistinctClusterName is ClusterName for the case that another cluster has that
// name already: always with the hash.
func (id Identity) DistinctClusterName() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d\x00%d\x00%d", id.Tags, id.Name,
		id.Limits.MaxConcurrentRequests, id.Limits.MaxRequestBodyBytes, id.Limits.MaxDuration))
	return fmt.Sprintf("%s-%x", id.plainName(), sum[:4])
}

const suffix = "_mirror"

func (id Identity) plainName() string {
	name := id.Tags.ClusterName() + suffix
	if id.Name != "" {
		name += "-" + id.Name
	}
	return name
}

// ambiguous finds the names with which two identities could have the same plain
// name: those that end as a cluster with a hash does, and those with the suffix
// in them, since services may have it, too.
var ambiguous = regexp.MustCompile(`(^|-)[0-9a-f]{8}$|` + suffix)
