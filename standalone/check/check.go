// Package check says what is wrong with resources, and what their authors should
// know though nothing is wrong.
package check

import (
	"context"
	"fmt"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/mesh"
)

// Resources returns the errors of mesh.Validate and, where there are none, the
// warnings: those of the plugin, and what comes to light when every proxy is
// generated. Each is there once, ordered by source, object and path. Where ctx
// ends before it is done, there is nothing to tell.
func Resources(ctx context.Context, resources []*api.Resource) (errors, warnings api.Violations) {
	if errors = mesh.Validate(resources); len(errors) > 0 {
		return errors, nil
	}
	c := &check{
		index:     mesh.New(resources),
		resources: map[api.Key]*api.Resource{},
		governs:   map[api.Key]bool{},
		inbounds:  map[serviceKey]api.Key{},
		seen:      map[api.Violation]bool{},
	}
	for _, r := range resources {
		c.resources[r.Key()] = r
	}
	for _, dataplane := range c.index.Dataplanes() {
		if ctx.Err() != nil {
			return nil, nil
		}
		c.proxy(ctx, c.resources[dataplane])
	}
	for _, r := range resources {
		c.resource(r)
	}
	return c.errors.Sorted(), c.warnings.Sorted()
}

// check gathers what there is to say about resources that are valid.
type check struct {
	index     *mesh.Index
	resources map[api.Key]*api.Resource
	// governs has the TrafficRoutes that govern any outbound.
	governs map[api.Key]bool
	// inbounds has a data plane with an inbound of each service.
	inbounds         map[serviceKey]api.Key
	errors, warnings api.Violations
	seen             map[api.Violation]bool
}

type serviceKey struct{ mesh, service string }

func (c *check) warn(r *api.Resource, path api.Path, format string, args ...any) {
	if r.Form == api.Kubernetes {
		path = "spec." + path
	}
	c.add(api.Violation{Source: r.Source, Object: r.Key().String(), Path: string(path), Message: fmt.Sprintf(format, args...)})
}

// add keeps each warning once: several proxies often have the same.
func (c *check) add(v api.Violation) {
	if !c.seen[v] {
		c.seen[v] = true
		c.warnings = append(c.warnings, v)
	}
}

// resource warns of what one resource shows by itself, once all proxies are done.
func (c *check) resource(r *api.Resource) {
	switch spec := r.Spec.(type) {
	case *api.TrafficRoute:
		for _, v := range plugin.Warnings(r) {
			c.add(v)
		}
		if !c.governs[r.Key()] {
			c.add(api.Violation{Source: r.Source, Object: r.Key().String(), Message: "governs no outbound of any data plane: " +
				"its sources and destinations match none, or more specific TrafficRoutes come first"})
		}
	case *api.ExternalService:
		service := api.Tags(spec.GetTags()).Service()
		if dataplane, ok := c.inbounds[serviceKey{r.Meta.Mesh, service}]; ok {
			c.warn(r, api.Path("tags").Key(api.ServiceTag),
				"%s has an inbound of the same service; it gets no traffic while there is an ExternalService", dataplane)
		}
	}
}

// proxy generates a data plane's proxy and warns of what becomes of it.
func (c *check) proxy(ctx context.Context, dataplane *api.Resource) {
	_, report, err := generate.Proxy(ctx, c.index, dataplane.Key())
	if err != nil {
		c.errors = append(c.errors, api.Violation{
			Source: dataplane.Source, Object: dataplane.Key().String(), Message: err.Error(),
		})
		return
	}
	m := c.index.Mesh(dataplane.Meta.Mesh)
	networking := dataplane.Spec.(*api.Dataplane).GetNetworking()
	for _, inbound := range networking.GetInbound() {
		c.inbounds[serviceKey{dataplane.Meta.Mesh, api.Tags(inbound.GetTags()).Service()}] = dataplane.Key()
	}
	routes := plugin.NewRouteSelector(mesh.SourceTags(networking), m.Routes())
	services := map[string]string{} // by the name of the listener
	for i, o := range networking.GetOutbound() {
		path := api.Path("networking").Field("outbound").Index(i)
		tags := api.Tags(o.GetTags())
		services[generate.OutboundListener(o)] = tags.Service()
		if route := routes.For(tags.Service()); route != nil {
			c.governs[route.Key()] = true
			c.destinations(m, route, tags)
			continue
		}
		c.served(m, dataplane, path.Field("tags"), tags)
		if len(m.Routes()) > 0 {
			c.warn(dataplane, path, "no TrafficRoute governs it: it goes to its service, and nothing of it is mirrored; "+
				"a kuma-cp would close its connections, since the mesh has other TrafficRoutes")
		}
	}
	for _, o := range report.Problems() {
		c.warn(c.resources[o.Policy], o.Path, "copies nothing on the outbound to %q: %s", services[o.Listener], o.Reason)
	}
}

// destinations warns of primaries and shadows of a TrafficRoute that nobody
// serves, as they are for an outbound with the given tags.
func (c *check) destinations(m *mesh.Mesh, route *api.Resource, outbound api.Tags) {
	conf := route.Spec.(*api.TrafficRoute).GetConf()
	at := api.Path("conf")
	primaries := func(at api.Path, split []*api.TrafficRoute_Split, destination map[string]string) {
		if len(destination) > 0 {
			c.served(m, route, at.Field("destination"), api.Tags(destination).Resolve(outbound))
		}
		for i, s := range split {
			if s.GetWeight().GetValue() > 0 {
				c.served(m, route, at.Field("split").Index(i).Field("destination"), api.Tags(s.GetDestination()).Resolve(outbound))
			}
		}
	}
	shadow := func(at api.Path, mirror *api.TrafficRoute_Mirror) {
		if p := mirror.GetPercentage(); mirror != nil && (p == nil || p.GetValue() > 0) {
			c.served(m, route, at.Field("destination"), api.Tags(mirror.GetDestination()).Resolve(outbound))
		}
	}
	shadows := func(at api.Path, one *api.TrafficRoute_Mirror, several []*api.TrafficRoute_Mirror) {
		shadow(at.Field("mirror"), one)
		for i, mirror := range several {
			shadow(at.Field("mirrors").Index(i), mirror)
		}
	}
	for i, http := range conf.GetHttp() {
		at := at.Field("http").Index(i)
		primaries(at, http.GetSplit(), http.GetDestination())
		shadows(at, http.GetMirror(), http.GetMirrors())
	}
	primaries(at, conf.GetSplit(), conf.GetDestination())
	shadows(at, conf.GetMirror(), conf.GetMirrors())
}

// served warns where no instance has the tags.
func (c *check) served(m *mesh.Mesh, r *api.Resource, path api.Path, tags api.Tags) {
	service := m.Service(tags.Service())
	switch {
	case service == nil:
		c.warn(r, path, "no data plane and no ExternalService serves %q", tags.Service())
	case len(service.Endpoints(tags)) == 0 && len(service.External(tags)) == 0:
		c.warn(r, path, "no ready instance has the tags %s", tags)
	}
}
