package generator

import (
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// boundDuration resets a copy whose shadow takes too long: nobody waits for the
// answer, but each open stream holds memory and a place among the concurrent
// ones.
func (id Identity) boundDuration(options *upstream.HttpProtocolOptions) {
	if options.CommonHttpProtocolOptions == nil {
		options.CommonHttpProtocolOptions = &core.HttpProtocolOptions{}
	}
	options.CommonHttpProtocolOptions.MaxStreamDuration = durationpb.New(id.Limits.MaxDuration)
}
