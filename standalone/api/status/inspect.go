package status

import (
	"bytes"
	"context"
	"encoding/json"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
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

// Inspect returns some mirrors of one data plane, size from the one at start on,
// in the order of Mirrors, with Envoy set to what is made of them now; and how
// many there are. The error is generate.ErrNoDataplane where there is no such
// data plane, or that of ctx, with which the work ends.
func (s *Status) Inspect(ctx context.Context, meshName, dataplane string, start, size int) (page []Mirror, total int, err error) {
	key := api.Key{Kind: api.KindDataplane, Mesh: meshName, Name: dataplane}
	rs, _, err := s.host.Generate(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	p := s.proxy(mesh.NodeID(key))
	if p == nil {
		return nil, 0, generate.ErrNoDataplane
	}
	page, specs, total := p.mirrors(s.now(), s.host, start, size)
	routes := placesOf(rs)
	for i := range page {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		if page[i].Envoy, err = envoyOf(rs, routes, &specs[i]); err != nil {
			return nil, 0, err
		}
	}
	return page, total, nil
}

// place is where a route is.
type place struct {
	table string
	index int
	route *routev3.Route
}

// placesOf finds the routes with stats of their own, by what those begin with.
func placesOf(rs *xds.ResourceSet) map[string]place {
	places := map[string]place{}
	for _, table := range rs.Routes() {
		for _, host := range table.GetVirtualHosts() {
			for i, r := range host.GetRoutes() {
				if stats := generate.StatsOf(host, r); stats != "" {
					places[stats] = place{table: table.GetName(), index: i, route: r}
				}
			}
		}
	}
	return places
}

// envoyOf finds what rs has for a row; nil where it has nothing.
func envoyOf(rs *xds.ResourceSet, routes map[string]place, spec *rowSpec) (*Envoy, error) {
	if !spec.mirrors() || !rs.IsMirror(spec.outcome.Cluster) {
		return nil, nil
	}
	at, ok := routes[spec.route]
	if !ok {
		return nil, nil
	}
	e := &Envoy{RouteTable: at.table, Index: at.index, RouteStats: spec.route, ClusterStats: spec.cluster}
	c := rs.Get((*cluster.Cluster)(nil), spec.outcome.Cluster).Resource
	var err error
	if e.Route, err = compactJSON(at.route); err != nil {
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
