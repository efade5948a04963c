package check

import (
	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/generator"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

const (
	// manyMirrorClusters are as many as an Envoy should get; see the figures in
	// docs/operate.md.
	manyMirrorClusters = 1000
	// muchBuffer is what the copies of one mirror should be able to hold.
	muchBuffer = 4 << 30
)

// load warns of a data plane whose Envoy would be busy with mirror clusters.
func (c *check) load(dataplane *api.Resource, rs *xds.ResourceSet) {
	n := 0
	for _, cluster := range rs.Clusters() {
		if rs.IsMirror(cluster.GetName()) {
			n++
		}
	}
	if n > manyMirrorClusters {
		c.add(dataplane.Violation("", "its Envoy gets %d mirror clusters, more than %d: its main thread takes more than a millisecond for each, at its start "+
			"and when they change, and takes no other change meanwhile; mirror fewer outbounds, or give mirrors the same destination, name and limits, "+
			"which share a cluster", n, manyMirrorClusters))
	}
}

// buffers warns of mirrors whose limits bound nothing.
func (c *check) buffers(r *api.Resource, route *api.TrafficRoute) {
	for at, e := range route.Entries() {
		for path, m := range api.MirrorsOf(at, e) {
			l := generator.LimitsOf(m.GetLimits())
			if most := uint64(l.MaxConcurrentRequests) * uint64(l.MaxRequestBodyBytes); most > muchBuffer {
				c.warn(r, path.Field("limits"), "maxConcurrentRequests (%d) times maxRequestBodyBytes (%d) lets its copies hold %d GiB in each Envoy, more than %d GiB: "+
					"one that runs out of memory takes the primary with it; lower one of the two", l.MaxConcurrentRequests, l.MaxRequestBodyBytes, most>>30, muchBuffer>>30)
			}
		}
	}
}
