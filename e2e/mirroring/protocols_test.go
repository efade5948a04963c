package mirroring_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
)

var _ = onEachEnvoy("the protocol of the copies", func(open func(context.Context, *world.World) *scene) {
	DescribeTable("is the shadow's own", func(ctx SpecContext, protocol, expected string) {
		w := world.New(GinkgoT())
		primary := w.HTTP("v1")
		shadow := world.StartHTTP(GinkgoT(), "shadow")
		w.Write("shadow.yaml", world.Instance("shadow", "shadow", "v1", protocol, shadow.Port()))
		w.Route(`
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: shadow}}
`)
		open(ctx, w)
		answer := w.Send(ctx, world.Request{Method: "PUT", Path: "/a?b=c", Body: "some"})
		Expect(world.Got(primary, answer.ID).Proto).To(Equal("HTTP/1.1"))
		mirrored := copyOf(shadow, answer.ID)
		Expect(mirrored.Proto).To(Equal(expected))
		Expect(mirrored.Method).To(Equal("PUT"))
		Expect(mirrored.Path).To(Equal("/a?b=c"))
		Expect(string(mirrored.Body)).To(Equal("some"))
	},
		Entry("HTTP/1.1 for http", "http", "HTTP/1.1"),
		Entry("HTTP/2 for http2", "http2", "HTTP/2.0"),
		Entry("HTTP/2 for grpc", "grpc", "HTTP/2.0"),
		Entry("HTTP/1.1 for tcp, since copies are requests", "tcp", "HTTP/1.1"),
	)
})
