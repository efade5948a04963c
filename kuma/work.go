package kuma

import (
	"fmt"
	"strings"

	mesh_proto "github.com/kumahq/kuma/v2/api/mesh/v1alpha1"
	core_mesh "github.com/kumahq/kuma/v2/pkg/core/resources/apis/mesh"
	core_model "github.com/kumahq/kuma/v2/pkg/core/resources/model"
	core_xds "github.com/kumahq/kuma/v2/pkg/core/xds"
	meshhttproute "github.com/kumahq/kuma/v2/pkg/plugins/policies/meshhttproute/api/v1alpha1"
	meshtcproute "github.com/kumahq/kuma/v2/pkg/plugins/policies/meshtcproute/api/v1alpha1"
	xds_context "github.com/kumahq/kuma/v2/pkg/xds/context"
	envoy_names "github.com/kumahq/kuma/v2/pkg/xds/envoy/names"
	"google.golang.org/protobuf/proto"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/plugin/carrier"
)

type proxyKey = api.Key

func dataplaneKey(dp *core_mesh.DataplaneResource) proxyKey {
	return api.Key{Kind: api.KindDataplane, Mesh: dp.GetMeta().GetMesh(), Name: dp.GetMeta().GetName()}
}

// work is what there is to do for one proxy.
type work struct {
	key proxyKey
	// outbounds whose TrafficRoute has mirrors.
	outbounds []plugin.Outbound
	// confs are those TrafficRoutes as they were written, by the outbound's
	// listener.
	confs map[string][]byte
	// damaged are the mirrors whose carrier cannot be read.
	damaged plugin.Report

	// written are the mesh's TrafficRoutes by name, as their authors wrote
	// them, and read what of them was decoded.
	written map[string]*core_mesh.TrafficRouteResource
	read    map[string]reading
}

// reading is a TrafficRoute with its carriers decoded; none where it has none.
type reading struct {
	route    *plugin.Route
	conf     []byte // as it was written
	problems []carrier.Problem
}

// workOf finds the outbounds of a proxy that are governed by a TrafficRoute with
// mirrors.
func workOf(mesh xds_context.MeshContext, proxy *core_xds.Proxy) work {
	w := work{key: dataplaneKey(proxy.Dataplane), confs: map[string][]byte{}}
	networking := proxy.Dataplane.Spec.GetNetworking()
	for _, outbound := range networking.GetOutbounds(mesh_proto.NonBackendRefFilter) {
		oface := networking.ToOutboundInterface(outbound)
		matched := proxy.Routing.TrafficRoutes[oface]
		if matched == nil {
			continue
		}
		r := w.decode(mesh, matched)
		if r.route == nil {
			continue
		}
		listener := envoy_names.GetOutboundListenerName(oface.DataplaneIP, oface.DataplanePort)
		for _, problem := range r.problems {
			w.damaged = append(w.damaged, plugin.Outcome{
				Proxy: w.key, Policy: r.route.Key, Listener: listener,
				Path: problem.At, State: plugin.Damaged, Reason: problem.Message,
			})
		}
		w.confs[listener] = r.conf
		w.outbounds = append(w.outbounds, plugin.Outbound{Listener: listener, Tags: outbound.GetTags(), Route: r.route})
	}
	return w
}

// decode reads each TrafficRoute once, and not for each of the outbounds that it
// governs, and converts only those with mirrors. Kuma matches them with copies in
// which an outbound's tags have taken the place of wildcards; the core does that
// as well.
func (w *work) decode(mesh xds_context.MeshContext, matched *core_mesh.TrafficRouteResource) reading {
	name := matched.GetMeta().GetName()
	if r, ok := w.read[name]; ok {
		return r
	}
	if w.written == nil {
		w.written, w.read = map[string]*core_mesh.TrafficRouteResource{}, map[string]reading{}
		for _, route := range mesh.Resources.TrafficRoutes().Items {
			w.written[route.GetMeta().GetName()] = route
		}
	}
	written := w.written[name]
	if written == nil {
		written = matched
	}
	if !carries(written.Spec) {
		w.read[name] = reading{}
		return reading{}
	}
	r := reading{route: &plugin.Route{Key: api.Key{
		Kind: api.KindTrafficRoute,
		Mesh: matched.GetMeta().GetMesh(),
		// In a zone the name of a policy from the global control plane has
		// a suffix; this is the one its author gave.
		Name: core_model.GetDisplayName(matched.GetMeta()),
	}}}
	var spec *api.TrafficRoute
	var err error
	if spec, r.conf, err = convert(written.Spec); err != nil {
		r.problems = []carrier.Problem{{At: "conf", Message: err.Error()}}
	} else {
		r.route.Spec, r.problems = carrier.Decode(spec)
	}
	w.read[name] = r
	return r
}

// convert turns Kuma's TrafficRoute into ours, which has the same fields under
// the same numbers and two more. Whom it is for Kuma has decided already.
func convert(spec *mesh_proto.TrafficRoute) (*api.TrafficRoute, []byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(spec.GetConf())
	if err != nil {
		return nil, nil, err
	}
	out := &api.TrafficRoute{Conf: &api.TrafficRoute_Conf{}}
	return out, b, proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, out.Conf)
}

// carries reports whether a TrafficRoute has a carrier anywhere.
func carries(spec *mesh_proto.TrafficRoute) bool {
	conf := spec.GetConf()
	if hasCarrier(conf.GetDestination(), conf.GetSplit()) {
		return true
	}
	for _, http := range conf.GetHttp() {
		if hasCarrier(http.GetDestination(), http.GetSplit()) {
			return true
		}
	}
	return false
}

func hasCarrier(destination map[string]string, split []*mesh_proto.TrafficRoute_Split) bool {
	if hasCarrierTag(destination) {
		return true
	}
	for _, s := range split {
		if hasCarrierTag(s.GetDestination()) {
			return true
		}
	}
	return false
}

func hasCarrierTag(destination map[string]string) bool {
	for tag := range destination {
		if strings.HasPrefix(tag, carrier.Prefix) {
			return true
		}
	}
	return false
}

// explain adds what the core cannot know to the reason for which there is no
// mirror. The condition is Kuma's own: where a route has rules for
// MeshMultiZoneServices and their like alone, which are ResourceRules, Kuma
// keeps to the TrafficRoutes.
func explain(report plugin.Report, proxy *core_xds.Proxy) {
	for _, kind := range []core_model.ResourceType{meshhttproute.MeshHTTPRouteType, meshtcproute.MeshTCPRouteType} {
		if !hasRules(proxy, kind) {
			continue
		}
		for i := range report {
			if report[i].State == plugin.Refused || report[i].State == plugin.NotHTTP {
				report[i].Reason += fmt.Sprintf("; a %s applies to this data plane proxy, for which Kuma then makes no routes from TrafficRoutes", kind)
			}
		}
	}
}

// hasRules reports whether policies of the kind apply to the outbounds of a proxy.
func hasRules(proxy *core_xds.Proxy, kind core_model.ResourceType) bool {
	return len(proxy.Policies.Dynamic[kind].ToRules.Rules) > 0
}
