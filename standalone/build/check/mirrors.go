package check

import (
	"fmt"
	"slices"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// repeated warns of mirrors of one entry that the outbound's tags make the same.
// services are those of the outbounds, by listener.
func (c *check) repeated(report plugin.Report, services map[string]string) {
	type copies struct {
		listener, cluster string
		entry             api.Path
	}
	first := map[copies]api.Path{}
	for _, o := range report {
		if o.State != plugin.Injected {
			continue
		}
		key := copies{o.Listener, o.Cluster, o.Path[:strings.LastIndex(string(o.Path), ".mirror")]}
		if other, ok := first[key]; ok {
			policy := c.resources[o.Policy]
			c.warn(policy, o.Path, "is the same as %s on the outbound to %q: both copy to %s",
				policy.SpecPath().Field(string(other)), services[o.Listener], o.Destination)
			continue
		}
		first[key] = o.Path
	}
}

// stats warns of mirrors whose stats Envoy adds to those of another cluster,
// because both have one name there.
func (c *check) stats(rs *xds.ResourceSet, report plugin.Report) {
	first := map[string]plugin.Outcome{} // with nothing but a Cluster where that is no mirror's
	for _, c := range rs.Clusters() {
		if !rs.IsMirror(c.GetName()) {
			first[generate.StatsName(c)] = plugin.Outcome{Cluster: c.GetName()}
		}
	}
	// The order of outbounds differs from proxy to proxy; what is said must not.
	report = slices.Clone(report)
	slices.SortStableFunc(report, func(a, b plugin.Outcome) int {
		return strings.Compare(a.Policy.String(), b.Policy.String())
	})
	for _, o := range report {
		if o.State != plugin.Injected {
			continue
		}
		name := generate.StatsName(rs.Get((*cluster.Cluster)(nil), o.Cluster).Resource.(*cluster.Cluster))
		other, ok := first[name]
		if !ok {
			first[name] = o
			continue
		}
		if other.Cluster == o.Cluster {
			continue
		}
		whose := fmt.Sprintf("cluster %q", other.Cluster)
		switch policy := c.resources[other.Policy]; {
		case policy == nil:
		case o.Policy != other.Policy:
			whose = fmt.Sprintf("%s: %s", other.Policy, policy.SpecPath().Field(string(other.Path)))
		case o.Path != other.Path:
			whose = string(policy.SpecPath().Field(string(other.Path)))
		default:
			whose = "the same mirror on another outbound"
		}
		path := o.Path
		if o.Name != "" {
			path = path.Field("name")
		}
		c.warn(c.resources[o.Policy], path, "its stats are called %q, as are those of %s: Envoy adds them up", name, whose)
	}
}
