// Package generator makes mirror clusters: their identity, their names, and the
// protections that keep a shadow from hurting the primary.
package generator

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

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
// The fields of a mirror that belong to it are marked in its proto.
type Identity struct {
	// Tags of the shadow, without wildcards.
	Tags api.Tags
	// Name in Envoy's stats; empty means the cluster's name.
	Name   string
	Limits Limits
	// Options are the other marked fields that are set; nil where there are
	// none.
	Options *api.TrafficRoute_Mirror
}

// IdentityOf returns the identity of a mirror on an outbound with the given
// tags.
func IdentityOf(m *api.TrafficRoute_Mirror, outbound api.Tags) Identity {
	id := Identity{
		Tags:    api.Tags(m.GetDestination()).Resolve(outbound),
		Name:    m.GetName(),
		Limits:  LimitsOf(m.GetLimits()),
		Options: optionsOf(m.ProtoReflect(), otherFields),
	}
	if id.omitsBodies() {
		id.Limits.MaxRequestBodyBytes = 1 // the least that the buffer filter takes, and none comes
	}
	return id
}

// otherFields are the fields of a mirror that are marked in its proto as part of
// the identity, and that Identity has no field for.
var otherFields = slices.DeleteFunc(
	markedFields((&api.TrafficRoute_Mirror{}).ProtoReflect().Descriptor()),
	func(fd protoreflect.FieldDescriptor) bool {
		return slices.Contains([]protoreflect.Name{"destination", "name", "limits"}, fd.Name())
	})

// markedFields are those of a message that belong to the identity.
func markedFields(m protoreflect.MessageDescriptor) []protoreflect.FieldDescriptor {
	var marked []protoreflect.FieldDescriptor
	for i := range m.Fields().Len() {
		if fd := m.Fields().Get(i); proto.GetExtension(fd.Options(), api.E_ClusterIdentity).(bool) {
			marked = append(marked, fd)
		}
	}
	return marked
}

// optionsOf returns a mirror with those fields alone; nil where none is set.
func optionsOf(m protoreflect.Message, fields []protoreflect.FieldDescriptor) *api.TrafficRoute_Mirror {
	var options *api.TrafficRoute_Mirror
	for _, fd := range fields {
		if !m.Has(fd) {
			continue
		}
		if options == nil {
			options = &api.TrafficRoute_Mirror{}
		}
		options.ProtoReflect().Set(fd, m.Get(fd))
	}
	return options
}

// Key is equal for equal identities, and for those alone.
func (id Identity) Key() string {
	return fmt.Sprintf("%s\x00%s\x00%s", id.Tags, id.Name, id.optionsKey())
}

// optionsKey is the part of Key that says how the cluster is configured.
func (id Identity) optionsKey() string {
	key := fmt.Sprintf("%d\x00%d\x00%d", id.Limits.MaxConcurrentRequests, id.Limits.MaxRequestBodyBytes, id.Limits.MaxDuration)
	if id.Options == nil {
		return key
	}
	// It cannot fail: nothing is required, and texts were read as UTF-8.
	options, _ := proto.MarshalOptions{Deterministic: true}.Marshal(id.Options)
	return key + "\x00" + string(options)
}

// ClusterName returns the name of the mirror cluster: that of the destination's
// Kuma cluster followed by "_mirror", by the mirror's name where it has one, so
// that it is found in all that Envoy says of its clusters, and by a hash where
// limits differ from the defaults or other options are set. It depends on
// nothing but the identity.
func (id Identity) ClusterName() string {
	if id.Limits == DefaultLimits && id.Options == nil && !ambiguous.MatchString(id.Name) {
		return id.plainName()
	}
	return id.DistinctClusterName()
}

// DistinctClusterName is ClusterName for the case that another cluster has that
// name already: always with the hash.
func (id Identity) DistinctClusterName() string {
	sum := sha256.Sum256([]byte(id.Key()))
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
