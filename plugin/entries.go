package plugin

import (
	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// entry is one route that a TrafficRoute makes, with its mirrors.
type entry struct {
	xds.Entry
	mirrors []mirrorAt
}

// mirrorAt is a mirror and where it stands.
type mirrorAt struct {
	path   api.Path
	mirror *api.TrafficRoute_Mirror
}

// entriesOf returns the routes that the TrafficRoute makes for an outbound with
// the given tags, in Envoy's order: those of conf.http, then the default.
func entriesOf(spec *api.TrafficRoute, outbound api.Tags) []entry {
	var out []entry
	for at, e := range spec.Entries() {
		clusters := clustersOf(e.GetSplit(), e.GetDestination(), outbound)
		if len(clusters) == 0 {
			continue // as Kuma: an entry that sends nowhere makes no route
		}
		http, _ := e.(*api.TrafficRoute_Http)
		made := entry{Entry: xds.Entry{Match: xds.RouteMatch(http.GetMatch()), Clusters: clusters}}
		for at, m := range api.MirrorsOf(at, e) {
			made.mirrors = append(made.mirrors, mirrorAt{path: at, mirror: m})
		}
		out = append(out, made)
	}
	return out
}

// clustersOf returns the clusters of a split, or of the one destination, that
// get traffic at all.
func clustersOf(split []*api.TrafficRoute_Split, destination, outbound api.Tags) []xds.WeightedCluster {
	if len(destination) > 0 {
		return []xds.WeightedCluster{{Name: destination.Resolve(outbound).ClusterName(), Weight: 1}}
	}
	var out []xds.WeightedCluster
	for _, s := range split {
		if weight := s.GetWeight().GetValue(); weight > 0 {
			name := api.Tags(s.GetDestination()).Resolve(outbound).ClusterName()
			out = append(out, xds.WeightedCluster{Name: name, Weight: weight})
		}
	}
	return out
}
