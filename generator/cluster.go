package generator

import (
	"fmt"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/kuma-mirror/kuma-mirror/xds"
)

const httpOptionsName = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

// Configure turns the base cluster that a host built for a shadow into its
// mirror cluster: tagged, called as the user wants, and with every protection.
// What the base says of endpoints, TLS and protocol stays.
func (id Identity) Configure(c *cluster.Cluster) error {
	options := &upstream.HttpProtocolOptions{}
	if existing := c.GetTypedExtensionProtocolOptions()[httpOptionsName]; existing != nil {
		if err := existing.UnmarshalTo(options); err != nil {
			return fmt.Errorf("HTTP options of the shadow's cluster: %w", err)
		}
	}
	if options.GetUpstreamProtocolOptions() == nil {
		// A shadow without a known protocol gets HTTP/1.1: the copies are
		// requests, whatever its tag says.
		options.UpstreamProtocolOptions = &upstream.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &upstream.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &upstream.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
					HttpProtocolOptions: &core.Http1ProtocolOptions{},
				},
			},
		}
	}

	id.tag(c)
	id.breakCircuits(c)
	id.ejectOutliers(c)
	id.boundConnecting(c)
	id.boundDuration(options)
	id.boundAnswers(c, options)
	if err := id.bufferBodies(options); err != nil {
		return err
	}

	value, err := xds.MarshalAny(options)
	if err != nil {
		return err
	}
	if c.TypedExtensionProtocolOptions == nil {
		c.TypedExtensionProtocolOptions = map[string]*anypb.Any{}
	}
	c.TypedExtensionProtocolOptions[httpOptionsName] = value
	return nil
}
