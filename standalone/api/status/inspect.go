package status

import (
	"bytes"
	"context"
	"encoding/json"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// Envoy is the configuration of one mirror, as Envoy takes it.
type Envoy struct {
	// RouteTable is the name of the route table, and Index the place of Route
	// in it, from 0.
	RouteTable string `json:"routeTable"`
	Index      int    `json:"index"`
	// Route is envoy.config.route.v3.Route, with the mirror policy.
	Route json.RawMessage `json:"route"`
	// Cluster is envoy.config.cluster.v3.Cluster.
	Cluster json.RawMessage `json:"cluster"`
	// Endpoints is envoy.config.endpoint.v3.ClusterLoadAssignment; absent
	// where Cluster holds them itself.
	Endpoints json.RawMessage `json:"endpoints,omitempty"`
	// RouteStats and ClusterStats are what the names of the stats that count
	// begin with.
	RouteStats   string `json:"routeStats"`
	ClusterStats string `json:"clusterStats"`
}

// Inspect returns the mirrors of one data plane, in the order of Mirrors, with
// Envoy set to what is made of them now. The error is generate.ErrNoDataplane
// where there is no such data plane.
func (s *Status) Inspect(ctx context.Context, meshName, dataplane string) ([]Mirror, error) {
	key := api.Key{Kind: api.KindDataplane, Mesh: meshName, Name: dataplane}
	rs, _, err := s.host.Generate(ctx, key)
	if err != nil {
		return nil, err
	}
	p := s.proxy(mesh.NodeID(key))
	if p == nil {
		return nil, generate.ErrNoDataplane
	}
	mirrors, specs := p.mirrors(s.now(), s.host)
	for i := range mirrors {
		if mirrors[i].Envoy, err = envoyOf(rs, &specs[i]); err != nil {
			return nil, err
		}
	}
	return mirrors, nil
}

// envoyOf finds what rs has for a row; nil where it has nothing.
func envoyOf(rs *xds.ResourceSet, spec *rowSpec) (*Envoy, error) {
	if !spec.mirrors() || !rs.IsMirror(spec.outcome.Cluster) {
		return nil, nil
	}
	var route proto.Message
	e := &Envoy{RouteStats: spec.route, ClusterStats: spec.cluster}
	for _, table := range rs.Routes() {
		for _, host := range table.GetVirtualHosts() {
			for i, r := range host.GetRoutes() {
				if generate.StatsOf(host, r) == spec.route {
					e.RouteTable, e.Index, route = table.GetName(), i, r
				}
			}
		}
	}
	if route == nil {
		return nil, nil
	}
	c := rs.Get((*cluster.Cluster)(nil), spec.outcome.Cluster).Resource
	var err error
	if e.Route, err = compactJSON(route); err != nil {
		return nil, err
	}
	if e.Cluster, err = compactJSON(c); err != nil {
		return nil, err
	}
	if r := rs.Get((*endpoint.ClusterLoadAssignment)(nil), spec.outcome.Cluster); r != nil {
		e.Endpoints, err = compactJSON(r.Resource)
	}
	return e, err
}

// compactJSON is protojson without the white space that it varies.
func compactJSON(m proto.Message) (json.RawMessage, error) {
	b, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = json.Compact(&out, b)
	return out.Bytes(), err
}
