package generator

import (
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// How much of an answer Envoy takes at once, in bytes. With its own bounds,
// 1 MiB and 24 MiB, a shadow that answers without an end keeps the thread busy
// that the primary's requests wait for (docs/impact.md, "Defaults").
const (
	connectionBuffer = 16 << 10
	streamWindow     = 64 << 10 // the least that HTTP/2 has
	connectionWindow = 256 << 10
)

// boundAnswers lets Envoy take answers, which it throws away, in small pieces,
// with everything else in between; boundWindows does it for HTTP/2.
func (id Identity) boundAnswers(c *cluster.Cluster) {
	c.PerConnectionBufferLimitBytes = wrapperspb.UInt32(connectionBuffer)
}

func (id Identity) boundWindows(options *upstream.HttpProtocolOptions) {
	if http2 := http2Options(options); http2 != nil {
		http2.InitialStreamWindowSize = wrapperspb.UInt32(streamWindow)
		http2.InitialConnectionWindowSize = wrapperspb.UInt32(connectionWindow)
	}
}

// http2Options are those of a shadow that may speak HTTP/2, or nil.
func http2Options(options *upstream.HttpProtocolOptions) *core.Http2ProtocolOptions {
	if downstream := options.GetUseDownstreamProtocolConfig(); downstream != nil {
		return downstream.GetHttp2ProtocolOptions()
	}
	return options.GetExplicitHttpConfig().GetHttp2ProtocolOptions()
}
