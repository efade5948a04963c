package v1alpha1_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

var _ = Describe("Protocol", func() {
	DescribeTable("reads a tag's value", func(tag string, want api.Protocol, http, http2 bool) {
		p := api.ParseProtocol(tag)
		Expect(p).To(Equal(want))
		Expect(p.IsHTTP()).To(Equal(http))
		Expect(p.IsHTTP2()).To(Equal(http2))
	},
		Entry(nil, "http", api.ProtocolHTTP, true, false),
		Entry(nil, "http2", api.ProtocolHTTP2, true, true),
		Entry(nil, "grpc", api.ProtocolGRPC, true, true),
		Entry(nil, "kafka", api.ProtocolKafka, false, false),
		Entry(nil, "tcp", api.ProtocolTCP, false, false),
		Entry("absent", "", api.ProtocolTCP, false, false),
		Entry("unknown", "HTTP", api.ProtocolTCP, false, false),
	)

	DescribeTable("finds what two have in common, either way round", func(a, b, want api.Protocol) {
		Expect(api.CommonProtocol(a, b)).To(Equal(want))
		Expect(api.CommonProtocol(b, a)).To(Equal(want))
	},
		Entry(nil, api.ProtocolGRPC, api.ProtocolGRPC, api.ProtocolGRPC),
		Entry(nil, api.ProtocolGRPC, api.ProtocolHTTP2, api.ProtocolHTTP2),
		Entry(nil, api.ProtocolGRPC, api.ProtocolHTTP, api.ProtocolHTTP),
		Entry(nil, api.ProtocolHTTP2, api.ProtocolHTTP, api.ProtocolHTTP),
		Entry(nil, api.ProtocolKafka, api.ProtocolHTTP, api.ProtocolTCP),
		Entry(nil, api.ProtocolTCP, api.ProtocolHTTP, api.ProtocolTCP),
		Entry("unknown", api.Protocol("x"), api.ProtocolHTTP, api.ProtocolTCP),
	)
})
