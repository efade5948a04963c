package generate

import (
	"context"
	"net"
	"strconv"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/mesh"
)

// BaseCluster implements plugin.Host. A destination that nobody serves gives a
// cluster without endpoints: its mirror stays where it is while the shadow is
// away.
func (p *proxy) BaseCluster(_ context.Context, name string, tags api.Tags) (*plugin.BaseCluster, error) {
	c, endpoints, err := p.cluster(name, tags, nil)
	if err != nil {
		return nil, err
	}
	base := &plugin.BaseCluster{Cluster: c, Endpoints: endpoints}
	// The copies all get one host: that of the first ExternalService by name.
	if external := p.mesh.Service(tags.Service()).External(tags); len(external) > 0 {
		base.Authority = authority(external[0])
	}
	return base, nil
}

// authority is the host header of the ExternalService: without the port where
// it is the scheme's default.
func authority(e mesh.ExternalEndpoint) string {
	standard := uint32(80)
	if e.TLS != nil {
		standard = 443
	}
	if e.Port != standard {
		return net.JoinHostPort(e.Host, strconv.FormatUint(uint64(e.Port), 10))
	}
	if ip := net.ParseIP(e.Host); ip != nil && ip.To4() == nil {
		return "[" + e.Host + "]"
	}
	return e.Host
}
