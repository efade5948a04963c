package mirroring_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

// random is a body that no compression or repetition makes look whole.
func random(size int) string {
	body := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(body) // never fails
	return string(body)
}

var _ = onEachEnvoy("a body", func(open func(context.Context, *world.World) *scene) {
	const twentyMegabytes = 20_000_000

	whole := func(r *backend.Request, body string) {
		GinkgoHelper()
		sum := sha256.Sum256([]byte(body))
		Expect(r.BodyErr).NotTo(HaveOccurred())
		Expect(r.BodyLength).To(BeEquivalentTo(len(body)))
		Expect(r.BodySHA256).To(Equal(hex.EncodeToString(sum[:])))
	}

	DescribeTable("arrives whole at the primary and at the shadow", func(ctx SpecContext, size int, limits, method string, chunked bool) {
		w := world.New(GinkgoT())
		primary, shadow := w.HTTP("v1"), w.HTTP("v2")
		w.Route(fmt.Sprintf(`
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: backend, version: v2}, limits: %s}
`, limits))
		open(ctx, w)
		body := random(size)
		answer := w.Send(ctx, world.Request{Method: method, Body: body, Chunked: chunked})
		Expect(answer.Backend).To(Equal("v1"))
		original := world.Got(primary, answer.ID)
		whole(original, body)
		if chunked {
			Expect(original.TransferEncoding).To(Equal([]string{"chunked"}))
		}
		mirrored := copyOf(shadow, answer.ID)
		whole(mirrored, body)
		Expect(mirrored.Method).To(Equal(method))
	},
		Entry("of 900 kB by default", 900_000, "{}", http.MethodPost, false),
		Entry("of 900 kB, chunked, by default", 900_000, "{}", http.MethodPut, true),
		Entry("of exactly the default limit", 1<<20, "{}", http.MethodPost, false),
		Entry("of 20 MB where the limit is 32 MiB", twentyMegabytes, "{maxRequestBodyBytes: 33554432}", http.MethodPost, false),
		Entry("of 20 MB, chunked, where the limit is 32 MiB", twentyMegabytes, "{maxRequestBodyBytes: 33554432}", http.MethodPut, true),
		Entry("of 20 MB where it is streamed", twentyMegabytes, "{maxRequestBodyBytes: 0}", http.MethodPost, false),
		Entry("of 20 MB, chunked, where it is streamed", twentyMegabytes, "{maxRequestBodyBytes: 0}", http.MethodPut, true),
	)

	DescribeTable("over the limit arrives whole at the primary, and its copy is dropped and counted",
		func(ctx SpecContext, protocol string, size int, chunked bool) {
			w := world.New(GinkgoT())
			primary := w.HTTP("v1")
			shadow := world.StartHTTP(GinkgoT(), "shadow")
			w.Write("shadow.yaml", world.Instance("shadow", "shadow", "v1", protocol, shadow.Port()))
			w.Route(`
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: shadow}, name: shadow}
`)
			s := open(ctx, w)
			body := random(size)
			var expected []string
			for i := range 3 {
				answer := w.Send(ctx, world.Request{Method: http.MethodPost, Body: body, Chunked: chunked})
				whole(world.Got(primary, answer.ID), body)
				s.dropped(ctx, i+1)
				// The next copy arrives, and nothing of the dropped one.
				expected = append(expected, w.Get(ctx, "/").ID)
				got(shadow, expected...)
			}
			s.stat(ctx, "cluster.shadow.upstream_rq_completed", 3)
		},
		Entry("HTTP/1.1", "http", twentyMegabytes, false),
		Entry("HTTP/1.1, chunked", "http", twentyMegabytes, true),
		Entry("HTTP/1.1, by one byte", "http", 1<<20+1, false),
		Entry("HTTP/2", "http2", twentyMegabytes, false),
		Entry("HTTP/2, chunked", "http2", twentyMegabytes, true),
	)
})

// dropped waits until Envoy has given up that many copies to the cluster
// "shadow". How it counts one depends on whether there is a connection for it:
// without, it is a cancelled request; with, HTTP/2 resets the stream that has
// sent nothing yet, and HTTP/1.1 closes the connection.
func (s *scene) dropped(ctx context.Context, copies int) {
	GinkgoHelper()
	Eventually(ctx, func(ctx context.Context) (uint64, error) {
		stats, err := s.envoy.Stats(ctx)
		return stats["cluster.shadow.upstream_rq_cancelled"] + stats["cluster.shadow.upstream_rq_tx_reset"] +
			stats["cluster.shadow.upstream_cx_destroy_local_with_active_rq"], err
	}).Should(BeEquivalentTo(copies))
}
