package v1alpha1

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Tags with a meaning of their own.
const (
	// ServiceTag names the service; every destination has it.
	ServiceTag = "kuma.io/service"
	// ProtocolTag says what an instance speaks.
	ProtocolTag = "kuma.io/protocol"
	// ExternalServiceNameTag tells the ExternalServices of one service apart.
	ExternalServiceNameTag = "kuma.io/external-service-name"
	// MatchAll as the value of a tag matches any value.
	MatchAll = "*"
)

// Tags are the tags of a selector or a destination.
type Tags map[string]string

// Service returns the value of `kuma.io/service`, or "".
func (t Tags) Service() string { return t[ServiceTag] }

// Matches reports whether tags has every tag of t with the same value, or any
// value where t has '*'. Empty Tags match everything.
func (t Tags) Matches(tags map[string]string) bool {
	for k, v := range t {
		have, ok := tags[k]
		if !ok || (v != MatchAll && v != have) {
			return false
		}
	}
	return true
}

// String gives the tags as "key=value,key=value", sorted by key.
func (t Tags) String() string {
	pairs := make([]string, 0, len(t))
	for _, k := range slices.Sorted(maps.Keys(t)) {
		pairs = append(pairs, k+"="+t[k])
	}
	return strings.Join(pairs, ",")
}

// ClusterName returns the name of Kuma's cluster for the destination t: the
// service alone where it is the only tag, else the service followed by the
// first 8 bytes, in hex, of the SHA-256 over all keys and values in the keys'
// order. See `pkg/xds/envoy/tags/match.go` of Kuma 2.14.
func (t Tags) ClusterName() string {
	if len(t) == 1 {
		return t.Service()
	}
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(t)) {
		h.Write([]byte(k))
		h.Write([]byte(t[k]))
	}
	return fmt.Sprintf("%s-%x", t.Service(), h.Sum(nil)[:8])
}

// Resolve returns the destination t as it is for an outbound: a tag whose value
// is '*' takes the outbound's value, or goes where the outbound has none, and
// further tags of the outbound are added, as Kuma does before it names
// clusters.
func (t Tags) Resolve(outbound map[string]string) Tags {
	resolved := Tags{}
	for k, v := range t {
		if v != MatchAll {
			resolved[k] = v
		}
	}
	for k, v := range outbound {
		if _, ok := resolved[k]; !ok {
			resolved[k] = v
		}
	}
	return resolved
}
