// Package check says what is wrong with resources, and what their authors should
// know though nothing is wrong.
package check

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// Resources returns the errors of mesh.Validate and, where there are none, those
// of mesh.Loops and the warnings: those of the plugin, and what comes to light
// when every proxy is generated. Each is there once, ordered by source, object and path. Where ctx
// ends before it is done, there is nothing to tell.
//
// read gives the content of the files that ExternalServices name: ReadFile, or
// nil where nothing may be read, such as for callers from elsewhere.
func Resources(ctx context.Context, resources []*api.Resource, read func(name string) ([]byte, error)) (errors, warnings api.Violations) {
	if errors = mesh.Validate(resources); len(errors) > 0 {
		return errors, nil
	}
	c := &check{
		errors:    mesh.Loops(resources),
		index:     mesh.New(resources),
		read:      read,
		resources: map[api.Key]*api.Resource{},
		populated: map[string]bool{},
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
		c.populated[dataplane.Mesh] = true
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
	read      func(name string) ([]byte, error)
	resources map[api.Key]*api.Resource
	// populated has the meshes with any data plane.
	populated map[string]bool
	// governs has the TrafficRoutes that govern any outbound.
	governs map[api.Key]bool
	// inbounds has a data plane with an inbound of each service.
	inbounds         map[serviceKey]api.Key
	errors, warnings api.Violations
	seen             map[api.Violation]bool
}

type serviceKey struct{ mesh, service string }

func (c *check) warn(r *api.Resource, path api.Path, format string, args ...any) {
	c.add(r.Violation(r.SpecPath().Field(string(path)), format, args...))
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
		c.buffers(r, spec)
		for _, v := range plugin.Warnings(r) {
			c.add(v)
		}
		// Without data planes, as in what kubectl gives of one kind, nothing
		// can be governed.
		if c.populated[r.Meta.Mesh] && !c.governs[r.Key()] {
			c.add(api.Violation{Source: r.Source, Object: r.Key().String(), Message: "governs no outbound of any data plane: " +
				"its sources and destinations match none, or more specific TrafficRoutes come first"})
		}
	case *api.ExternalService:
		service := api.Tags(spec.GetTags()).Service()
		if dataplane, ok := c.inbounds[serviceKey{r.Meta.Mesh, service}]; ok {
			c.warn(r, api.Path("tags").Key(api.ServiceTag),
				"%s has an inbound of the same service; it gets no traffic while there is an ExternalService", dataplane)
		}
		c.credentials(r, spec)
	}
}

// proxy generates a data plane's proxy and warns of what becomes of it.
func (c *check) proxy(ctx context.Context, dataplane *api.Resource) {
	rs, report, err := generate.Proxy(ctx, c.index, dataplane.Key())
	if err != nil {
		c.errors = append(c.errors, dataplane.Violation("", "%s", err))
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
			for at, e := range route.Spec.(*api.TrafficRoute).Entries() {
				c.entry(m, route, at, e, tags)
			}
			continue
		}
		c.served(m, dataplane, path.Field("tags"), tags, tags)
		if len(m.Routes()) > 0 {
			c.warn(dataplane, path, "no TrafficRoute governs it: it goes to its service, and nothing of it is mirrored; "+
				"a kuma-cp would close its connections, since the mesh has other TrafficRoutes")
		}
	}
	for _, o := range report.Problems() {
		c.warn(c.resources[o.Policy], o.Path, "copies nothing on the outbound to %q: %s", services[o.Listener], o.Reason)
	}
	c.load(dataplane, rs)
	c.repeated(report, services)
	c.stats(rs, report)
}

// entry warns of destinations that nobody serves, and of a shadow that is the
// only primary.
func (c *check) entry(m *mesh.Mesh, route *api.Resource, at api.Path, e api.Entry, outbound api.Tags) {
	var primaries []api.Tags
	primary := func(at api.Path, destination api.Tags) {
		primaries = append(primaries, destination)
		c.served(m, route, at, destination, outbound)
	}
	if len(e.GetDestination()) > 0 {
		primary(at.Field("destination"), e.GetDestination())
	}
	for i, s := range e.GetSplit() {
		if s.GetWeight().GetValue() > 0 {
			primary(at.Field("split").Index(i).Field("destination"), s.GetDestination())
		}
	}
	for at, mirror := range api.MirrorsOf(at, e) {
		if xds.Percentage(mirror) == 0 {
			continue
		}
		if service := m.Service(outbound.Service()); mirror.GetBody() != "" && service != nil && service.Protocol() == api.ProtocolGRPC {
			c.warn(route, at.Field("body"), "leaves out the messages of gRPC calls on the outbound to %q, which a gRPC server answers with an error", outbound.Service())
		}
		at = at.Field("destination")
		destination := api.Tags(mirror.GetDestination())
		c.served(m, route, at, destination, outbound)
		c.speaks(m, route, at, mirror, outbound)
		differs := func(p api.Tags) bool { return !maps.Equal(p.Resolve(outbound), destination.Resolve(outbound)) }
		looksOther := func(p api.Tags) bool { return !maps.Equal(p, destination) }
		// Where all are written alike, plugin.Warnings has it already.
		if !slices.ContainsFunc(primaries, differs) && slices.ContainsFunc(primaries, looksOther) {
			c.warn(route, at, "is the primary's on the outbound to %q: it gets each of these requests twice", outbound.Service())
		}
	}
}

// served warns where no instance has the tags of the destination, as it is for
// an outbound with the given tags.
func (c *check) served(m *mesh.Mesh, r *api.Resource, path api.Path, destination, outbound api.Tags) {
	tags := destination.Resolve(outbound)
	service := m.Service(tags.Service())
	switch {
	case service == nil:
		c.warn(r, path, "no data plane and no ExternalService serves %q", tags.Service())
	case len(service.Endpoints(tags)) == 0 && len(service.External(tags)) == 0:
		c.warn(r, path, "no ready instance has the tags %s%s", tags, added(destination, tags))
	}
}

// added says which tags an outbound gave to a destination; it may be nothing.
func added(destination, resolved api.Tags) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(resolved)) {
		if destination[name] != resolved[name] {
			names = append(names, name)
		}
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf(" (%s comes from the outbound's tags)", names[0])
	default:
		return fmt.Sprintf(" (%s come from the outbound's tags)", strings.Join(names, ", "))
	}
}
