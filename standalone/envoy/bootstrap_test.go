package envoy_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/standalone/envoy"
)

var _ = Describe("the bootstrap", func() {
	for _, version := range envoytest.Versions() {
		DescribeTable("is one that Envoy "+version+" takes", func(ctx SpecContext, c envoy.BootstrapConfig) {
			c.NodeID, c.NodeCluster = "default.web", "web"
			b, err := envoy.NewBootstrap(c)
			Expect(err).NotTo(HaveOccurred())
			text, err := envoy.BootstrapYAML(b)
			Expect(err).NotTo(HaveOccurred())
			Expect(envoytest.Validate(ctx, envoytest.Binary(version), text)).To(Succeed())
		},
			Entry("with an admin port", envoy.BootstrapConfig{XDSAddress: "127.0.0.1:5678", AdminPort: 9902}),
			Entry("with an admin socket", envoy.BootstrapConfig{XDSAddress: "[::1]:5678", AdminSocket: "/tmp/admin.sock"}),
			Entry("without an admin API, of a host with a name", envoy.BootstrapConfig{XDSAddress: "control-plane.internal:5678"}),
		)
	}

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
