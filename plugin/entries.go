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
	root := api.Path("conf")
	for i, http := range spec.GetConf().GetHttp() {
		clusters := clustersOf(http.GetSplit(), http.GetDestination(), outbound)
		if len(clusters) == 0 {
			continue // as Kuma: an entry that sends nowhere makes no route
		}
		out = append(out, entry{
			Entry:   xds.Entry{Match: xds.RouteMatch(http.GetMatch()), Clusters: clusters},
			mirrors: mirrorsAt(root.Field("http").Index(i), http.GetMirror(), http.GetMirrors()),
		})
	}
	if clusters := clustersOf(spec.GetConf().GetSplit(), spec.GetConf().GetDestination(), outbound); len(clusters) > 0 {
		out = append(out, entry{
			Entry:   xds.Entry{Match: xds.RouteMatch(nil), Clusters: clusters},
			mirrors: mirrorsAt(root, spec.GetConf().GetMirror(), spec.GetConf().GetMirrors()),
		})
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

func mirrorsAt(at api.Path, one *api.TrafficRoute_Mirror, several []*api.TrafficRoute_Mirror) []mirrorAt {
	var out []mirrorAt
	if one != nil {
		out = append(out, mirrorAt{path: at.Field("mirror"), mirror: one})
	}
	for i, m := range several {
		out = append(out, mirrorAt{path: at.Field("mirrors").Index(i), mirror: m})
	}
	return out
}
