package check

import (
	"fmt"
	"slices"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
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

// speaks warns of a shadow that copies do not reach as it expects them: of
// another protocol, without the TLS of its port, or under another's name.
func (c *check) speaks(m *mesh.Mesh, route *api.Resource, at api.Path, mirror *api.TrafficRoute_Mirror, outbound api.Tags) {
	shadow := api.Tags(mirror.GetDestination()).Resolve(outbound)
	primary, service := m.Service(outbound.Service()), m.Service(shadow.Service())
	if service == nil || !primary.Protocol().IsHTTP() {
		return // said already
	}
	switch protocol := service.Protocol(); {
	case !protocol.IsHTTP():
		c.warn(route, at, "copies go to %q as HTTP/1.1, though it is not known to speak HTTP: its instances have no common %s of http, http2 or grpc",
			shadow.Service(), api.ProtocolTag)
	case primary.Protocol() == api.ProtocolGRPC && !protocol.IsHTTP2():
		c.warn(route, at, "copies of gRPC calls on the outbound to %q go to %q as HTTP/1.1, by its %s: %s; gRPC needs grpc or http2",
			outbound.Service(), shadow.Service(), api.ProtocolTag, protocol)
	}
	external := service.External(shadow)
	for _, e := range external {
		if e.Port == 443 && e.TLS == nil {
			c.warn(route, at, "copies go to %s:443 of %q without TLS: its ExternalService has no networking.tls.enabled", e.Host, shadow.Service())
		}
	}
	for _, e := range external {
		if e.Host != external[0].Host && mirror.GetHost().GetValue() == "" {
			c.warn(route, at, "%q has instances of several hosts, and all copies carry the first one's: %s, not %s; make each a service of its own, with a mirror each",
				shadow.Service(), external[0].Host, e.Host)
			break
		}
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
