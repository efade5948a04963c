package mirroring_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

// stop begins uploads, each on a connection of its own, and sends no more than
// three bytes of them. They stay until the spec ends.
func stop(ctx context.Context, w *world.World, uploads int) {
	GinkgoHelper()
	for range uploads {
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(w.URL, "http://"))
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(connection.Close)
		_, err = io.WriteString(connection, "POST /stopped HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc")
		Expect(err).NotTo(HaveOccurred())
	}
}

var _ = onEachEnvoy("clients that stop in the middle of a request", func(open func(context.Context, *world.World) *scene) {
	DescribeTable("hold slots no longer than maxDuration, and cost the primary nothing", func(ctx SpecContext, protocol, more string, uploads int) {
		w := world.New(GinkgoT())
		primary := w.HTTP("v1")
		shadow := world.StartHTTP(GinkgoT(), "shadow")
		w.Write("shadow.yaml", world.Instance("shadow", "shadow", "v1", protocol, shadow.Port()))
		w.Route(fmt.Sprintf(`
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: shadow}, name: shadow, limits: {maxConcurrentRequests: 8, maxDuration: 3s}%s}
`, more))
		s := open(ctx, w)
		// The first connections, so that no copy waits for one.
		copyOf(shadow, s.Get(ctx, "/before").ID)

		stop(ctx, w, uploads)
		s.stat(ctx, "cluster.shadow.upstream_rq_active", 8)
		for range 50 {
			answer := s.Get(ctx, "/meanwhile")
			Expect(answer.Backend).To(Equal("v1"))
			Expect(world.Got(primary, answer.ID)).NotTo(BeNil())
		}
		// No slot stays with a client: they are all still there.
		s.stat(ctx, "cluster.shadow.upstream_rq_active", 0)
		s.stat(ctx, "cluster.shadow.upstream_rq_max_duration_reached", BeNumerically(">=", 8))
		if protocol == "http2" {
			s.stat(ctx, "cluster.shadow.http2.tx_reset", 0)
		}
		copyOf(shadow, s.Get(ctx, "/after").ID)
		for _, r := range shadow.Requests() {
			Expect(r.Path).NotTo(Equal("/stopped"), "the shadow gets nothing of what its client has not ended")
		}
	},
		Entry("8 of them, over HTTP/1.1", "http", "", 8),
		Entry("8 of them, over HTTP/2", "http2", "", 8),
		Entry("8 of them, without bodies", "http", ", body: omit", 8),
		Entry("200 of them, over HTTP/1.1", "http", "", 200),
		Entry("200 of them, over HTTP/2", "http2", "", 200),
	)

	// docs/operate.md tells slow shadows and slow clients apart by it.
	It("are not what HTTP/2's resets count, which are copies that the shadow had got", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		w.HTTP("v1")
		shadow := world.StartHTTP(GinkgoT(), "shadow", func(o *backend.Options) {
			o.Handle = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		})
		w.Write("shadow.yaml", world.Instance("shadow", "shadow", "v1", "http2", shadow.Port()))
		w.Route(`
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: shadow}, name: shadow, limits: {maxDuration: 1s}}
`)
		s := open(ctx, w)
		for range 5 {
			s.Get(ctx, "/")
		}
		s.stat(ctx, "cluster.shadow.upstream_rq_max_duration_reached", 5)
		s.stat(ctx, "cluster.shadow.http2.tx_reset", 5)
	})
})
