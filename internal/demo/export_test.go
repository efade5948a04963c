package demo

import (
	"slices"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

var (
	BinomialRange      = binomialRange
	Resources          = resources
	ResourcesAsWritten = written
)

func ClusterHealth(clusters []*adminv3.ClusterStatus, name, url string) error {
	return clusterHealth(clusters, name, url)
}

func (p Ports) Reserve() (Ports, error) { return p.reserve() }

// CheckNames are the names of all checks.
func CheckNames(kind Kind) []string {
	var names []string
	for _, c := range checks() {
		if c.kind == kind {
			names = append(names, c.name)
		}
	}
	return names
}

// Sabotage makes Check run only the checks called names, in a demo whose
// resources break has changed.
func (o *Options) Sabotage(spoil func([]*api.Resource), names ...string) {
	o.resources = func(ports Ports) ([]*api.Resource, error) {
		all, err := resources(ports)
		if err == nil {
			spoil(all)
		}
		return all, err
	}
	o.checks = slices.DeleteFunc(checks(), func(c check) bool { return !slices.Contains(names, c.name) })
}
