package impact_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/kuma-mirror/kuma-mirror/generator"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
	"github.com/kuma-mirror/kuma-mirror/internal/impact"
)

// stand is an Envoy between a client, a primary and a healthy shadow that
// records what it gets.
type stand struct {
	envoy  *envoytest.Envoy
	shadow *backend.HTTP
	// trailers are those of the copies, in turn.
	trailers chan http.Header
	// The listeners in front of the primary.
	http, grpc string
}

// standFor starts an Envoy in front of a primary at the port. change may be nil.
func standFor(ctx context.Context, version string, primary uint32, protocol impact.Protocol, limits generator.Limits, change func(*bootstrapv3.Bootstrap)) *stand {
	GinkgoHelper()
	s := &stand{trailers: make(chan http.Header, 16)}
	s.shadow = backend.RunHTTP(backend.Options{Name: "shadow", Handle: func(_ http.ResponseWriter, r *http.Request) {
		select {
		case s.trailers <- r.Trailer.Clone():
		default: // nobody asks for so many
		}
	}})
	ports := envoytest.FreePorts(4)
	bootstrap, err := impact.Bootstrap(ctx, impact.Setup{
		HTTP: ports[0], GRPC: ports[1], Direct: ports[2], Admin: ports[3],
		PrimaryHTTP: primary, PrimaryGRPC: primary, Shadow: s.shadow.Port(),
		Protocol: protocol, Protections: true, Limits: limits,
	})
	Expect(err).NotTo(HaveOccurred())
	if change != nil {
		change(bootstrap)
	}
	s.envoy = envoytest.Run(ctx, envoytest.Options{Binary: envoytest.Binary(version), Bootstrap: bootstrap})
	s.http, s.grpc = fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	return s
}

func (s *stand) connect() net.Conn {
	GinkgoHelper()
	conn, err := net.DialTimeout("tcp", s.http, 5*time.Second)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { _ = conn.Close() })
	Expect(conn.SetDeadline(time.Now().Add(10 * time.Second))).To(Succeed())
	return conn
}

// ask sends text as it is and returns the answer, whose body has been read.
func ask(conn net.Conn, method, text string) (*http.Response, string) {
	GinkgoHelper()
	_, err := io.WriteString(conn, text)
	Expect(err).NotTo(HaveOccurred())
	return answer(bufio.NewReader(conn), method)
}

func answer(r *bufio.Reader, method string) (*http.Response, string) {
	GinkgoHelper()
	response, err := http.ReadResponse(r, &http.Request{Method: method})
	Expect(err).NotTo(HaveOccurred())
	body, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	return response, string(body)
}

func (s *stand) stat(ctx context.Context, name string) uint64 {
	GinkgoHelper()
	n, err := s.envoy.Stat(ctx, name)
	Expect(err).NotTo(HaveOccurred())
	return n
}

// copiesInFlight is Envoy's gauge of them.
func (s *stand) copiesInFlight(ctx context.Context) (uint64, error) {
	return s.envoy.Stat(ctx, "cluster.shadow.upstream_rq_active")
}

// got waits until the shadow has a request and returns all it has.
func (s *stand) got() []backend.Request {
	GinkgoHelper()
	Eventually(s.shadow.Count, 5*time.Second, 10*time.Millisecond).Should(BeNumerically(">", 0), "the copy should arrive")
	return s.shadow.Requests()
}

// gotNothing waits until no copy is in flight any more.
func (s *stand) gotNothing(ctx context.Context) {
	GinkgoHelper()
	Eventually(ctx, s.copiesInFlight, 5*time.Second, 10*time.Millisecond).Should(BeZero())
	Expect(s.shadow.Count()).To(BeZero(), "the shadow has got: %v", s.shadow.Requests())
}

// brokeOff is gotNothing of one copy, which is counted where docs/impact.md says:
// by which counter depends on whether there was a connection already.
func (s *stand) brokeOff(ctx context.Context) {
	GinkgoHelper()
	s.gotNothing(ctx)
	Eventually(ctx, func() (dropped uint64) {
		for _, name := range []string{"upstream_rq_cancelled", "upstream_rq_tx_reset", "upstream_cx_destroy_local_with_active_rq"} {
			dropped += s.stat(ctx, "cluster.shadow."+name)
		}
		return dropped
	}, 5*time.Second, 10*time.Millisecond).Should(BeEquivalentTo(1))
}

// served starts an HTTP/1.1 and HTTP/2 primary and returns its port.
func served(handler http.HandlerFunc) uint32 {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: handler, Protocols: protocols}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	DeferCleanup(func() {
		_ = server.Close()
		<-done
	})
	return uint32(listener.Addr().(*net.TCPAddr).Port)
}

// ok answers when the whole request has arrived.
func ok(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	w.Header().Set("Trailer", "X-Sum")
	_, _ = fmt.Fprintf(w, "%d", len(body))
	w.Header().Set("X-Sum", "of-answer")
}

const upgrade = "GET /chat HTTP/1.1\r\nHost: lab\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

// chat agrees to an upgrade and sends back what comes.
func chat(w http.ResponseWriter, _ *http.Request) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_, _ = io.Copy(conn, buffered)
}

// say sends text and waits until it has come back.
func say(w io.Writer, r io.Reader, text string) {
	GinkgoHelper()
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(w, text)
		sent <- err
	}()
	back := make([]byte, len(text))
	_, err := io.ReadFull(r, back)
	Expect(err).NotTo(HaveOccurred())
	Expect(string(back) == text).To(BeTrue(), "what comes back is what was sent")
	Expect(<-sent).NotTo(HaveOccurred())
}

// The table "What streams get" of docs/impact.md says what is seen here.
var _ = onEachEnvoy("what streams get", func(version string) {
	limits := generator.DefaultLimits
	short := limits
	short.MaxDuration = 500 * time.Millisecond
	shortened := func(ctx context.Context, s *stand) {
		GinkgoHelper()
		Eventually(func() (uint64, error) { return s.envoy.Stat(ctx, "cluster.shadow.upstream_rq_max_duration_reached") },
			5*time.Second, 10*time.Millisecond).Should(BeNumerically(">", 0), "the copy should be ended after maxDuration")
	}

	for _, protocol := range impact.Protocols {
		Context("with a shadow of "+string(protocol), func() {
			It("a body over the limit arrives at the primary alone", func(ctx SpecContext) {
				s := standFor(ctx, version, served(ok), protocol, limits, nil)
				large := strings.Repeat("x", int(limits.MaxRequestBodyBytes)+1)
				_, body := ask(s.connect(), http.MethodPost, fmt.Sprintf("POST / HTTP/1.1\r\nHost: lab\r\nContent-Length: %d\r\n\r\n%s", len(large), large))
				Expect(body).To(Equal(fmt.Sprint(len(large))))
				s.brokeOff(ctx)
			})

			It("a body of exactly the limit arrives whole at both", func(ctx SpecContext) {
				s := standFor(ctx, version, served(ok), protocol, limits, nil)
				large := strings.Repeat("x", int(limits.MaxRequestBodyBytes))
				_, body := ask(s.connect(), http.MethodPost, fmt.Sprintf("POST / HTTP/1.1\r\nHost: lab\r\nContent-Length: %d\r\n\r\n%s", len(large), large))
				Expect(body).To(Equal(fmt.Sprint(len(large))))
				Expect(s.got()).To(HaveExactElements(And(HaveField("BodyLength", BeEquivalentTo(len(large))), HaveField("BodyErr", BeNil()))))
			})

			It("a chunked body arrives with its length", func(ctx SpecContext) {
				s := standFor(ctx, version, served(ok), protocol, limits, nil)
				_, body := ask(s.connect(), http.MethodPost, "POST / HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
				Expect(body).To(Equal("5"))
				got := s.got()[0]
				Expect(string(got.Body)).To(Equal("hello"))
				Expect(got.TransferEncoding).To(BeEmpty())
				Expect(got.Header.Get("Content-Length")).To(Equal("5"))
			})

			It("Expect: 100-continue is answered by Envoy, and the copy comes without it", func(ctx SpecContext) {
				s := standFor(ctx, version, served(ok), protocol, limits, nil)
				conn := s.connect()
				r := bufio.NewReader(conn)
				_, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: lab\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
				Expect(err).NotTo(HaveOccurred())
				Expect(r.ReadString('\n')).To(HavePrefix("HTTP/1.1 100"))
				Expect(r.ReadString('\n')).To(Equal("\r\n"))
				_, err = io.WriteString(conn, "hello")
				Expect(err).NotTo(HaveOccurred())
				_, body := answer(r, http.MethodPost)
				Expect(body).To(Equal("5"))
				got := s.got()[0]
				Expect(string(got.Body)).To(Equal("hello"))
				Expect(got.Header).NotTo(HaveKey("Expect"))
			})

			It("HEAD arrives as HEAD", func(ctx SpecContext) {
				s := standFor(ctx, version, served(ok), protocol, limits, nil)
				response, _ := ask(s.connect(), http.MethodHead, "HEAD / HTTP/1.1\r\nHost: lab\r\n\r\n")
				Expect(response.StatusCode).To(Equal(http.StatusOK))
				Expect(s.got()).To(HaveExactElements(HaveField("Method", http.MethodHead)))
			})

			It("trailers reach an HTTP/2 client, and an HTTP/2 shadow", func(ctx SpecContext) {
				s := standFor(ctx, version, served(ok), protocol, limits, nil)
				transport := &http.Transport{Protocols: new(http.Protocols)}
				transport.Protocols.SetUnencryptedHTTP2(true)
				DeferCleanup(transport.CloseIdleConnections)
				request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.grpc+"/", io.NopCloser(strings.NewReader("hello")))
				Expect(err).NotTo(HaveOccurred())
				request.Trailer = http.Header{"X-Sum": {"of-request"}}
				response, err := transport.RoundTrip(request)
				Expect(err).NotTo(HaveOccurred())
				body, err := io.ReadAll(response.Body)
				Expect(err).NotTo(HaveOccurred())
				Expect(response.Body.Close()).To(Succeed())
				Expect(string(body)).To(Equal("5"))
				Expect(response.Trailer).To(HaveKeyWithValue("X-Sum", []string{"of-answer"}))
				Expect(string(s.got()[0].Body)).To(Equal("hello"))
				var trailer http.Header
				Eventually(ctx, s.trailers, 5*time.Second).Should(Receive(&trailer))
				if protocol == impact.HTTP2 {
					Expect(trailer).To(HaveKeyWithValue("X-Sum", []string{"of-request"}))
				} else {
					Expect(trailer.Get("X-Sum")).To(BeEmpty(), "Envoy writes no trailers to HTTP/1.1 by default")
				}
			})

			It("an early answer of the primary reaches the client, and no half copy the shadow", func(ctx SpecContext) {
				s := standFor(ctx, version, served(func(w http.ResponseWriter, _ *http.Request) {
					// Or the server would read the body first.
					_ = http.NewResponseController(w).EnableFullDuplex()
					w.WriteHeader(http.StatusRequestEntityTooLarge)
				}), protocol, limits, nil)
				response, _ := ask(s.connect(), http.MethodPost, "POST / HTTP/1.1\r\nHost: lab\r\nContent-Length: 500000\r\n\r\nhalf of")
				Expect(response.StatusCode).To(Equal(http.StatusRequestEntityTooLarge))
				s.brokeOff(ctx)
			})

			It("a client that leaves in the middle of its request leaves no half copy", func(ctx SpecContext) {
				arrived := make(chan struct{})
				s := standFor(ctx, version, served(func(_ http.ResponseWriter, r *http.Request) {
					_, _ = r.Body.Read(make([]byte, 1))
					close(arrived)
					_, _ = io.Copy(io.Discard, r.Body)
				}), protocol, limits, nil)
				conn := s.connect()
				_, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: lab\r\nContent-Length: 500000\r\n\r\nhalf of")
				Expect(err).NotTo(HaveOccurred())
				Eventually(ctx, arrived, 5*time.Second).Should(BeClosed())
				Expect(conn.Close()).To(Succeed())
				s.brokeOff(ctx)
			})

			It("a client that does not wait for the answer has its copy delivered", func(ctx SpecContext) {
				arrived := make(chan struct{})
				s := standFor(ctx, version, served(func(_ http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					close(arrived)
					<-r.Context().Done()
				}), protocol, limits, nil)
				conn := s.connect()
				_, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: lab\r\nContent-Length: 5\r\n\r\nhello")
				Expect(err).NotTo(HaveOccurred())
				Eventually(ctx, arrived, 5*time.Second).Should(BeClosed())
				Expect(conn.Close()).To(Succeed())
				Expect(string(s.got()[0].Body)).To(Equal("hello"))
			})

			It("server-sent events go on for the client after the copy has ended", func(ctx SpecContext) {
				next := make(chan struct{})
				s := standFor(ctx, version, served(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream")
					for i := range 3 {
						_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
						_ = http.NewResponseController(w).Flush()
						select {
						case <-next:
						case <-r.Context().Done():
							return
						}
					}
				}), protocol, short, nil)
				conn := s.connect()
				_, err := io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: lab\r\n\r\n")
				Expect(err).NotTo(HaveOccurred())
				response, err := http.ReadResponse(bufio.NewReader(conn), nil)
				Expect(err).NotTo(HaveOccurred())
				events := bufio.NewReader(response.Body)
				for i := range 3 {
					Expect(events.ReadString('\n')).To(Equal(fmt.Sprintf("data: %d\n", i)))
					Expect(events.ReadString('\n')).To(Equal("\n"))
					if i == 0 {
						Expect(s.got()).To(HaveExactElements(HaveField("Path", "/events")))
						Eventually(ctx, s.copiesInFlight, 5*time.Second, 10*time.Millisecond).Should(BeZero())
					}
					next <- struct{}{}
				}
				Expect(events.ReadString('\n')).Error().To(MatchError(io.EOF))
			})

			It("a WebSocket works for the client, past maxDuration and the body limit, and is never mirrored", func(ctx SpecContext) {
				s := standFor(ctx, version, served(chat), protocol, short, nil)
				conn := s.connect()
				response, r := upgraded(conn)
				Expect(response.StatusCode).To(Equal(http.StatusSwitchingProtocols))
				say(conn, r, "hello")
				shortened(ctx, s)
				say(conn, r, strings.Repeat("x", 2<<20))
				s.gotNothing(ctx)
			})

			It("a WebSocket over the body limit before maxDuration works as well", func(ctx SpecContext) {
				s := standFor(ctx, version, served(chat), protocol, limits, nil)
				conn := s.connect()
				_, r := upgraded(conn)
				say(conn, r, strings.Repeat("x", 2<<20))
				s.gotNothing(ctx)
				say(conn, r, "hello")
			})

			It("a WebSocket survives a shadow that gets it (maxRequestBodyBytes: 0) and declines", func(ctx SpecContext) {
				streaming := short
				streaming.MaxRequestBodyBytes = 0
				s := standFor(ctx, version, served(chat), protocol, streaming, nil)
				conn := s.connect()
				_, r := upgraded(conn)
				say(conn, r, "hello")
				Eventually(ctx, s.copiesInFlight, 5*time.Second, 10*time.Millisecond).Should(BeZero())
				say(conn, r, strings.Repeat("x", 2<<20))
			})
		})
	}

	Context("with gRPC", func() {
		var (
			s       *stand
			primary *backend.GRPC
			client  testpb.TestServiceClient
		)
		start := func(ctx context.Context, limits generator.Limits) {
			GinkgoHelper()
			primary = backend.RunGRPC(backend.Options{Name: "primary"})
			s = standFor(ctx, version, primary.Port(), impact.HTTP2, limits, nil)
			conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(conn.Close)
			client = testpb.NewTestServiceClient(conn)
		}
		payload := func(n int) *testpb.Payload { return &testpb.Payload{Body: make([]byte, n)} }

		It("a client stream is copied when the client has ended it, in one piece", func(ctx SpecContext) {
			start(ctx, limits)
			stream, err := client.StreamingInputCall(ctx)
			Expect(err).NotTo(HaveOccurred())
			for range 5 {
				Expect(stream.Send(&testpb.StreamingInputCallRequest{Payload: payload(1000)})).To(Succeed())
			}
			Eventually(ctx, s.copiesInFlight, 5*time.Second, 10*time.Millisecond).Should(BeEquivalentTo(1))
			Expect(s.shadow.Count()).To(BeZero(), "the stream is still open")
			answer, err := stream.CloseAndRecv()
			Expect(err).NotTo(HaveOccurred())
			Expect(answer.GetAggregatedPayloadSize()).To(BeEquivalentTo(5000))
			Expect(s.got()).To(HaveExactElements(And(
				HaveField("Path", "/grpc.testing.TestService/StreamingInputCall"), HaveField("BodyLength", BeNumerically(">", 5000)))))
		})

		It("a client stream over the body limit is not copied", func(ctx SpecContext) {
			start(ctx, limits)
			stream, err := client.StreamingInputCall(ctx)
			Expect(err).NotTo(HaveOccurred())
			for range 20 {
				Expect(stream.Send(&testpb.StreamingInputCallRequest{Payload: payload(100_000)})).To(Succeed())
			}
			answer, err := stream.CloseAndRecv()
			Expect(err).NotTo(HaveOccurred())
			Expect(answer.GetAggregatedPayloadSize()).To(BeEquivalentTo(2_000_000))
			s.gotNothing(ctx)
		})

		It("a stream to and fro works message by message, and is copied when the client has ended it", func(ctx SpecContext) {
			start(ctx, limits)
			stream, err := client.FullDuplexCall(ctx)
			Expect(err).NotTo(HaveOccurred())
			for i := range 5 {
				Expect(stream.Send(&testpb.StreamingOutputCallRequest{Payload: payload(i + 1)})).To(Succeed())
				answer, err := stream.Recv()
				Expect(err).NotTo(HaveOccurred())
				Expect(answer.GetPayload().GetBody()).To(HaveLen(i + 1))
			}
			Expect(s.shadow.Count()).To(BeZero(), "the stream is still open")
			Expect(stream.CloseSend()).To(Succeed())
			Expect(stream.Recv()).Error().To(MatchError(io.EOF))
			Expect(s.got()).To(HaveLen(1))
		})

		It("a stream that outlives maxDuration goes on for the client, and is never copied", func(ctx SpecContext) {
			start(ctx, short)
			stream, err := client.FullDuplexCall(ctx)
			Expect(err).NotTo(HaveOccurred())
			exchange := func() {
				GinkgoHelper()
				Expect(stream.Send(&testpb.StreamingOutputCallRequest{Payload: payload(10)})).To(Succeed())
				Expect(stream.Recv()).To(HaveField("Payload.Body", HaveLen(10)))
			}
			exchange()
			shortened(ctx, s)
			exchange()
			Expect(stream.CloseSend()).To(Succeed())
			Expect(stream.Recv()).Error().To(MatchError(io.EOF))
			s.gotNothing(ctx)
		})

		It("a server stream comes whole, and the request is copied at once", func(ctx SpecContext) {
			start(ctx, limits)
			stream, err := client.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{
				ResponseParameters: []*testpb.ResponseParameters{{Size: 10}, {Size: 200_000}, {Size: 10}},
			})
			Expect(err).NotTo(HaveOccurred())
			for _, size := range []int{10, 200_000, 10} {
				Expect(stream.Recv()).To(HaveField("Payload.Body", HaveLen(size)))
			}
			Expect(stream.Recv()).Error().To(MatchError(io.EOF))
			Expect(s.got()).To(HaveLen(1))
		})
	})
})

// upgraded asks for a WebSocket and returns what to read from then on.
func upgraded(conn net.Conn) (*http.Response, *bufio.Reader) {
	GinkgoHelper()
	_, err := io.WriteString(conn, upgrade)
	Expect(err).NotTo(HaveOccurred())
	r := bufio.NewReader(conn)
	response, err := http.ReadResponse(r, nil)
	Expect(err).NotTo(HaveOccurred())
	return response, r
}
