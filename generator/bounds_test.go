package generator_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/kuma-mirror/kuma-mirror/generator"
)

var _ = Describe("a mirror cluster's memory", func() {
	DescribeTable("is bounded for copies that wait for a connection, too",
		func(concurrent, body, waiting int) {
			limits := generator.DefaultLimits
			limits.MaxConcurrentRequests, limits.MaxRequestBodyBytes = uint32(concurrent), uint32(body)
			for _, threshold := range configured(generator.Identity{Tags: v2(), Limits: limits}).GetCircuitBreakers().GetThresholds() {
				Expect(threshold.GetMaxPendingRequests().GetValue()).To(BeEquivalentTo(waiting))
				Expect(threshold.GetMaxRequests().GetValue()).To(BeEquivalentTo(concurrent))
			}
		},
		Entry("by default", 128, 1<<20, 32),
		Entry("never more than may be in flight", 8, 1<<20, 8),
		Entry("always one", 128, 64<<20, 1),
		Entry("without bodies that are held", 128, 0, 128),
		Entry("with small bodies", 128, 1000, 128),
	)

	It("takes answers in small pieces", func() {
		id := generator.Identity{Tags: v2(), Limits: generator.DefaultLimits}
		Expect(configured(id).GetPerConnectionBufferLimitBytes().GetValue()).To(BeEquivalentTo(16 << 10))

		value, err := anypb.New(&upstream.HttpProtocolOptions{
			UpstreamProtocolOptions: &upstream.HttpProtocolOptions_ExplicitHttpConfig_{
				ExplicitHttpConfig: &upstream.HttpProtocolOptions_ExplicitHttpConfig{
					ProtocolConfig: &upstream.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
						Http2ProtocolOptions: &core.Http2ProtocolOptions{AllowConnect: true},
					},
				},
			},
		})
		Expect(err).NotTo(HaveOccurred())
		c := &cluster.Cluster{Name: "shadow", TypedExtensionProtocolOptions: map[string]*anypb.Any{httpOptions: value}}
		Expect(id.Configure(c, &generator.Memo{})).To(Succeed())
		http2 := optionsOf(c).GetExplicitHttpConfig().GetHttp2ProtocolOptions()
		Expect(http2.GetInitialStreamWindowSize().GetValue()).To(BeEquivalentTo(64 << 10))
		Expect(http2.GetInitialConnectionWindowSize().GetValue()).To(BeEquivalentTo(256 << 10))
		Expect(http2.GetAllowConnect()).To(BeTrue(), "what the host built stays")
	})
})

var _ = Describe("an ejection", func() {
	It("holds at once", func() {
		window := configured(generator.Identity{Tags: v2(), Limits: generator.DefaultLimits}).GetCommonLbConfig().GetUpdateMergeWindow()
		Expect(window).NotTo(BeNil(), "or Envoy gathers changes for a second")
		Expect(window.AsDuration()).To(BeZero())
	})
})
