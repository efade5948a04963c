// Package static writes the resources of a proxy as a configuration that Envoy
// runs by itself, without a host.
package static

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"unicode/utf8"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/bootstrap"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// Bootstrap returns the Envoy configuration that holds all of rs: route tables
// inside their listeners, endpoints inside their clusters. dataplane is the
// Dataplane that rs was generated for; it gives the node and the admin port.
// Neither is changed.
func Bootstrap(rs *xds.ResourceSet, dataplane *api.Resource) (*bootstrapv3.Bootstrap, error) {
	networking := dataplane.Spec.(*api.Dataplane).GetNetworking()
	b, err := bootstrap.New(bootstrap.Node{
		ID:        mesh.NodeID(dataplane.Key()),
		Cluster:   mesh.NodeCluster(networking),
		AdminPort: networking.GetAdmin().GetPort(),
	})
	if err != nil {
		return nil, err
	}
	b.StaticResources = &bootstrapv3.Bootstrap_StaticResources{}
	for _, l := range rs.Listeners() {
		inline, err := withRoutes(rs, l)
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.GetName(), err)
		}
		b.StaticResources.Listeners = append(b.StaticResources.Listeners, inline)
	}
	for _, c := range rs.Clusters() {
		b.StaticResources.Clusters = append(b.StaticResources.Clusters, withEndpoints(rs, c))
	}
	return b, nil
}

// withRoutes is the listener with its route tables inline.
func withRoutes(rs *xds.ResourceSet, l *listenerv3.Listener) (*listenerv3.Listener, error) {
	l = proto.Clone(l).(*listenerv3.Listener)
	for _, chain := range l.GetFilterChains() {
		for _, filter := range chain.GetFilters() {
			manager := &hcmv3.HttpConnectionManager{}
			if !filter.GetTypedConfig().MessageIs(manager) {
				continue
			}
			if err := filter.GetTypedConfig().UnmarshalTo(manager); err != nil {
				return nil, err
			}
			if manager.GetRds() == nil {
				continue
			}
			name := manager.GetRds().GetRouteConfigName()
			r := rs.Get((*routev3.RouteConfiguration)(nil), name)
			if r == nil {
				return nil, fmt.Errorf("there is no route table %q", name)
			}
			table := proto.Clone(r.Resource).(*routev3.RouteConfiguration)
			// All clusters are here, so Envoy can check that they are.
			table.ValidateClusters = nil
			manager.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: table}
			if err := filter.GetTypedConfig().MarshalFrom(manager); err != nil {
				return nil, err
			}
		}
	}
	return l, nil
}

// withEndpoints is the cluster with what it would get over EDS.
func withEndpoints(rs *xds.ResourceSet, c *clusterv3.Cluster) *clusterv3.Cluster {
	if c.GetType() != clusterv3.Cluster_EDS {
		return c
	}
	c = proto.Clone(c).(*clusterv3.Cluster)
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	c.EdsClusterConfig = nil
	c.LoadAssignment = &endpointv3.ClusterLoadAssignment{ClusterName: c.GetName()}
	if r := rs.Get(c.LoadAssignment, c.GetName()); r != nil {
		c.LoadAssignment = r.Resource.(*endpointv3.ClusterLoadAssignment)
	}
	return c
}

// JSON returns a configuration, or a part of one, as indented JSON that
// `envoy -c` reads, the fields in Envoy's order.
func JSON(m proto.Message) ([]byte, error) {
	compact, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, compact, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// YAML returns a configuration, or a part of one, as YAML that `envoy -c` reads,
// the fields in Envoy's order.
func YAML(m proto.Message) ([]byte, error) {
	compact, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	// JSON is YAML, but for some characters in its texts, unless they are
	// escaped; going through its nodes keeps the order of the fields.
	compact = notYAML.ReplaceAllFunc(compact, func(c []byte) []byte {
		r, _ := utf8.DecodeRune(c)
		return fmt.Appendf(nil, `\u%04x`, r)
	})
	var document yaml.Node
	if err := yaml.Unmarshal(compact, &document); err != nil {
		return nil, err
	}
	asBlocks(&document)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// notYAML finds what YAML refuses, or takes for the end of a line.
var notYAML = regexp.MustCompile(`[\x{7f}-\x{9f}\x{2028}\x{2029}\x{feff}\x{fffe}\x{ffff}]`)

// quoted finds the texts that the writer leaves without quotes though readers
// would take them for something else: Envoy's has more words for booleans, and
// some characters end lines or are lost outside of quotes.
var quoted = regexp.MustCompile(`^(?i:y|n|yes|no|on|off)$|[^\n\x20-\x7e]`)

// asBlocks takes the braces and quotes away where YAML does without.
func asBlocks(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && quoted.MatchString(n.Value) {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, child := range n.Content {
		asBlocks(child)
	}
}
