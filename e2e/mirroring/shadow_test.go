package mirroring_test

import (
	"context"
	"io"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

// answering sets what a backend does once a request is recorded.
func answering(handle http.HandlerFunc) func(*backend.Options) {
	return func(o *backend.Options) { o.Handle = handle }
}

// breakConnection closes the connection below a request, after saying so much.
func breakConnection(w http.ResponseWriter, saying string) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // the server is being stopped
	}
	_, _ = io.WriteString(connection, saying)
	_ = connection.Close()
}

const mirroredToV2 = `
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: backend, version: v2}, name: shadow}
`

var _ = onEachEnvoy("whatever the shadow does, the client gets the primary's answer", func(open func(context.Context, *world.World) *scene) {
	// unharmed sends requests that the primary has to answer as ever.
	unharmed := func(ctx context.Context, w *world.World) (ids []string) {
		GinkgoHelper()
		for range 10 {
			for _, r := range []world.Request{{Path: "/a"}, {Method: http.MethodPost, Path: "/b", Body: random(100_000)}} {
				begun := time.Now()
				answer := w.Send(ctx, r)
				Expect(time.Since(begun)).To(BeNumerically("<", 5*time.Second))
				Expect(answer.Backend).To(Equal("v1"))
				Expect(answer.Body).To(HavePrefix(`{"backend":"v1",`))
				Expect(answer.Header).NotTo(HaveKey("Set-Cookie"))
				ids = append(ids, answer.ID)
			}
		}
		return ids
	}

	DescribeTable("where it answers", func(ctx SpecContext, handle http.HandlerFunc) {
		w := world.New(GinkgoT())
		w.HTTP("v1")
		shadow := w.HTTP("v2", answering(handle))
		w.Route(mirroredToV2)
		open(ctx, w)
		got(shadow, unharmed(ctx, w)...)
	},
		Entry("an error", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "the shadow is broken", http.StatusInternalServerError)
		})),
		Entry("that it is overloaded", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Envoy-Overloaded", "true")
			w.WriteHeader(http.StatusServiceUnavailable)
		})),
		Entry("a redirect and a cookie", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "who", Value: "shadow"})
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		})),
		Entry("nothing and closes the connection", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			breakConnection(w, "")
		})),
		Entry("half of what it announced", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			breakConnection(w, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
		})),
		Entry("what is no HTTP", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			breakConnection(w, "\x00nonsense\r\n\r\n")
		})),
		Entry("without end", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			chunk := make([]byte, 64<<10)
			for r.Context().Err() == nil {
				if _, err := w.Write(chunk); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond) // two cores are for others, too
			}
		})),
		Entry("never", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })),
	)

	It("where the shadow is first", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		answered := make(chan struct{}, 1)
		w.HTTP("v1", answering(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-answered:
			case <-r.Context().Done():
			}
			_, _ = io.WriteString(w, "the primary's")
		}))
		shadow := w.HTTP("v2")
		w.Route(mirroredToV2)
		s := open(ctx, w)
		go func() {
			defer GinkgoRecover()
			s.stat(ctx, "cluster.shadow.upstream_rq_2xx", 1)
			answered <- struct{}{}
		}()
		answer := w.Get(ctx, "/")
		Expect(answer.Backend).To(Equal("v1"))
		Expect(answer.Body).To(Equal("the primary's"))
		got(shadow, answer.ID)
	})

	It("where the primary fails", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		w.HTTP("v1", answering(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
		shadow := w.HTTP("v2")
		w.Route(mirroredToV2)
		open(ctx, w)
		answer, err := world.NewClient(GinkgoT(), w.URL, false).Send(ctx, world.Request{})
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.Status).To(Equal(http.StatusBadGateway))
		got(shadow, answer.ID)
	})

	It("where the shadow accepts and never reads, however long the body", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		w.HTTP("v1")
		shadow, err := backend.StartStalled()
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(shadow.Stop)
		w.Write("v2.yaml", world.Instance("v2", "backend", "v2", "http", shadow.Port()))
		w.Route(`
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: backend, version: v2}, limits: {maxRequestBodyBytes: 33554432}}
`)
		open(ctx, w)
		unharmed(ctx, w)
		begun := time.Now()
		Expect(w.Send(ctx, world.Request{Method: http.MethodPut, Body: random(20_000_000)}).Backend).To(Equal("v1"))
		Expect(time.Since(begun)).To(BeNumerically("<", 10*time.Second), "it would hang until the copy's 15 s are over")
		Expect(shadow.Connections()).To(BeNumerically(">", 0))
	})

	It("where nobody serves the shadow", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		w.HTTP("v1")
		w.Route(mirroredToV2)
		s := open(ctx, w)
		unharmed(ctx, w)
		s.stat(ctx, "cluster.shadow.upstream_cx_none_healthy", 20)
	})

	It("where the shadow is killed; it gets copies within five seconds of its return", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		w.HTTP("v1")
		shadow := w.HTTP("v2")
		w.Route(mirroredToV2)
		s := open(ctx, w)
		copyOf(shadow, w.Get(ctx, "/").ID)
		shadow.Stop()
		unharmed(ctx, w)
		Eventually(ctx, func(ctx context.Context) (uint64, error) {
			w.Get(ctx, "/")
			return s.envoy.Stat(ctx, "cluster.shadow.upstream_cx_none_healthy")
		}).Should(BeNumerically(">", 5), "it is not even tried any more")
		shadow.Reset()
		Expect(shadow.Restart()).To(Succeed())
		Eventually(func() int {
			w.Get(ctx, "/")
			return shadow.Count()
		}).WithTimeout(5 * time.Second).WithPolling(50 * time.Millisecond).Should(BeNumerically(">", 0))
	})
})

var _ = onEachEnvoy("the limits of a mirror", func(open func(context.Context, *world.World) *scene) {
	DescribeTable("bound the copies in flight: what is over is dropped and counted",
		func(ctx SpecContext, protocol string, waiting int) {
			w := world.New(GinkgoT())
			w.HTTP("v1")
			arrived, release := make(chan struct{}, 10), make(chan struct{})
			shadow := world.StartHTTP(GinkgoT(), "shadow", answering(func(_ http.ResponseWriter, r *http.Request) {
				arrived <- struct{}{}
				select {
				case <-release:
				case <-r.Context().Done():
				}
			}))
			w.Write("shadow.yaml", world.Instance("shadow", "shadow", "v1", protocol, shadow.Port()))
			w.Route(`
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: shadow}, name: shadow, limits: {maxConcurrentRequests: 1}}
`)
			s := open(ctx, w)
			w.Get(ctx, "/")
			Eventually(arrived).Should(Receive())
			for range 9 {
				Expect(w.Get(ctx, "/").Backend).To(Equal("v1"))
			}
			// A copy waits for a connection in use; Envoy's other worker has one of
			// its own, which none of the copies may use.
			Eventually(ctx, s.overflow).Should(BeNumerically(">=", 9-waiting))
			Consistently(shadow.Count).Should(Equal(1))
			dropped, err := s.overflow(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(dropped).To(BeNumerically("<=", 9))

			// Then there is room again.
			close(release)
			Eventually(shadow.Count).Should(BeEquivalentTo(10 - dropped))
			s.stat(ctx, "cluster.shadow.upstream_rq_active", 0)
			next := w.Get(ctx, "/")
			copyOf(shadow, next.ID)
		},
		Entry("HTTP/1.1, where as many again wait for a connection", "http", 1),
		Entry("HTTP/2", "http2", 0),
	)

	DescribeTable("bound how long a copy takes", func(ctx SpecContext, protocol string) {
		w := world.New(GinkgoT())
		w.HTTP("v1")
		ended := make(chan struct{}, 1)
		shadow := world.StartHTTP(GinkgoT(), "shadow", answering(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			ended <- struct{}{}
		}))
		w.Write("shadow.yaml", world.Instance("shadow", "shadow", "v1", protocol, shadow.Port()))
		w.Route(`
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: shadow}, name: shadow, limits: {maxDuration: 0.2s}}
`)
		s := open(ctx, w)
		answer := w.Get(ctx, "/")
		copyOf(shadow, answer.ID)
		Eventually(ended).Should(Receive())
		s.stat(ctx, "cluster.shadow.upstream_rq_max_duration_reached", 1)
		s.stat(ctx, "cluster.shadow.upstream_rq_active", 0)
	},
		Entry("HTTP/1.1", "http"),
		Entry("HTTP/2", "http2"),
	)
})

// overflow is how many copies to the cluster "shadow" Envoy has dropped over its
// limit. Which counter has one depends on the protocol and on whether the worker
// has a connection.
func (s *scene) overflow(ctx context.Context) (uint64, error) {
	stats, err := s.envoy.Stats(ctx)
	return stats["cluster.shadow.upstream_rq_pending_overflow"] + stats["cluster.shadow.upstream_rq_active_overflow"], err
}
