package kuma

import (
	"fmt"
	"slices"
	"strings"

	mesh_proto "github.com/kumahq/kuma/v2/api/mesh/v1alpha1"
	core_xds "github.com/kumahq/kuma/v2/pkg/core/xds"
	meshhttproute "github.com/kumahq/kuma/v2/pkg/plugins/policies/meshhttproute/api/v1alpha1"
	meshtcproute "github.com/kumahq/kuma/v2/pkg/plugins/policies/meshtcproute/api/v1alpha1"
	xds_context "github.com/kumahq/kuma/v2/pkg/xds/context"

	"github.com/kuma-mirror/kuma-mirror/plugin"
)

// Why an outbound has no way out.
const (
	noTrafficRoute plugin.State = "no traffic route"
	meshService    plugin.State = "mesh service"
)

// stranded finds the outbounds that Kuma does not route, because their mesh has
// TrafficRoutes: from the first one of a mesh on, outbounds that none matches have
// no route, and those to MeshServices and their like no listener. It is not the
// plugin's doing, but a TrafficRoute for a mirror may be a mesh's first.
func stranded(mesh xds_context.MeshContext, proxy *core_xds.Proxy) plugin.Note {
	note := plugin.Note{States: map[plugin.State]int{}}
	if len(mesh.Resources.TrafficRoutes().Items) == 0 ||
		hasRules(proxy, meshhttproute.MeshHTTPRouteType) || hasRules(proxy, meshtcproute.MeshTCPRouteType) {
		return note
	}
	outbounds := map[plugin.State][]string{}
	networking := proxy.Dataplane.Spec.GetNetworking()
	for _, o := range networking.GetOutbounds(mesh_proto.NonBackendRefFilter) {
		if proxy.Routing.TrafficRoutes[networking.ToOutboundInterface(o)] == nil {
			outbounds[noTrafficRoute] = append(outbounds[noTrafficRoute], o.GetService())
		}
	}
	for _, o := range proxy.Outbounds {
		if id, ok := o.AssociatedServiceResource(); ok {
			outbounds[meshService] = append(outbounds[meshService], id.Name)
		}
	}
	tell := func(state plugin.State, why string) {
		names := outbounds[state]
		if len(names) == 0 {
			return
		}
		slices.Sort(names)
		note.States[state] = len(names)
		note.Findings = append(note.Findings, fmt.Sprintf("%s: %d outbounds have %s: %s", dataplaneKey(proxy.Dataplane), len(names), why, some(names)))
	}
	tell(noTrafficRoute, "no route, because no TrafficRoute matches them")
	tell(meshService, "no listener, because the mesh has TrafficRoutes and no MeshHTTPRoute applies to this data plane proxy")
	return note
}

// some of the names, and how many more there are.
func some(names []string) string {
	const shown = 5
	names = slices.Compact(names)
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}
