package mirroring_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

// echo agrees to every WebSocket (RFC 6455, with the answer to the key of its
// section 1.3) and sends back what comes.
func echo(o *backend.Options) {
	o.Handle = func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		_, _ = io.Copy(conn, buffered)
	}
}

// webSocket opens one at the port, with the key of RFC 6455 section 1.3.
func webSocket(ctx context.Context, port uint32) (net.Conn, *bufio.Reader) {
	GinkgoHelper()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { _ = conn.Close() })
	Expect(conn.SetDeadline(time.Now().Add(time.Minute))).To(Succeed())
	_, err = io.WriteString(conn, "GET /chat HTTP/1.1\r\nHost: backend\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	Expect(err).NotTo(HaveOccurred())
	r := bufio.NewReader(conn)
	response, err := http.ReadResponse(r, nil)
	Expect(err).NotTo(HaveOccurred())
	Expect(response.StatusCode).To(Equal(http.StatusSwitchingProtocols))
	Expect(response.Header.Get("Sec-WebSocket-Accept")).To(Equal("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
	return conn, r
}

// say sends text, which has to come back.
func say(conn net.Conn, r *bufio.Reader, text string) {
	GinkgoHelper()
	_, err := io.WriteString(conn, text)
	Expect(err).NotTo(HaveOccurred())
	back := make([]byte, len(text))
	_, err = io.ReadFull(r, back)
	Expect(err).NotTo(HaveOccurred())
	Expect(string(back)).To(Equal(text))
}

var _ = onEachEnvoy("a WebSocket", func(open func(context.Context, *world.World) *scene) {
	It("reaches the primary and gives no copy", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		primary := w.HTTP("v1", echo)
		shadow := w.HTTP("v2")
		w.Route(`
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: backend, version: v2}, name: shadow, limits: {maxDuration: 0.5s}}
`)
		s := open(ctx, w)
		conn, r := webSocket(ctx, w.Port)
		say(conn, r, "hello")
		s.stat(ctx, "cluster.shadow.upstream_rq_total", 1)  // what is held back
		s.stat(ctx, "cluster.shadow.upstream_rq_active", 0) // and given up
		say(conn, r, "after maxDuration")
		Expect(conn.Close()).To(Succeed())
		Expect(primary.Count()).To(Equal(1))
		Expect(shadow.Count()).To(BeZero())
	})

	It("goes on where the shadow, which gets bodies as they come, accepts it too", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		w.HTTP("v1", echo)
		shadow := w.HTTP("v2", echo)
		w.Route(`
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: backend, version: v2}, name: shadow, limits: {maxRequestBodyBytes: 0, maxDuration: 0.5s}}
`)
		s := open(ctx, w)
		conn, r := webSocket(ctx, w.Port)
		Eventually(shadow.Count).Should(Equal(1))
		say(conn, r, "hello")
		s.stat(ctx, "cluster.shadow.upstream_rq_active", 0)
		say(conn, r, strings.Repeat("x", 1000))
	})

	It("is passed on by the Envoy of the application, too", func(ctx SpecContext) {
		app := world.StartHTTP(GinkgoT(), "app", echo)
		port := envoytest.FreePorts(1)[0]
		w := world.New(GinkgoT())
		w.Write("web.yaml", fmt.Sprintf(`
type: Dataplane
name: web
networking:
  address: 127.0.0.1
  inbound: [{port: %d, servicePort: %d, tags: {kuma.io/service: app, kuma.io/protocol: http}}]
`, port, app.Port()))
		open(ctx, w)
		conn, r := webSocket(ctx, port)
		say(conn, r, "hello")
	})
})

var _ = onEachEnvoy("a primary that is slow", func(open func(context.Context, *world.World) *scene) {
	// slow answers when as many requests as that are there.
	slow := func(enough int64) func(*backend.Options) {
		var there atomic.Int64
		all := make(chan struct{})
		return func(o *backend.Options) {
			o.Handle = func(_ http.ResponseWriter, r *http.Request) {
				if there.Add(1) == enough {
					close(all)
				}
				select {
				case <-all:
				case <-r.Context().Done():
				}
			}
		}
	}
	// statuses sends n requests at once and counts the answers by status.
	statuses := func(ctx context.Context, url string, n int) map[int]int {
		GinkgoHelper()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
		counts, mu, all := map[int]int{}, sync.Mutex{}, sync.WaitGroup{}
		for range n {
			all.Go(func() {
				status := 0
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
				if err == nil {
					var response *http.Response
					if response, err = client.Do(request); err == nil {
						_ = response.Body.Close()
						status = response.StatusCode
					}
				}
				mu.Lock()
				defer mu.Unlock()
				counts[status]++
			})
		}
		all.Wait()
		return counts
	}

	It("gets as many requests at once as there are", func(ctx SpecContext) {
		const many = 2400 // Envoy's own limits let 2048 in: half of them to the primary, half to wait
		w := world.New(GinkgoT())
		w.HTTP("v1", slow(many))
		open(ctx, w)
		Expect(statuses(ctx, w.URL, many)).To(Equal(map[int]int{http.StatusOK: many}))
	})

	It("gets as many as the outbound's limits say", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		w.HTTP("v1", func(o *backend.Options) {
			o.Handle = func(_ http.ResponseWriter, r *http.Request) {
				select {
				case <-time.After(2 * time.Second):
				case <-r.Context().Done():
				}
			}
		})
		w.Write("web.yaml", strings.Replace(world.Caller("web", w.Port), "backend}}", "backend}, limits: {maxRequests: 1, maxPendingRequests: 1, maxConnections: 1}}", 1))
		open(ctx, w)
		Expect(statuses(ctx, w.URL, 10)).To(And(HaveKey(http.StatusOK), HaveKey(http.StatusServiceUnavailable), HaveLen(2)))
	})
})

var _ = onEachEnvoy("an Envoy in the path", func(open func(context.Context, *world.World) *scene) {
	// docs/operate.md lists them.
	It("adds these headers and no others", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		primary := w.HTTP("v1")
		open(ctx, w)
		direct := world.NewClient(GinkgoT(), fmt.Sprintf("http://127.0.0.1:%d", primary.Port()), false)
		without, err := direct.Send(ctx, world.Request{})
		Expect(err).NotTo(HaveOccurred())
		with := w.Send(ctx, world.Request{})
		added := func(before, after http.Header) http.Header {
			rest := after.Clone()
			for name := range before {
				rest.Del(name)
			}
			return rest
		}
		request := added(world.Got(primary, without.ID).Header, world.Got(primary, with.ID).Header)
		Expect(request).To(And(HaveLen(2), HaveKeyWithValue("X-Forwarded-Proto", []string{"http"}), HaveKey("X-Request-Id")))
		Expect(added(without.Header, with.Header)).To(And(HaveLen(2),
			HaveKeyWithValue("Server", []string{"envoy"}), HaveKey("X-Envoy-Upstream-Service-Time")))
	})
})
