package mirroring_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

// forwarder is the configuration of an Envoy that sends all it gets to a port.
func forwarder(port uint32) []byte {
	return fmt.Appendf(nil, `
static_resources:
  listeners:
  - name: in
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{match: {prefix: /}, route: {cluster: back}}]
  clusters:
  - name: back
    type: STATIC
    load_assignment:
      cluster_name: back
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]
`, port)
}

// gateway forwards HTTP to a URL until the spec ends, and returns its port.
func gateway(to string) uint32 {
	GinkgoHelper()
	target, err := url.Parse(to)
	Expect(err).NotTo(HaveOccurred())
	server := httptest.NewServer(httputil.NewSingleHostReverseProxy(target))
	DeferCleanup(server.Close)
	at, err := url.Parse(server.URL)
	Expect(err).NotTo(HaveOccurred())
	port, err := strconv.ParseUint(at.Port(), 10, 16)
	Expect(err).NotTo(HaveOccurred())
	return uint32(port)
}

// The resources do not show that what they call a shadow leads back: a proxy
// that knows nothing of mirrors is in between.
var _ = onEachEnvoy("a loop of mirrors", func(open func(context.Context, *world.World) *scene) {
	var (
		w       *world.World
		primary *backend.HTTP
	)
	BeforeEach(func() {
		w = world.New(GinkgoT())
		primary = w.HTTP("v1")
	})
	shadowAt := func(port uint32) { w.Write("collector.yaml", external("http", port, "")) }
	mirror := func(options string) {
		GinkgoHelper()
		w.Route(fmt.Sprintf(`
http:
- match: {path: {prefix: /first}}
  destination: {kuma.io/service: backend, version: v1}
  mirror: {destination: {kuma.io/service: collector}, name: shadow%[1]s}
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: collector}, name: shadow%[1]s}
`, options))
	}
	// served waits until the primary has got the request so many times, and sees
	// that it stays so. Other requests did not come.
	served := func(id string, times int) {
		GinkgoHelper()
		Eventually(world.IDs).WithArguments(primary).Should(Equal(map[string]int{id: times}))
		Consistently(world.IDs).WithArguments(primary).WithTimeout(300 * time.Millisecond).Should(Equal(map[string]int{id: times}))
	}

	DescribeTable("of one hop ends with one copy", func(ctx SpecContext, path string) {
		shadowAt(gateway(w.URL))
		mirror("")
		s := open(ctx, w)
		served(w.Get(ctx, path).ID, 2)
		s.stat(ctx, "cluster.shadow.upstream_rq_total", 1)
	},
		Entry("by an entry", "/first"),
		Entry("by the default entry", "/"),
	)

	It("of two hops, over an Envoy of somebody else, ends with one copy", func(ctx SpecContext) {
		// The copy goes to the other Envoy, then to a gateway, and back.
		port := gateway(w.URL)
		other, err := envoytest.Start(ctx, envoytest.Options{Binary: envoytest.Binary(envoytest.Versions()[0]), Config: forwarder(port), Concurrency: 1})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(other.Stop)
		in, err := other.ListenerPort(ctx, "in")
		Expect(err).NotTo(HaveOccurred())
		shadowAt(in)
		mirror("")
		s := open(ctx, w)
		served(w.Get(ctx, "/").ID, 2)
		s.stat(ctx, "cluster.shadow.upstream_rq_total", 1)
		s.stat(ctx, "vhost.backend.route.web_default.upstream_rq_total", 1)
	})

	It("goes on where the mirror takes the mark off its copies", func(ctx SpecContext) {
		// What limits the chain here is the number of copies in flight.
		shadowAt(gateway(w.URL))
		mirror(", limits: {maxConcurrentRequests: 4}, requestHeaders: {remove: [{name: x-kuma-mirror-copy}]}")
		open(ctx, w)
		id := w.Get(ctx, "/").ID
		Eventually(func() int { return world.IDs(primary)[id] }).Should(BeNumerically(">", 2))
	})
})

var _ = onEachEnvoy("a copy", func(open func(context.Context, *world.World) *scene) {
	It("that is sent on purpose through a proxy that mirrors is not copied again", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		primary, shadow := w.HTTP("v1"), w.HTTP("v2")
		w.Route(`
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: backend, version: v2}, name: shadow}
`)
		open(ctx, w)
		plain := w.Get(ctx, "/")
		marked := w.Send(ctx, world.Request{Path: "/", Header: map[string][]string{"X-Kuma-Mirror-Copy": {"1"}}})
		Expect(marked.Backend).To(Equal("v1"), "it goes where any request goes")
		got(primary, plain.ID, marked.ID)
		got(shadow, plain.ID)
		Expect(copyOf(shadow, plain.ID).Header.Values("x-kuma-mirror-copy")).To(Equal([]string{"1"}))
		Expect(world.Got(primary, plain.ID).Header).NotTo(HaveKey("X-Kuma-Mirror-Copy"))
	})
})
