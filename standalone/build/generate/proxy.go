// Package generate makes Envoy's resources of one proxy from the resources of
// its mesh, with the names and in the order of Kuma's, and lets the mirror
// policy have the last word.
//
// What differs from Kuma follows from one thing: here Envoy speaks to the
// applications themselves, not to a sidecar in front of them. The comparison
// with what Kuma 2.14 serves, in the tests of this package, lists every
// difference with its reason. Beyond what is compared there:
//
//   - An outbound that no TrafficRoute governs goes to the service it names. In
//     Kuma that holds only while the mesh has no TrafficRoute at all; the first
//     one closes every outbound it does not match, and the last one that goes
//     opens them again.
//   - An inbound whose application listens on the inbound's own address and port
//     makes no listener; Kuma relies on transparent proxying there.
//   - A service that nobody serves does not count when the protocol of an
//     outbound is worked out. In Kuma it makes the outbound a TCP one, so that
//     the last instance of a split's target would take the routes with it.
//   - A TCP outbound uses the default destination alone; Kuma adds those of the
//     HTTP entries to it.
//   - The destinations of an ExternalService are those with the tags asked for;
//     Kuma takes all of the service. Names and IP addresses may be mixed.
package generate

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// Origins of the generated resources, as Kuma calls them.
const (
	OriginInbound  = "inbound"
	OriginOutbound = "outbound"
)

// ErrNoDataplane is the error of a data plane that the index does not hold.
var ErrNoDataplane = errors.New("there is no such data plane")

// Proxy generates the resources of the data plane and applies the mirrors of
// its TrafficRoutes. It is pure: equal resources give equal bytes. The result is
// the caller's to change. The report says what became of each mirror; a mirror
// that cannot be never fails the proxy.
func Proxy(ctx context.Context, index *mesh.Index, dataplane api.Key) (*xds.ResourceSet, plugin.Report, error) {
	m := index.Mesh(dataplane.Mesh)
	resource := m.Dataplane(dataplane.Name)
	if resource == nil {
		return nil, nil, fmt.Errorf("%s: %w", dataplane, ErrNoDataplane)
	}
	p := &proxy{
		mesh:       m,
		networking: resource.Spec.(*api.Dataplane).GetNetworking(),
		resources:  &xds.ResourceSet{},
	}
	p.routes = plugin.NewRouteSelector(mesh.SourceTags(p.networking), m.Routes())
	if err := p.inbounds(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", dataplane, err)
	}
	outbounds, err := p.outbounds()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", dataplane, err)
	}
	report := plugin.Apply(ctx, p.resources, plugin.Proxy{Key: dataplane, Outbounds: outbounds}, p)
	return p.resources, report, nil
}

// proxy is one data plane while its resources are generated. It is the
// plugin.Host of that data plane.
type proxy struct {
	mesh       *mesh.Mesh
	networking *api.Dataplane_Networking
	routes     *plugin.RouteSelector
	resources  *xds.ResourceSet
}

func (p *proxy) add(origin, name string, m proto.Message) {
	p.resources.Add(&xds.Resource{Name: name, Origin: origin, Resource: m})
}

// has reports whether there is a resource of the type of like already.
func (p *proxy) has(like proto.Message, name string) bool {
	return p.resources.Get(like, name) != nil
}
