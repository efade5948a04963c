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

// Memo remembers the HTTP options that Configure has made. Those of a proxy's
// mirror clusters are mostly the same, and to pack them is most of the work. The
// zero value is ready; it is not for several goroutines at once.
type Memo struct{ options map[memoKey]*anypb.Any }

// memoKey is all that the options depend on.
type memoKey struct {
	baseType, base, options string
}

// Configure turns the base cluster that a host built for a shadow into its
// mirror cluster: tagged, called as the user wants, and with every protection.
// What the base says of endpoints, TLS and protocol stays.
func (id Identity) Configure(c *cluster.Cluster, memo *Memo) error {
	id.tag(c)
	id.breakCircuits(c)
	id.ejectOutliers(c)
	id.boundConnecting(c)
	id.boundWarming(c)
	id.boundAnswers(c)

	base := c.GetTypedExtensionProtocolOptions()[httpOptionsName]
	key := memoKey{base.GetTypeUrl(), string(base.GetValue()), id.optionsKey()}
	options := memo.options[key]
	if options == nil {
		var err error
		if options, err = id.httpOptions(base); err != nil {
			return err
		}
		if memo.options == nil {
			memo.options = map[memoKey]*anypb.Any{}
		}
		memo.options[key] = options
	}
	if c.TypedExtensionProtocolOptions == nil {
		c.TypedExtensionProtocolOptions = map[string]*anypb.Any{}
	}
	// Each cluster has its own, which a host may change; the bytes are shared.
	c.TypedExtensionProtocolOptions[httpOptionsName] = &anypb.Any{TypeUrl: options.GetTypeUrl(), Value: options.GetValue()}
	return nil
}

// httpOptions adds the protections to those of the base cluster, which may be nil.
func (id Identity) httpOptions(base *anypb.Any) (*anypb.Any, error) {
	options := &upstream.HttpProtocolOptions{}
	if base != nil {
		if err := base.UnmarshalTo(options); err != nil {
			return nil, fmt.Errorf("HTTP options of the shadow's cluster: %w", err)
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
	id.boundDuration(options)
	id.boundWindows(options)
	if err := id.omitBodies(options); err != nil {
		return nil, err
	}
	if err := id.bufferBodies(options); err != nil {
		return nil, err
	}
	return xds.MarshalAny(options)
}
