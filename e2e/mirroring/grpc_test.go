package mirroring_test

import (
	"context"
	"fmt"
	"io"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

var _ = onEachEnvoy("a gRPC call", func(open func(context.Context, *world.World) *scene) {
	var (
		primary, shadow *backend.GRPC
		s               *scene
		client          testpb.TestServiceClient
	)

	// begin starts everything for a mirror with these limits.
	begin := func(ctx context.Context, limits string) {
		GinkgoHelper()
		w := world.New(GinkgoT())
		primary, shadow = w.GRPC("v1"), w.GRPC("v2")
		w.Route(fmt.Sprintf(`
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: backend, version: v2}, name: shadow, limits: %s}
`, limits))
		s = open(ctx, w)
		connection, err := grpc.NewClient(fmt.Sprintf("passthrough:///127.0.0.1:%d", w.Port),
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(connection.Close)
		client = testpb.NewTestServiceClient(connection)
	}
	payload := func(text string) *testpb.Payload { return &testpb.Payload{Body: []byte(text)} }
	byPrimary := func(header metadata.MD) {
		GinkgoHelper()
		Expect(header.Get("x-backend-name")).To(Equal([]string{"v1"}))
	}
	// equal waits for the one call of the shadow, which is the primary's.
	equal := func() {
		GinkgoHelper()
		Eventually(shadow.Count).Should(Equal(1))
		original, mirrored := primary.Calls()[0], shadow.Calls()[0]
		Expect(mirrored.Err).NotTo(HaveOccurred())
		Expect(mirrored.Method).To(Equal(original.Method))
		Expect(mirrored.Authority).To(Equal(original.Authority))
		Expect(mirrored.Messages).To(HaveLen(len(original.Messages)))
		for i, message := range original.Messages {
			Expect(proto.Equal(mirrored.Messages[i], message)).To(BeTrue(), "message %d", i)
		}
		Expect(mirrored.Metadata.Get("x-request-id")).To(And(Not(BeEmpty()), Equal(original.Metadata.Get("x-request-id"))))
	}

	It("arrives at the primary and at the shadow", func(ctx SpecContext) {
		begin(ctx, "{}")
		var header metadata.MD
		answer, err := client.UnaryCall(ctx, &testpb.SimpleRequest{Payload: payload("one")}, grpc.Header(&header))
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.GetServerId()).To(Equal("v1"))
		byPrimary(header)
		equal()
	})

	It("of which the server streams the answer is answered by the primary", func(ctx SpecContext) {
		begin(ctx, "{}")
		stream, err := client.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{
			ResponseParameters: []*testpb.ResponseParameters{{Size: 10}, {Size: 200_000}, {Size: 30}},
		})
		Expect(err).NotTo(HaveOccurred())
		header, err := stream.Header()
		Expect(err).NotTo(HaveOccurred())
		byPrimary(header)
		for _, size := range []int{10, 200_000, 30} {
			answer, err := stream.Recv()
			Expect(err).NotTo(HaveOccurred())
			Expect(answer.GetPayload().GetBody()).To(HaveLen(size))
		}
		_, err = stream.Recv()
		Expect(err).To(MatchError(io.EOF))
		equal()
	})

	DescribeTable("that the client streams arrives whole", func(ctx SpecContext, limits string) {
		begin(ctx, limits)
		stream, err := client.StreamingInputCall(ctx)
		Expect(err).NotTo(HaveOccurred())
		for _, text := range []string{"one", "two", "three"} {
			Expect(stream.Send(&testpb.StreamingInputCallRequest{Payload: payload(text)})).To(Succeed())
		}
		answer, err := stream.CloseAndRecv()
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.GetAggregatedPayloadSize()).To(BeEquivalentTo(len("onetwothree")))
		header, err := stream.Header()
		Expect(err).NotTo(HaveOccurred())
		byPrimary(header)
		equal()
	},
		Entry("by default", "{}"),
		Entry("where bodies are streamed", "{maxRequestBodyBytes: 0}"),
	)

	// talk opens a call that streams both ways and waits for an answer.
	talk := func(ctx context.Context) grpc.BidiStreamingClient[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse] {
		GinkgoHelper()
		stream, err := client.FullDuplexCall(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(stream.Send(&testpb.StreamingOutputCallRequest{Payload: payload("ping")})).To(Succeed())
		answer, err := stream.Recv()
		Expect(err).NotTo(HaveOccurred())
		Expect(string(answer.GetPayload().GetBody())).To(Equal("ping"))
		header, err := stream.Header()
		Expect(err).NotTo(HaveOccurred())
		byPrimary(header)
		return stream
	}

	It("that streams both ways arrives at the shadow when the client has said all", func(ctx SpecContext) {
		begin(ctx, "{}")
		stream := talk(ctx)
		Expect(stream.Send(&testpb.StreamingOutputCallRequest{Payload: payload(random(200_000))})).To(Succeed())
		_, err := stream.Recv()
		Expect(err).NotTo(HaveOccurred())
		s.stat(ctx, "cluster.shadow.upstream_cx_tx_bytes_total", BeNumerically("<", 1000)) // HTTP/2's own
		Expect(stream.CloseSend()).To(Succeed())
		_, err = stream.Recv()
		Expect(err).To(MatchError(io.EOF))
		equal()
	})

	It("without end is not copied, and goes on", func(ctx SpecContext) {
		begin(ctx, "{maxDuration: 0.2s}")
		stream := talk(ctx)
		s.stat(ctx, "cluster.shadow.upstream_rq_max_duration_reached", 1)
		Expect(stream.Send(&testpb.StreamingOutputCallRequest{Payload: payload("still there")})).To(Succeed())
		answer, err := stream.Recv()
		Expect(err).NotTo(HaveOccurred())
		Expect(string(answer.GetPayload().GetBody())).To(Equal("still there"))
		Expect(stream.CloseSend()).To(Succeed())
		_, err = stream.Recv()
		Expect(err).To(MatchError(io.EOF))
		Eventually(primary.Count).Should(Equal(1))
		Consistently(shadow.Count).Should(BeZero())
	})

	It("without end is copied as it comes where bodies are streamed, until the copy's time is over", func(ctx SpecContext) {
		begin(ctx, "{maxRequestBodyBytes: 0, maxDuration: 0.2s}")
		stream := talk(ctx)
		Eventually(shadow.Count).Should(Equal(1))
		Expect(shadow.Calls()[0].Err).To(HaveOccurred())
		Expect(shadow.Calls()[0].Messages).To(HaveLen(1))
		s.stat(ctx, "cluster.shadow.upstream_rq_max_duration_reached", 1)
		Expect(stream.CloseSend()).To(Succeed())
		_, err := stream.Recv()
		Expect(err).To(MatchError(io.EOF))
		Eventually(primary.Count).Should(Equal(1))
		Expect(primary.Calls()[0].Err).NotTo(HaveOccurred())
	})

	It("that the client gives up is not copied", func(ctx SpecContext) {
		begin(ctx, "{}")
		calling, giveUp := context.WithCancel(ctx)
		talk(calling)
		giveUp()
		Eventually(primary.Count).Should(Equal(1))
		Expect(primary.Calls()[0].Err).To(HaveOccurred())
		s.dropped(ctx, 1)
		Consistently(shadow.Count).Should(BeZero())
	})
})
