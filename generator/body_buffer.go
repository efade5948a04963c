package generator

import (
	"slices"

	buffer "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/buffer/v3"
	codec "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/kuma-mirror/kuma-mirror/xds"
)

const (
	bufferName = "envoy.filters.http.buffer"
	codecName  = "envoy.filters.http.upstream_codec"
)

// bufferBodies makes Envoy hold the body of a copy until it is whole, and drop
// the copy of a longer one. Without it a shadow that does not read stops the
// primary's upload: Envoy streams the body to both, and the shadow's back
// pressure reaches the client (docs/architecture.md, "Why bodies are held").
func (id Identity) bufferBodies(options *upstream.HttpProtocolOptions) error {
	if id.Limits.MaxRequestBodyBytes == 0 {
		return nil
	}
	bufferConfig, err := xds.MarshalAny(&buffer.Buffer{MaxRequestBytes: wrapperspb.UInt32(id.Limits.MaxRequestBodyBytes)})
	if err != nil {
		return err
	}
	codecConfig, err := xds.MarshalAny(&codec.UpstreamCodec{})
	if err != nil {
		return err
	}
	filters := slices.DeleteFunc(slices.Clone(options.GetHttpFilters()), func(f *hcm.HttpFilter) bool {
		return f.GetName() == bufferName || f.GetName() == codecName
	})
	options.HttpFilters = append(filters,
		&hcm.HttpFilter{Name: bufferName, ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: bufferConfig}},
		// Envoy wants the codec filter named, and last, once there is another.
		&hcm.HttpFilter{Name: codecName, ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: codecConfig}},
	)
	return nil
}
