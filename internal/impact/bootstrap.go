package impact

import (
	"context"
	"fmt"
	"strconv"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/generator"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/static"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// Setup is what an Envoy of the lab stands between. All is on 127.0.0.1.
type Setup struct {
	// HTTP, GRPC and Direct are the ports of Envoy's listeners for the two
	// primaries and for the shadow itself, which nobody calls; Admin is that
	// of its admin API.
	HTTP, GRPC, Direct, Admin uint32
	// PrimaryHTTP, PrimaryGRPC and Shadow are the ports behind it.
	PrimaryHTTP, PrimaryGRPC, Shadow uint32
	// Protocol of the shadow.
	Protocol Protocol
	// Protections off sends the copies to the shadow's ordinary cluster.
	Protections bool
	Limits      generator.Limits
}

// RouteHeader with the value Plain sends a request past the mirror; without it,
// every request is mirrored.
const (
	RouteHeader = "x-impact-route"
	Plain       = "plain"
)

// The mirror's name, and so the beginning of its stats in either variant.
const (
	shadowService = "shadow"
	shadowStats   = "cluster." + shadowService + "."
)

// Bootstrap is the configuration of the lab's Envoy, made from the resources
// that a user would write.
func Bootstrap(ctx context.Context, s Setup) (*bootstrapv3.Bootstrap, error) {
	resources, err := api.Parse("lab", []byte(s.resources()))
	if err != nil {
		return nil, err
	}
	index := mesh.New(resources)
	key := api.Key{Kind: api.KindDataplane, Mesh: api.DefaultMesh, Name: "client"}
	rs, report, err := generate.Proxy(ctx, index, key)
	if err != nil {
		return nil, err
	}
	for _, outcome := range report {
		if outcome.State != plugin.Injected {
			return nil, fmt.Errorf("the lab's mirror is %s: %s", outcome.State, outcome.Reason)
		}
	}
	if !s.Protections {
		mirrorPlainly(rs)
	}
	return static.Bootstrap(rs, index.Mesh(key.Mesh).Dataplane(key.Name))
}

// mirrorPlainly gives every mirror the shadow's ordinary cluster, the one that
// primary traffic to it would use, with the limits that Envoy has by itself.
func mirrorPlainly(rs *xds.ResourceSet) {
	for _, c := range rs.Clusters() {
		if c.GetName() == shadowService {
			c.CircuitBreakers = nil
		}
	}
	for _, table := range rs.Routes() {
		for _, host := range table.GetVirtualHosts() {
			for _, route := range host.GetRoutes() {
				for _, policy := range route.GetRoute().GetRequestMirrorPolicies() {
					policy.Cluster = shadowService
				}
			}
		}
	}
}

func (s Setup) resources() string {
	shadowProtocol := api.ProtocolHTTP
	if s.Protocol == HTTP2 {
		shadowProtocol = api.ProtocolHTTP2
	}
	// The outbound of the shadow itself is only for its ordinary cluster.
	return fmt.Sprintf(`
type: Dataplane
name: client
networking:
  address: 127.0.0.1
  gateway: {tags: {kuma.io/service: client}}
  admin: {port: %[1]d}
  outbound:
  - {port: %[2]d, tags: {kuma.io/service: primary}}
  - {port: %[3]d, tags: {kuma.io/service: primary-grpc}}
  - {port: %[13]d, tags: {kuma.io/service: shadow}}
---
type: Dataplane
name: primary
networking:
  address: 127.0.0.1
  inbound:
  - {port: %[5]d, tags: {kuma.io/service: primary, kuma.io/protocol: http}}
  - {port: %[6]d, tags: {kuma.io/service: primary-grpc, kuma.io/protocol: grpc}}
---
type: Dataplane
name: shadow
networking:
  address: 127.0.0.1
  inbound:
  - {port: %[4]d, tags: {kuma.io/service: shadow, kuma.io/protocol: %[7]s}}
---
type: TrafficRoute
name: primary
sources: [{match: {kuma.io/service: client}}]
destinations: [{match: {kuma.io/service: primary}}]
conf:
  http:
  - match: {headers: {%[8]s: {exact: %[9]s}}}
    destination: {kuma.io/service: primary}
  destination: {kuma.io/service: primary}
  mirror:
    destination: {kuma.io/service: shadow}
    name: shadow
    limits: {maxConcurrentRequests: %[10]d, maxRequestBodyBytes: %[11]d, maxDuration: %[12]s}
---
type: TrafficRoute
name: primary-grpc
sources: [{match: {kuma.io/service: client}}]
destinations: [{match: {kuma.io/service: primary-grpc}}]
conf:
  http:
  - match: {headers: {%[8]s: {exact: %[9]s}}}
    destination: {kuma.io/service: primary-grpc}
  destination: {kuma.io/service: primary-grpc}
  mirror:
    destination: {kuma.io/service: shadow}
    name: shadow
    limits: {maxConcurrentRequests: %[10]d, maxRequestBodyBytes: %[11]d, maxDuration: %[12]s}
---
type: TrafficRoute
name: shadow
sources: [{match: {kuma.io/service: client}}]
destinations: [{match: {kuma.io/service: shadow}}]
conf:
  destination: {kuma.io/service: shadow}
`, s.Admin, s.HTTP, s.GRPC, s.Shadow, s.PrimaryHTTP, s.PrimaryGRPC, shadowProtocol,
		RouteHeader, Plain, s.Limits.MaxConcurrentRequests, s.Limits.MaxRequestBodyBytes, duration(s.Limits.MaxDuration), s.Direct)
}

// duration is d as a policy writes it.
func duration(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}
