package envoy_test

import (
	metrics "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	base "github.com/kuma-mirror/kuma-mirror/standalone/build/bootstrap"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/envoy"
)

var _ = Describe("the bootstrap", func() {
	for _, version := range envoytest.Versions() {
		DescribeTable("is one that Envoy "+version+" takes", func(ctx SpecContext, c envoy.BootstrapConfig) {
			c.NodeID, c.NodeCluster = "default.web", "web"
			b, err := envoy.NewBootstrap(c)
			Expect(err).NotTo(HaveOccurred())
			text, err := base.YAML(b)
			Expect(err).NotTo(HaveOccurred())
			Expect(envoytest.Validate(ctx, envoytest.Binary(version), text)).To(Succeed())
		},
			Entry("with an admin port", envoy.BootstrapConfig{XDSAddress: "127.0.0.1:5678", AdminPort: 9902}),
			Entry("with an admin socket", envoy.BootstrapConfig{XDSAddress: "[::1]:5678", AdminSocket: "/tmp/admin.sock"}),
			Entry("without an admin API, of a host with a name", envoy.BootstrapConfig{XDSAddress: "control-plane.internal:5678"}),
		)
	}

	for _, version := range envoytest.Versions() {
		It("is one that Envoy "+version+" takes, of a host that asks for certificates or tokens", func(ctx SpecContext) {
			dir := GinkgoT().TempDir()
			s := secured(dir)
			valid := func(c envoy.BootstrapConfig) {
				GinkgoHelper()
				c.NodeID, c.NodeCluster = "default.web", "web"
				b, err := envoy.NewBootstrap(c)
				Expect(err).NotTo(HaveOccurred())
				text, err := base.YAML(b)
				Expect(err).NotTo(HaveOccurred())
				Expect(envoytest.Validate(ctx, envoytest.Binary(version), text)).To(Succeed())
			}
			s.TokenFile = ""
			valid(envoy.BootstrapConfig{XDSAddress: "127.0.0.1:5678", Security: s})
			valid(envoy.BootstrapConfig{XDSAddress: "host.internal:5678", Security: s})
			s = secured(dir)
			Expect(envoy.WriteSecrets(dir, "host.internal:5678", s)).To(Succeed())
			valid(envoy.BootstrapConfig{XDSAddress: "host.internal:5678", Security: s, SecretsDir: dir})
			valid(envoy.BootstrapConfig{XDSAddress: "127.0.0.1:5678", Security: envoy.Security{TokenFile: s.TokenFile}, SecretsDir: dir})
		})
	}

	It("has no place for a token, which Envoy takes from a file", func() {
		_, err := envoy.NewBootstrap(envoy.BootstrapConfig{XDSAddress: "127.0.0.1:5678", Security: envoy.Security{TokenFile: "x"}})
		Expect(err).To(MatchError(ContainSubstring("the token cannot be shown in a bootstrap")))
	})

	It("asks for everything over one delta stream and waits for it", func() {
		b, err := envoy.NewBootstrap(envoy.BootstrapConfig{NodeID: "default.web", NodeCluster: "web", XDSAddress: "127.0.0.1:5678"})
		Expect(err).NotTo(HaveOccurred())
		Expect(b.GetNode().GetId()).To(Equal("default.web"))
		Expect(b.GetNode().GetCluster()).To(Equal("web"))
		ads := b.GetDynamicResources().GetAdsConfig()
		Expect(ads.GetApiType().String()).To(Equal("DELTA_GRPC"))
		Expect(ads.GetGrpcServices()[0].GetEnvoyGrpc().GetClusterName()).To(Equal(b.GetStaticResources().GetClusters()[0].GetName()))
		Expect(b.GetDynamicResources().GetLdsConfig().GetInitialFetchTimeout().AsDuration()).To(BeZero())
		Expect(b.GetAdmin()).To(BeNil())
	})

	It("tries all addresses of a name", func() {
		b, err := envoy.NewBootstrap(envoy.BootstrapConfig{XDSAddress: "localhost:5678"})
		Expect(err).NotTo(HaveOccurred())
		Expect(b.GetStaticResources().GetClusters()[0].GetDnsLookupFamily().String()).To(Equal("ALL"))
	})

	It("sends Envoy's stats to the host, in messages that a gRPC server takes", func() {
		b, err := envoy.NewBootstrap(envoy.BootstrapConfig{NodeID: "default.web", NodeCluster: "web", XDSAddress: "127.0.0.1:5678"})
		Expect(err).NotTo(HaveOccurred())
		Expect(b.GetStatsFlushInterval().AsDuration()).To(Equal(envoy.StatsInterval))
		Expect(b.GetStatsSinks()).To(HaveLen(1))
		var sink metrics.MetricsServiceConfig
		Expect(b.GetStatsSinks()[0].GetTypedConfig().UnmarshalTo(&sink)).To(Succeed())
		xds := b.GetStaticResources().GetClusters()[0]
		Expect(sink.GetGrpcService().GetEnvoyGrpc().GetClusterName()).To(Equal(xds.GetName()))
		Expect(xds.GetAltStatName()).To(Equal(envoy.XDSStatName))
		Expect(sink.GetBatchSize()).To(BeEquivalentTo(envoy.MetricsPerMessage))
		Expect(sink.GetReportCountersAsDeltas().GetValue()).To(BeFalse())
	})

	DescribeTable("needs an address", func(address, message string) {
		_, err := envoy.NewBootstrap(envoy.BootstrapConfig{XDSAddress: address})
		Expect(err).To(MatchError(ContainSubstring(message)))
	},
		Entry("with a port", "127.0.0.1", "has to be host:port"),
		Entry("with a host", ":5678", "has to be host:port"),
		Entry("with a port that is one", "127.0.0.1:65536", "has to be 1 to 65535"),
		Entry("with a port that is not 0", "127.0.0.1:0", "has to be 1 to 65535"),
	)
})
