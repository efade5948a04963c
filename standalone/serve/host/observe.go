package host

import (
	"context"

	"google.golang.org/grpc"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// Observer is told what happens. Its methods have to be quick: what they hold up
// is the data planes. Updated, Generated and Removed come from one goroutine, in
// order, and must not call the Host's Status or Generate; Event comes from those
// of the streams. All may call Proxy.
type Observer interface {
	// Updated is called when other resources are in use, before the calls of
	// Generated and Removed that follow from it. They must not be changed.
	Updated(resources []*api.Resource)
	// Generated is called when a data plane has been generated, whether or
	// not it is served.
	Generated(Generated)
	// Removed is called when a data plane is gone.
	Removed(dataplane api.Key)
	// Event is called with what happens on a proxy's xDS stream.
	Event(ads.Event)
}

// Generated is what was made of one data plane.
type Generated struct {
	// Dataplane is the resource itself.
	Dataplane *api.Resource
	// Resources that are served, with the report on their mirrors; nil where
	// Err is not. They must not be changed.
	Resources *xds.ResourceSet
	Report    plugin.Report
	// Err is why they are not served; what was before still is.
	Err error
}

// Observe lets o be told what happens. It is to be called before Serve.
func (h *Host) Observe(o Observer) { h.observers = append(h.observers, o) }

// AddService lets register put a service beside xDS on the gRPC server. It is to
// be called before Serve.
func (h *Host) AddService(register func(grpc.ServiceRegistrar)) {
	h.services = append(h.services, register)
}

// Proxy returns what the xDS server knows of the data plane's Envoy.
func (h *Host) Proxy(dataplane api.Key) ads.ProxyStatus {
	s, _ := h.ads.Status(mesh.NodeID(dataplane))
	return s
}

// Proxies returns what the xDS server knows of every Envoy, those among them that
// no data plane is there for, ordered by node id.
func (h *Host) Proxies() []ads.ProxyStatus { return h.ads.Statuses() }

// Generate makes what the data plane is served from the resources in use; the
// result is the caller's. The error is generate.ErrNoDataplane where there is no
// such data plane.
func (h *Host) Generate(ctx context.Context, dataplane api.Key) (*xds.ResourceSet, plugin.Report, error) {
	h.mu.Lock()
	index := h.index
	h.mu.Unlock()
	return generate.Proxy(ctx, index, dataplane)
}
