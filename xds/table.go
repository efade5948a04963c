package xds

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// ErrNotHTTP is the error of a listener that forwards connections and not
// requests: there is nothing that could be mirrored.
var ErrNotHTTP = errors.New("the outbound is not HTTP: Envoy can copy requests, not connections; " +
	"tag the service's inbounds with kuma.io/protocol http, http2 or grpc")

// Entry is what one route of a table has to be.
type Entry struct {
	Match *route.RouteMatch
	// Clusters that the requests go to, in order, with their weights; one
	// makes the route's weight meaningless.
	Clusters []WeightedCluster
}

// WeightedCluster is a cluster and its share, as in a TrafficRoute's split.
type WeightedCluster struct {
	Name   string
	Weight uint32
}

// Tables are the route tables behind one listener, found and compared with what
// the TrafficRoute says they are.
type Tables struct {
	rs     *ResourceSet
	tables []*table
}

// table is one RouteConfiguration, which others may share, and how to replace it.
type table struct {
	config *route.RouteConfiguration
	// pack prepares another one; store puts it in place.
	pack func(*route.RouteConfiguration) (store func(), err error)
}

// FindTables returns the route tables of the listener, be they inline in its
// HTTP connection managers or resources of their own. Each must be one virtual
// host whose routes are exactly the entries, in order: if any is not, the error
// says where, and nothing should be injected, since a wrong route is worse than
// no mirror. ErrNotHTTP is returned where the listener has no HTTP connection
// manager.
func FindTables(rs *ResourceSet, name string, entries []Entry) (*Tables, error) {
	r := rs.Get((*listener.Listener)(nil), name)
	if r == nil {
		return nil, fmt.Errorf("there is no listener %q among the proxy's resources", name)
	}
	found := &Tables{rs: rs}
	for _, filter := range httpFilters(r.Resource.(*listener.Listener)) {
		t, err := tableOf(rs, filter)
		if err != nil {
			return nil, fmt.Errorf("listener %q: %w", name, err)
		}
		if err := compareTable(t.config, entries); err != nil {
			return nil, fmt.Errorf("listener %q: route table %q: %w", name, t.config.GetName(), err)
		}
		found.tables = append(found.tables, t)
	}
	if len(found.tables) == 0 {
		return nil, ErrNotHTTP
	}
	return found, nil
}

// Inject gives route i of every table the mirror policies of entry i, in place
// of those it had from an earlier Inject; policies of others are kept. Before
// each route with policies there is then one more, for requests that are copies
// themselves. Nothing else of the table changes, and where there is an error no
// table does.
func (t *Tables) Inject(policies [][]*route.RouteAction_RequestMirrorPolicy) error {
	var stores []func()
	for _, table := range t.tables {
		config := proto.Clone(table.config).(*route.RouteConfiguration)
		host := config.GetVirtualHosts()[0]
		host.Routes = t.mirrored(withoutTwins(host.GetRoutes()), policies)
		if proto.Equal(config, table.config) {
			continue
		}
		store, err := table.pack(config)
		if err != nil {
			return err
		}
		stores = append(stores, store)
	}
	for _, store := range stores {
		store()
	}
	return nil
}

// mirrored gives routes, which it changes, their policies and twins.
func (t *Tables) mirrored(routes []*route.Route, policies [][]*route.RouteAction_RequestMirrorPolicy) []*route.Route {
	var out []*route.Route
	for i, r := range routes {
		others := slices.DeleteFunc(r.GetRoute().GetRequestMirrorPolicies(), func(p *route.RouteAction_RequestMirrorPolicy) bool {
			return t.rs.IsMirror(p.GetCluster())
		})
		if len(policies[i]) > 0 {
			out = append(out, twinOf(r, others))
		}
		if all := append(slices.Clip(others), policies[i]...); r.GetRoute() != nil {
			r.GetRoute().RequestMirrorPolicies = all
		}
		out = append(out, r)
	}
	return out
}

func httpFilters(l *listener.Listener) []*listener.Filter {
	chains := l.GetFilterChains()
	if l.GetDefaultFilterChain() != nil {
		chains = append(slices.Clone(chains), l.GetDefaultFilterChain())
	}
	var out []*listener.Filter
	for _, chain := range chains {
		for _, filter := range chain.GetFilters() {
			if filter.GetTypedConfig().MessageIs((*hcm.HttpConnectionManager)(nil)) {
				out = append(out, filter)
			}
		}
	}
	return out
}

func tableOf(rs *ResourceSet, filter *listener.Filter) (*table, error) {
	manager := &hcm.HttpConnectionManager{}
	if err := filter.GetTypedConfig().UnmarshalTo(manager); err != nil {
		return nil, err
	}
	switch spec := manager.GetRouteSpecifier().(type) {
	case *hcm.HttpConnectionManager_RouteConfig:
		return &table{config: spec.RouteConfig, pack: func(config *route.RouteConfiguration) (func(), error) {
			spec.RouteConfig = config // of a manager that nobody else has
			value, err := MarshalAny(manager)
			if err != nil {
				return nil, err
			}
			return func() { filter.ConfigType = &listener.Filter_TypedConfig{TypedConfig: value} }, nil
		}}, nil
	case *hcm.HttpConnectionManager_Rds:
		r := rs.Get((*route.RouteConfiguration)(nil), spec.Rds.GetRouteConfigName())
		if r == nil {
			return nil, fmt.Errorf("there is no route table %q among the proxy's resources", spec.Rds.GetRouteConfigName())
		}
		return &table{config: r.Resource.(*route.RouteConfiguration), pack: func(config *route.RouteConfiguration) (func(), error) {
			return func() { r.Resource = config }, nil
		}}, nil
	default:
		return nil, fmt.Errorf("its routes are given as %T, which is neither inline nor RDS", spec)
	}
}

func compareTable(config *route.RouteConfiguration, entries []Entry) error {
	hosts := config.GetVirtualHosts()
	if len(hosts) != 1 {
		return fmt.Errorf("it has %d virtual hosts where the TrafficRoute makes one", len(hosts))
	}
	routes := withoutTwins(hosts[0].GetRoutes())
	if len(routes) != len(entries) {
		return fmt.Errorf("it has %d routes where the TrafficRoute makes %d", len(routes), len(entries))
	}
	for i, entry := range entries {
		if !proto.Equal(routes[i].GetMatch(), entry.Match) {
			return fmt.Errorf("route %d of %d matches %s where the TrafficRoute says %s",
				i+1, len(routes), compact(routes[i].GetMatch()), compact(entry.Match))
		}
		have, err := clustersOf(routes[i])
		if err != nil {
			return fmt.Errorf("route %d of %d: %w", i+1, len(routes), err)
		}
		if want := describe(entry.Clusters); have != want {
			return fmt.Errorf("route %d of %d goes to %s where the TrafficRoute says %s", i+1, len(routes), have, want)
		}
	}
	return nil
}

// clustersOf gives the destinations of a route in the words of describe.
func clustersOf(r *route.Route) (string, error) {
	switch spec := r.GetRoute().GetClusterSpecifier().(type) {
	case *route.RouteAction_Cluster:
		return describe([]WeightedCluster{{Name: spec.Cluster}}), nil
	case *route.RouteAction_WeightedClusters:
		clusters := make([]WeightedCluster, len(spec.WeightedClusters.GetClusters()))
		for i, c := range spec.WeightedClusters.GetClusters() {
			clusters[i] = WeightedCluster{Name: c.GetName(), Weight: c.GetWeight().GetValue()}
		}
		return describe(clusters), nil
	default:
		return "", fmt.Errorf("it goes to no cluster (%T)", r.GetAction())
	}
}

func describe(clusters []WeightedCluster) string {
	if len(clusters) == 1 {
		return clusters[0].Name
	}
	parts := make([]string, len(clusters))
	for i, c := range clusters {
		parts[i] = fmt.Sprintf("%s (weight %d)", c.Name, c.Weight)
	}
	return strings.Join(parts, " and ")
}

func compact(m proto.Message) string {
	b, err := protojson.Marshal(m)
	if err != nil {
		return fmt.Sprint(m)
	}
	var out bytes.Buffer
	// protojson varies its white space on purpose; messages should not.
	if err := json.Compact(&out, b); err != nil {
		return string(b)
	}
	return out.String()
}
