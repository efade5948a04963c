package generate

import (
	"cmp"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// routeStats is the stat_prefix of an entry's route: it makes Envoy count the
// requests of that route by themselves, which is what the copies are compared
// with. Only entries whose mirrors copy anything have one; empty for the others.
func routeStats(policy api.Key, at api.Path, e api.Entry, outbound api.Tags) string {
	for _, m := range api.MirrorsOf(at, e) {
		if xds.Percentage(m) > 0 {
			return statPrefix(policy, at, outbound)
		}
	}
	return ""
}

// RouteStats returns what the names of the stats of an entry's route begin with,
// without the dot. at is the path of the entry.
func RouteStats(policy api.Key, at api.Path, outbound api.Tags) string {
	return routeStatsName(outbound.Service(), statPrefix(policy, at, outbound))
}

// StatsOf is RouteStats for a route that has been generated; empty where it is
// not counted by itself.
func StatsOf(host *route.VirtualHost, r *route.Route) string {
	if r.GetStatPrefix() == "" {
		return ""
	}
	return routeStatsName(host.GetName(), r.GetStatPrefix())
}

func routeStatsName(host, prefix string) string { return "vhost." + host + ".route." + prefix }

// statPrefix names the policy and the entry, and tells apart the outbounds of
// one service, whose route tables have virtual hosts of one name.
func statPrefix(policy api.Key, at api.Path, outbound api.Tags) string {
	name := policy.Name + "_default"
	if entry, ok := strings.CutPrefix(string(at), "conf."); ok {
		name = policy.Name + "_" + strings.NewReplacer("[", "_", "]", "").Replace(entry)
	}
	if hash, ok := strings.CutPrefix(outbound.ClusterName(), outbound.Service()+"-"); ok {
		name += "_" + hash
	}
	return statName(name)
}

// ClusterStats returns what the names of a cluster's stats begin with, without
// the dot.
func ClusterStats(c *cluster.Cluster) string { return "cluster." + StatsName(c) }

// StatsName is what Envoy calls a cluster in the names of its stats.
func StatsName(c *cluster.Cluster) string {
	return notInStats.Replace(cmp.Or(c.GetAltStatName(), c.GetName()))
}

// notInStats is what Envoy replaces in the names of clusters.
var notInStats = strings.NewReplacer("://", "_", ":/", "_", ":", "_")
