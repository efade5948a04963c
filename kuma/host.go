package kuma

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"
	envoy_cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	envoy_endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	envoy_resource "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	mesh_proto "github.com/kumahq/kuma/v2/api/mesh/v1alpha1"
	core_meta "github.com/kumahq/kuma/v2/pkg/core/metadata"
	unified_naming "github.com/kumahq/kuma/v2/pkg/core/naming/unified-naming"
	"github.com/kumahq/kuma/v2/pkg/core/user"
	core_xds "github.com/kumahq/kuma/v2/pkg/core/xds"
	policies_xds "github.com/kumahq/kuma/v2/pkg/plugins/policies/core/xds"
	xds_context "github.com/kumahq/kuma/v2/pkg/xds/context"
	envoy_clusters "github.com/kumahq/kuma/v2/pkg/xds/envoy/clusters"
	envoy_tags "github.com/kumahq/kuma/v2/pkg/xds/envoy/tags"
	"google.golang.org/protobuf/proto"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
)

// host builds shadows' clusters as Kuma's outbound generator builds those of
// ordinary destinations, but without what Kuma's policies add: the core has its
// own protections. It is for one run of Apply.
type host struct {
	ctx   xds_context.Context
	proxy *core_xds.Proxy
	// empty are the clusters without endpoints, by name, and why that is.
	empty map[string]string
	// retrial knows the clusters that the proxy's Envoy refused.
	retrial *retrial
}

var _ plugin.Host = &host{}

func newHost(ctx xds_context.Context, proxy *core_xds.Proxy, retrial *retrial) *host {
	return &host{ctx: ctx, proxy: proxy, empty: map[string]string{}, retrial: retrial}
}

// BaseCluster implements plugin.Host. A service that nobody serves gives a
// cluster without endpoints, so that a shadow which comes and goes does not
// change the primary's listener each time.
func (h *host) BaseCluster(ctx context.Context, name string, tags api.Tags) (*plugin.BaseCluster, error) {
	base, err := h.base(ctx, name, tags)
	if err != nil {
		return nil, err
	}
	bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(base.Cluster)
	if err != nil {
		return nil, err
	}
	if err := h.retrial.try(resource{envoy_resource.ClusterType, name}, xxhash.Sum64(bytes)); err != nil {
		return nil, err
	}
	return base, nil
}

func (h *host) base(ctx context.Context, name string, tags api.Tags) (*plugin.BaseCluster, error) {
	if mesh, ok := tags[mesh_proto.MeshTag]; ok {
		return nil, fmt.Errorf("it is in another mesh, %q, where mirrors do not reach", mesh)
	}
	service := tags.Service()
	if outside := h.proxy.Routing.ExternalServiceOutboundTargets[service]; len(outside) > 0 {
		return h.external(name, tags, outside)
	}

	builder := envoy_clusters.NewClusterBuilder(h.proxy.APIVersion, name).
		Configure(envoy_clusters.EdsCluster())
	if endpoints := h.proxy.Routing.OutboundTargets[service]; len(endpoints) > 0 && endpoints[0].IsExternalService() {
		// By way of the zone egress, which writes the external host.
		builder.Configure(h.mtls(mesh_proto.ZoneEgressServiceName, tags)).
			Configure(h.protocol(service))
	} else {
		builder.Configure(h.mtls(service, tags)).
			Configure(envoy_clusters.Http2())
	}
	built, err := builder.Build()
	if err != nil {
		return nil, err
	}
	endpoints, err := h.endpoints(ctx, name, tags)
	if err != nil {
		return nil, err
	}
	return &plugin.BaseCluster{Cluster: built.(*envoy_cluster.Cluster), Endpoints: endpoints}, nil
}

// external builds the cluster of ExternalServices that the proxy calls itself.
// Other than Kuma it takes only those that have the tags: a copy must not reach
// a server that nobody named.
func (h *host) external(name string, tags api.Tags, all []core_xds.Endpoint) (*plugin.BaseCluster, error) {
	endpoints := slices.DeleteFunc(slices.Clone(all), func(e core_xds.Endpoint) bool { return !e.ContainsTags(tags) })
	if len(endpoints) == 0 {
		return nil, errors.New("no ExternalService has these tags")
	}
	built, err := envoy_clusters.NewClusterBuilder(h.proxy.APIVersion, name).
		Configure(envoy_clusters.ProvidedEndpointCluster(h.proxy.Dataplane.IsIPv6(), endpoints...)).
		Configure(envoy_clusters.ClientSideTLS(endpoints)).
		Configure(h.protocol(tags.Service())).
		Build()
	if err != nil {
		return nil, err
	}
	first := endpoints[0]
	return &plugin.BaseCluster{
		Cluster:   built.(*envoy_cluster.Cluster),
		Authority: plugin.Authority(first.Target, first.Port, first.ExternalService.TLSEnabled),
	}, nil
}

// mtls is the client's side of the mesh's mTLS, where the mesh has it: the
// server must be the service, and the tags are the SNI.
func (h *host) mtls(service string, tags api.Tags) envoy_clusters.ClusterBuilderOpt {
	mesh := h.ctx.Mesh
	info := mesh.ServicesInformation[tags.Service()]
	return envoy_clusters.ClientSideMTLS(
		h.proxy.SecretsTracker,
		unified_naming.Enabled(h.proxy.Metadata, mesh.Resource),
		mesh.Resource,
		service,
		info != nil && info.TLSReadiness,
		[]envoy_tags.Tags{envoy_tags.Tags(tags)},
		len(mesh.CAsByTrustDomain) > 0,
	)
}

// protocol is that of an external service; between data plane proxies it is
// always HTTP/2.
func (h *host) protocol(service string) envoy_clusters.ClusterBuilderOpt {
	switch h.ctx.Mesh.GetServiceProtocol(service) {
	case core_meta.ProtocolHTTP2, core_meta.ProtocolGRPC:
		return envoy_clusters.Http2()
	default:
		return envoy_clusters.Http()
	}
}

// endpoints of the shadow, from the cache that Kuma's clusters use.
func (h *host) endpoints(ctx context.Context, name string, tags api.Tags) (*envoy_endpoint.ClusterLoadAssignment, error) {
	mesh := h.ctx.Mesh
	shadow := policies_xds.NewClusterBuilder().
		WithService(tags.Service()).
		WithName(name).
		WithTags(envoy_tags.Tags(tags)).
		Build()
	cached, err := h.ctx.ControlPlane.CLACache.GetCLA(
		user.Ctx(ctx, user.ControlPlane), mesh.Resource.GetMeta().GetName(), mesh.Hash, shadow, h.proxy.APIVersion, mesh.EndpointMap)
	if err != nil {
		return nil, err
	}
	assignment, ok := cached.(*envoy_endpoint.ClusterLoadAssignment)
	if !ok {
		return nil, fmt.Errorf("its endpoints are %T", cached)
	}
	if !hasEndpoints(assignment) {
		h.empty[name] = h.whyEmpty(tags)
	}
	return assignment, nil
}

func hasEndpoints(a *envoy_endpoint.ClusterLoadAssignment) bool {
	return slices.ContainsFunc(a.GetEndpoints(), func(l *envoy_endpoint.LocalityLbEndpoints) bool { return len(l.GetLbEndpoints()) > 0 })
}

func (h *host) whyEmpty(tags api.Tags) string {
	switch {
	case h.ctx.Mesh.IsExternalService(tags.Service()):
		return "no TrafficPermission lets this data plane proxy call that external service, or its mesh has no egress for it"
	case len(h.ctx.Mesh.EndpointMap[tags.Service()]) > 0:
		return "the service has instances, but none with these tags"
	default:
		return "no data plane proxy serves it and no ExternalService has its name"
	}
}

// unserved tells of the mirrors whose copies go nowhere.
func (h *host) unserved(report plugin.Report) []string {
	var out []string
	for _, o := range report {
		if why, ok := h.empty[o.Cluster]; ok && o.State == plugin.Injected {
			out = append(out, fmt.Sprintf("%s: nobody gets the copies: %s", o, why))
		}
	}
	return out
}
