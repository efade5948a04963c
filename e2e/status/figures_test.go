package status_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
)

var _ = onEachEnvoy("what the host says", func(version string) {
	It("is what primary and shadow have counted", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		primary, shadow, other := w.HTTP("v1"), w.HTTP("v2"), w.HTTP("v3")
		entry := func(path, mirrors string) string {
			return fmt.Sprintf("- {match: {path: {prefix: %s}}, destination: {kuma.io/service: backend, version: v1}, %s}\n", path, mirrors)
		}
		to := func(version, name string, percentage float64) string {
			return fmt.Sprintf("{destination: {kuma.io/service: backend, version: %s}, name: %s, percentage: %g}", version, name, percentage)
		}
		w.Route("http:\n" +
			entry("/all", "mirror: "+to("v2", "all", 100)) +
			entry("/half", "mirror: "+to("v2", "half", 50)) +
			entry("/none", "mirror: "+to("v2", "none", 0)) +
			entry("/two", "mirrors: ["+to("v2", "two-a", 30)+", "+to("v3", "two-b", 75)+"]") +
			`destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: backend, version: v3}, percentage: 12.5}
`)
		s := open(ctx, w, version)
		for _, path := range []string{"/all", "/half", "/none", "/two", "/rest"} {
			s.send(ctx, 400, world.Request{Path: path, Method: http.MethodPost, Body: "some"})
		}
		agrees := func(path, prefix string, shadow *backend.HTTP, percentage float64) {
			GinkgoHelper()
			s.figures(ctx, path, func(g Gomega, w status.Window, t status.Total) {
				requests, copies := got(primary, prefix), got(shadow, prefix)
				g.Expect(requests).To(Equal(400))
				g.Expect(copies).To(BeNumerically("~", 4*percentage, 60))
				expected := status.Counts{Requests: uint64(requests), Copies: float64(copies)}
				g.Expect(t.Counts).To(Equal(expected))
				g.Expect(w.Counts).To(Equal(expected))
				g.Expect(w.EffectivePercentage).To(HaveValue(BeNumerically("~", float64(100*copies)/float64(requests), 1e-9)))
				g.Expect(w.RequestsPerSecond).To(BeNumerically("~", float64(requests)/w.Seconds, 1e-9))
				g.Expect(w.PrimaryErrorRate).To(HaveValue(BeZero()))
				g.Expect(w.ShadowErrorRate).To(HaveValue(BeZero()))
				g.Expect(w.PrimaryLatency.Count).To(BeEquivalentTo(requests))
				g.Expect(w.ShadowLatency.Count).To(BeEquivalentTo(copies))
			})
		}
		agrees("conf.http[0].mirror", "/all", shadow, 100)
		agrees("conf.http[1].mirror", "/half", shadow, 50)
		agrees("conf.http[3].mirrors[0]", "/two", shadow, 30)
		agrees("conf.http[3].mirrors[1]", "/two", other, 75)
		agrees("conf.mirror", "/rest", other, 12.5)
		none := s.mirror(Default, "conf.http[2].mirror")
		Expect(none.State).To(Equal(status.Off))
		Expect(none.Window).To(BeNil())
		Expect(got(shadow, "/none")).To(BeZero())
	})

	// shadowed makes a world where requests to /a are copied to the service
	// "shadow" under limits.
	shadowed := func(protocol, limits string, handle http.HandlerFunc) (w *world.World, primary, shadow *backend.HTTP) {
		GinkgoHelper()
		w = world.New(GinkgoT())
		primary = w.HTTP("v1")
		shadow = world.StartHTTP(GinkgoT(), "shadow", func(o *backend.Options) { o.Handle = handle })
		w.Write("shadow.yaml", world.Instance("shadow", "shadow", "v1", protocol, shadow.Port()))
		w.Route(fmt.Sprintf(`
http:
- match: {path: {prefix: /a}}
  destination: {kuma.io/service: backend, version: v1}
  mirror: {destination: {kuma.io/service: shadow}, name: shadow, limits: %s}
destination: {kuma.io/service: backend, version: v1}
`, limits))
		return w, primary, shadow
	}
	const path = "conf.http[0].mirror"

	for _, protocol := range []string{"http", "http2"} {
		Describe("of copies that are dropped, over "+protocol, func() {
			It("has those of bodies that are too long, apart", func(ctx SpecContext) {
				w, primary, shadow := shadowed(protocol, "{maxRequestBodyBytes: 1000}", nil)
				s := open(ctx, w, version)
				for range 4 {
					s.send(ctx, 4, world.Request{Path: "/a", Method: http.MethodPost, Body: strings.Repeat("x", 1001)})
					s.send(ctx, 4, world.Request{Path: "/a", Method: http.MethodPost, Body: strings.Repeat("x", 2000), Chunked: true})
					s.send(ctx, 4, world.Request{Path: "/a", Method: http.MethodPost, Body: strings.Repeat("x", 1000)})
				}
				s.figures(ctx, path, func(g Gomega, w status.Window, t status.Total) {
					g.Expect(got(primary, "/a")).To(Equal(48))
					g.Expect(got(shadow, "/a")).To(Equal(16))
					expected := status.Counts{Requests: 48, Copies: 16, Dropped: status.Dropped{Body: 32}}
					g.Expect(t.Counts).To(Equal(expected))
					g.Expect(w.Counts).To(Equal(expected))
				})
			})

			It("has those of clients that leave in the middle of a body among them", func(ctx SpecContext) {
				w, primary, shadow := shadowed(protocol, "{}", nil)
				s := open(ctx, w, version)
				for i := range 3 {
					client, err := net.Dial("tcp", strings.TrimPrefix(w.URL, "http://"))
					Expect(err).NotTo(HaveOccurred())
					_, err = fmt.Fprint(client, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
					Expect(err).NotTo(HaveOccurred())
					// Both have it: the primary, and the copy's connection.
					for _, stat := range []string{"vhost.backend.route.web_http_0.upstream_rq_total", "cluster.shadow.upstream_rq_total"} {
						Eventually(ctx, func() (uint64, error) { return s.envoy.Stat(ctx, stat) }).Should(BeEquivalentTo(i+1), stat)
					}
					Expect(client.Close()).To(Succeed())
					Eventually(ctx, primary.Count).Should(Equal(i + 1))
				}
				s.figures(ctx, path, func(g Gomega, w status.Window, t status.Total) {
					g.Expect(w.Counts).To(Equal(status.Counts{Requests: 3, Dropped: status.Dropped{Body: 3}}))
					g.Expect(t.Copies).To(BeNumerically("<=", 3), "what has been said is not taken back")
					g.Expect(shadow.Count()).To(BeZero())
				})
			})

			It("has those that are too many at once", func(ctx SpecContext) {
				answer := make(chan struct{})
				w, primary, shadow := shadowed(protocol, "{maxConcurrentRequests: 2}", func(_ http.ResponseWriter, r *http.Request) {
					select {
					case <-answer:
					case <-r.Context().Done():
					}
				})
				s := open(ctx, w, version)
				s.send(ctx, 20, world.Request{Path: "/a"})
				close(answer)
				s.figures(ctx, path, func(g Gomega, _ status.Window, t status.Total) {
					copies := got(shadow, "/a")
					g.Expect(got(primary, "/a")).To(Equal(20))
					g.Expect(copies).To(BeNumerically("<=", 4), "in flight and, over HTTP/1.1, waiting")
					g.Expect(t.Counts).To(Equal(status.Counts{Requests: 20, Copies: float64(copies), Dropped: status.Dropped{Concurrency: float64(20 - copies)}}))
				})
			})

			It("has those that get no answer in time, which did arrive", func(ctx SpecContext) {
				w, _, shadow := shadowed(protocol, "{maxDuration: 0.1s}", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
				s := open(ctx, w, version)
				s.send(ctx, 20, world.Request{Path: "/a", Method: http.MethodPost, Body: "some"})
				s.figures(ctx, path, func(g Gomega, _ status.Window, t status.Total) {
					g.Expect(t.Counts).To(Equal(status.Counts{Requests: 20, Copies: 20, Dropped: status.Dropped{Duration: 20}}))
					g.Expect(got(shadow, "/a")).To(Equal(20))
				})
			})

			It("has those that found nobody, or got no connection", func(ctx SpecContext) {
				w, _, shadow := shadowed(protocol, "{}", nil)
				s := open(ctx, w, version)
				s.send(ctx, 20, world.Request{Path: "/a"})
				s.is(ctx, path, status.Active, "")
				Eventually(ctx, shadow.Count).Should(Equal(20))
				shadow.Stop()
				s.send(ctx, 20, world.Request{Path: "/a"})
				s.figures(ctx, path, func(g Gomega, w status.Window, _ status.Total) {
					g.Expect(w.Requests).To(BeEquivalentTo(40))
					g.Expect(w.Dropped.ConnectionFailure).To(BeNumerically(">=", 1))
					g.Expect(w.Dropped.NoHealthyEndpoint).To(BeNumerically(">=", 1))
					// A connection that Envoy does not yet know to be broken takes
					// a copy or two, and over HTTP/2 Envoy counts one of them twice.
					g.Expect(w.Copies).To(BeNumerically("~", 21, 1))
					g.Expect(w.Copies + w.Dropped.Sum()).To(BeNumerically("~", 41, 1))
				})
				s.send(ctx, 4, world.Request{Path: "/a"})
				s.is(ctx, path, status.Unreachable, "only instance")
				Expect(shadow.Restart()).To(Succeed())
				Eventually(ctx, func(g Gomega) {
					s.send(ctx, 4, world.Request{Path: "/a"})
					g.Expect(s.mirror(g, path).State).To(Equal(status.Active))
				}).Should(Succeed())
			})

			It("has errors and latencies of both sides", func(ctx SpecContext) {
				w, _, shadow := shadowed(protocol, "{}", func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(60 * time.Millisecond)
					switch r.URL.Path {
					case "/a/500":
						w.WriteHeader(http.StatusInternalServerError)
					case "/a/404":
						w.WriteHeader(http.StatusNotFound)
					case "/a/302":
						w.WriteHeader(http.StatusFound)
					case "/a/break":
						panic(http.ErrAbortHandler)
					}
				})
				s := open(ctx, w, version)
				s.send(ctx, 20, world.Request{Path: "/a/500"})
				s.send(ctx, 4, world.Request{Path: "/a/break"}) // with a fifth, Envoy would leave it out
				Eventually(ctx, shadow.Count).Should(Equal(24))
				s.send(ctx, 24, world.Request{Path: "/a"})
				s.send(ctx, 8, world.Request{Path: "/a/404"})
				s.send(ctx, 8, world.Request{Path: "/a/302"})
				s.figures(ctx, path, func(g Gomega, w status.Window, t status.Total) {
					g.Expect(w.Counts).To(Equal(status.Counts{Requests: 64, Copies: 64, ShadowErrors: 24}))
					g.Expect(w.PrimaryAnswers).To(Equal(status.Answers{Success: 64}))
					g.Expect(w.ShadowAnswers).To(Equal(status.Answers{Success: 24, Redirect: 8, ClientError: 8, ServerError: 24}))
					g.Expect(t.ShadowAnswers).To(Equal(w.ShadowAnswers))
					g.Expect(s.mirror(g, path).Note).To(Equal("the shadow answers 5xx to 37.5 % of the copies, the primary to 0 % of the requests"))
					g.Expect(w.ShadowErrorRate).To(HaveValue(BeNumerically("~", 24.0/64)))
					g.Expect(w.PrimaryErrorRate).To(HaveValue(BeZero()))
					g.Expect(w.ShadowLatency).NotTo(BeNil())
					// It answers after 60 ms; what the machine adds to both is no matter.
					g.Expect(w.ShadowLatency.P50).To(BeNumerically(">=", 59))
					g.Expect(w.ShadowLatency.P50 - w.PrimaryLatency.P50).To(BeNumerically(">=", 40))
					g.Expect(got(shadow, "/a")).To(Equal(64))
				})
			})
		})
	}

	It("counts requests that the primary does not take", func(ctx SpecContext) {
		w, primary, shadow := shadowed("http", "{}", nil)
		s := open(ctx, w, version)
		primary.Stop()
		s.send(ctx, 20, world.Request{Path: "/a"})
		s.figures(ctx, path, func(g Gomega, _ status.Window, t status.Total) {
			g.Expect(t.Counts).To(Equal(status.Counts{Requests: 20, Copies: 20, PrimaryErrors: 20}))
			g.Expect(got(shadow, "/a")).To(Equal(20))
		})
	})

	It("shares out what Envoy counts together, and says so", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		primary, shadow := w.HTTP("v1"), w.HTTP("v2")
		w.Route(`
http:
- {match: {path: {prefix: /a}}, destination: {kuma.io/service: backend, version: v1}, mirror: {destination: {kuma.io/service: backend, version: v2}}}
- {match: {path: {prefix: /b}}, destination: {kuma.io/service: backend, version: v1}, mirror: {destination: {kuma.io/service: backend, version: v2}, percentage: 50}}
destination: {kuma.io/service: backend, version: v1}
`)
		s := open(ctx, w, version)
		s.send(ctx, 200, world.Request{Path: "/a"})
		s.send(ctx, 200, world.Request{Path: "/b"})
		var sum float64
		for path, prefix := range map[string]string{"conf.http[0].mirror": "/a", "conf.http[1].mirror": "/b"} {
			s.figures(ctx, path, func(g Gomega, _ status.Window, t status.Total) {
				g.Expect(t.Requests).To(BeEquivalentTo(got(primary, prefix)))
				g.Expect(t.Copies).To(BeNumerically("~", got(shadow, prefix), 30))
			})
			sum += s.mirror(Default, path).Total.Copies
			Expect(s.mirror(Default, path).SharedWith).To(HaveLen(1))
		}
		Expect(sum).To(BeNumerically("~", shadow.Count(), 1e-6))
	})

	It("begins anew with a changed mirror and is right at once", func(ctx SpecContext) {
		w, _, _ := shadowed("http", "{}", nil)
		s := open(ctx, w, version)
		s.send(ctx, 100, world.Request{Path: "/a"})
		s.figures(ctx, path, func(g Gomega, w status.Window, _ status.Total) { g.Expect(w.Copies).To(BeEquivalentTo(100)) })
		w.Route(`
http:
- match: {path: {prefix: /a}}
  destination: {kuma.io/service: backend, version: v1}
  mirror: {destination: {kuma.io/service: shadow}, name: shadow, percentage: 10}
destination: {kuma.io/service: backend, version: v1}
`)
		traffic, stop := context.WithCancel(ctx)
		defer stop()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			client := world.NewClient(GinkgoT(), w.URL, true)
			for traffic.Err() == nil {
				_, _ = client.Send(traffic, world.Request{Path: "/a"})
				time.Sleep(time.Millisecond)
			}
		}()
		Eventually(ctx, func(g Gomega) {
			m := s.mirror(g, path)
			g.Expect(m.Percentage).To(BeEquivalentTo(10))
			g.Expect(m.Window).NotTo(BeNil())
			g.Expect(m.Window.Requests).To(BeNumerically(">", 200))
			g.Expect(m.Window.EffectivePercentage).To(HaveValue(BeNumerically("~", 10, 9)))
		}).Should(Succeed())
		stop()
		<-sent
	})

	It("goes on when Envoy is started again", func(ctx SpecContext) {
		w, primary, shadow := shadowed("http", "{}", nil)
		s := open(ctx, w, version)
		s.send(ctx, 40, world.Request{Path: "/a"})
		s.figures(ctx, path, func(g Gomega, _ status.Window, t status.Total) { g.Expect(t.Copies).To(BeEquivalentTo(40)) })
		s.envoy.Kill()
		s.is(ctx, path, status.NotConnected, "kuma-mirror proxy --dataplane web")
		s.start(ctx)
		s.is(ctx, path, status.Active, "")
		s.send(ctx, 60, world.Request{Path: "/a"})
		s.figures(ctx, path, func(g Gomega, _ status.Window, t status.Total) {
			g.Expect(t.Counts).To(Equal(status.Counts{Requests: uint64(got(primary, "/a")), Copies: float64(got(shadow, "/a"))}))
			g.Expect(t.Copies).To(BeEquivalentTo(100))
		})
	})
})
