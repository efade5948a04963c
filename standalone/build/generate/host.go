package generate

import (
	"context"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
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
		e := external[0]
		base.Authority = plugin.Authority(e.Host, e.Port, e.TLS != nil)
	}
	return base, nil
}
