package backend_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

// client speaks the given protocols only, and TLS if there is a configuration.
func client(http1, http2 bool, config *tls.Config) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(http1)
	protocols.SetHTTP2(http2 && config != nil)
	protocols.SetUnencryptedHTTP2(http2 && config == nil)
	transport := &http.Transport{Protocols: protocols, TLSClientConfig: config}
	DeferCleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func send(ctx context.Context, c *http.Client, method, url string, body io.Reader) (*http.Response, map[string]any) {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	Expect(err).NotTo(HaveOccurred())
	request.Header.Set("X-Test", "yes")
	response, err := c.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	var answer map[string]any
	Expect(json.NewDecoder(response.Body).Decode(&answer)).To(Succeed())
	return response, answer
}

var _ = Describe("an HTTP backend", func() {
	DescribeTable("says who it is, counts and records",
		func(ctx SpecContext, http1, http2 bool, proto string) {
			b := backend.RunHTTP(backend.Options{Name: "shadow"})
			c := client(http1, http2, nil)
			body := bytes.Repeat([]byte("0123456789"), 20_000)
			sum := sha256.Sum256(body)

			response, answer := send(ctx, c, http.MethodPost, "http://"+b.Address()+"/api/v1?a=b", bytes.NewReader(body))
			Expect(response.Header.Get("X-Backend-Name")).To(Equal("shadow"))
			Expect(response.Header.Get("X-Request-Count")).To(Equal("1"))
			Expect(answer).To(Equal(map[string]any{
				"backend": "shadow", "method": "POST", "path": "/api/v1?a=b", "host": b.Address(), "protocol": proto,
				"body_length": 200_000.0, "body_sha256": hex.EncodeToString(sum[:]), "request_count": 1.0,
			}))

			Expect(b.Requests()).To(HaveLen(1))
			request := b.Requests()[0]
			Expect(request.Header).To(HaveKeyWithValue("X-Test", []string{"yes"}))
			Expect(request.Host).To(Equal(b.Address()))
			Expect(request.Proto).To(Equal(proto))
			Expect(request.BodyLength).To(BeEquivalentTo(200_000))
			Expect(request.Body).To(Equal(body[:64<<10]))
			Expect(request.BodyErr).NotTo(HaveOccurred())

			response, _ = send(ctx, c, http.MethodGet, "http://"+b.Address()+"/", nil)
			Expect(response.Header.Get("X-Request-Count")).To(Equal("2"))
			b.Reset()
			Expect(b.Count()).To(BeZero())
			Expect(b.Requests()).To(BeEmpty())
		},
		Entry("over HTTP/1.1", true, false, "HTTP/1.1"),
		Entry("over HTTP/2", false, true, "HTTP/2.0"),
	)

	It("tells chunked bodies and bodies that end early", func(ctx SpecContext) {
		b := backend.RunHTTP(backend.Options{Name: "primary"})
		// Of unknown length to the client, hence chunked.
		send(ctx, client(true, false, nil), http.MethodPut, "http://"+b.Address(), io.MultiReader(strings.NewReader("abc")))
		Expect(b.Requests()[0].TransferEncoding).To(Equal([]string{"chunked"}))
		Expect(string(b.Requests()[0].Body)).To(Equal("abc"))

		connection, err := net.Dial("tcp", b.Address())
		Expect(err).NotTo(HaveOccurred())
		_, err = io.WriteString(connection, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
		Expect(err).NotTo(HaveOccurred())
		Expect(connection.Close()).To(Succeed())
		Eventually(b.Count).Should(Equal(2))
		Expect(b.Requests()[1].BodyErr).To(MatchError(io.ErrUnexpectedEOF))
		Expect(b.Requests()[1].BodyLength).To(BeEquivalentTo(3))
	})

	It("answers as it is told to", func(ctx SpecContext) {
		b := backend.RunHTTP(backend.Options{Name: "primary", Handle: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, `{"own": true}`)
		}})
		response, answer := send(ctx, client(true, false, nil), http.MethodGet, "http://"+b.Address(), nil)
		Expect(response).To(And(HaveHTTPStatus(http.StatusTeapot), HaveHTTPHeaderWithValue("X-Backend-Name", "primary")))
		Expect(answer).To(HaveKeyWithValue("own", true))
		Expect(b.Count()).To(Equal(1))
	})

	DescribeTable("goes away at once and comes back on the same port",
		func(ctx SpecContext, http1, http2 bool) {
			arrived := make(chan struct{}, 1)
			b := backend.RunHTTP(backend.Options{Name: "shadow", Handle: func(_ http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/hang" {
					arrived <- struct{}{}
					<-r.Context().Done()
				}
			}})
			c := client(http1, http2, nil)
			url := "http://" + b.Address()

			hanging := make(chan error, 1)
			go func() {
				response, err := c.Get(url + "/hang")
				if err == nil {
					_ = response.Body.Close()
				}
				hanging <- err
			}()
			Eventually(arrived).Should(Receive())
			b.Stop()
			Eventually(hanging).Should(Receive(HaveOccurred()))
			_, err := c.Get(url)
			Expect(err).To(HaveOccurred())

			Expect(b.Restart()).To(Succeed())
			response, err := c.Get(url)
			Expect(err).NotTo(HaveOccurred())
			Expect(response.Body.Close()).To(Succeed())
			Expect(b.Count()).To(Equal(2), "the requests from before are still known")
		},
		Entry("over HTTP/1.1", true, false),
		Entry("over HTTP/2", false, true),
	)

	DescribeTable("speaks TLS to those who ask for its name",
		func(ctx SpecContext, http1, http2 bool, proto string) {
			ca, err := backend.NewCA()
			Expect(err).NotTo(HaveOccurred())
			config, err := ca.ServerConfig("shadow.example.com")
			Expect(err).NotTo(HaveOccurred())
			b := backend.RunHTTP(backend.Options{Name: "external", TLS: config})

			ask := &tls.Config{RootCAs: ca.Pool(), ServerName: "shadow.example.com"}
			_, answer := send(ctx, client(http1, http2, ask), http.MethodGet, "https://"+b.Address(), nil)
			Expect(answer).To(HaveKeyWithValue("protocol", proto))
			Expect(b.Requests()[0].ServerName).To(Equal("shadow.example.com"))

			other := &tls.Config{RootCAs: ca.Pool(), ServerName: "other.example.com"}
			_, err = client(http1, http2, other).Get("https://" + b.Address())
			Expect(err).To(MatchError(ContainSubstring("tls:")))
			Expect(b.Count()).To(Equal(1))
		},
		Entry("over HTTP/1.1", true, false, "HTTP/1.1"),
		Entry("over HTTP/2", false, true, "HTTP/2.0"),
	)
})

var _ = Describe("a CA", func() {
	It("issues certificates for names and addresses, to servers and clients", func() {
		ca, err := backend.NewCA()
		Expect(err).NotTo(HaveOccurred())
		certPEM, keyPEM, err := ca.Issue("a.example.com", "127.0.0.1")
		Expect(err).NotTo(HaveOccurred())
		pair, err := tls.X509KeyPair(certPEM, keyPEM)
		Expect(err).NotTo(HaveOccurred())
		roots := x509.NewCertPool()
		Expect(roots.AppendCertsFromPEM(ca.PEM())).To(BeTrue())
		for _, name := range []string{"a.example.com", "127.0.0.1"} {
			_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
			Expect(err).NotTo(HaveOccurred())
		}
		_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "b.example.com"})
		Expect(err).To(HaveOccurred())
	})
})

var _ = Describe("a gRPC backend", func() {
	dial := func(b *backend.GRPC, transport credentials.TransportCredentials) *grpc.ClientConn {
		GinkgoHelper()
		connection, err := grpc.NewClient(b.Address(), grpc.WithTransportCredentials(transport))
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(connection.Close)
		return connection
	}
	payload := func(text string) *testpb.Payload { return &testpb.Payload{Body: []byte(text)} }

	It("answers and records unary calls", func(ctx SpecContext) {
		b := backend.RunGRPC(backend.Options{Name: "primary"})
		service := testpb.NewTestServiceClient(dial(b, insecure.NewCredentials()))

		var header metadata.MD
		response, err := service.UnaryCall(
			metadata.AppendToOutgoingContext(ctx, "x-test", "yes"), &testpb.SimpleRequest{Payload: payload("hello")}, grpc.Header(&header))
		Expect(err).NotTo(HaveOccurred())
		Expect(response.GetServerId()).To(Equal("primary"))
		Expect(string(response.GetPayload().GetBody())).To(Equal("hello"))
		Expect(header.Get("x-backend-name")).To(Equal([]string{"primary"}))

		Expect(b.Count()).To(Equal(1))
		call := b.Calls()[0]
		Expect(call.Method).To(Equal("/grpc.testing.TestService/UnaryCall"))
		Expect(call.Authority).To(Equal(b.Address()))
		Expect(call.Metadata.Get("x-test")).To(Equal([]string{"yes"}))
		Expect(call.Messages).To(HaveLen(1))
		Expect(call.Err).NotTo(HaveOccurred())
		b.Reset()
		Expect(b.Count()).To(BeZero())

		_, err = service.EmptyCall(ctx, &testpb.Empty{})
		Expect(err).NotTo(HaveOccurred())
	})

	It("streams in both directions", func(ctx SpecContext) {
		b := backend.RunGRPC(backend.Options{Name: "primary"})
		service := testpb.NewTestServiceClient(dial(b, insecure.NewCredentials()))

		both, err := service.FullDuplexCall(ctx)
		Expect(err).NotTo(HaveOccurred())
		for _, text := range []string{"one", "two", "three"} {
			Expect(both.Send(&testpb.StreamingOutputCallRequest{Payload: payload(text)})).To(Succeed())
			response, err := both.Recv()
			Expect(err).NotTo(HaveOccurred())
			Expect(string(response.GetPayload().GetBody())).To(Equal(text))
		}
		Expect(both.CloseSend()).To(Succeed())
		_, err = both.Recv()
		Expect(err).To(MatchError(io.EOF))
		Expect(b.Calls()).To(HaveLen(1))
		Expect(b.Calls()[0].Messages).To(HaveLen(3))

		in, err := service.StreamingInputCall(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(in.Send(&testpb.StreamingInputCallRequest{Payload: payload("12345")})).To(Succeed())
		Expect(in.Send(&testpb.StreamingInputCallRequest{Payload: payload("678")})).To(Succeed())
		sum, err := in.CloseAndRecv()
		Expect(err).NotTo(HaveOccurred())
		Expect(sum.GetAggregatedPayloadSize()).To(BeEquivalentTo(8))

		out, err := service.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{
			ResponseParameters: []*testpb.ResponseParameters{{Size: 1}, {Size: 2}},
		})
		Expect(err).NotTo(HaveOccurred())
		var sizes []int
		for {
			response, err := out.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			Expect(err).NotTo(HaveOccurred())
			sizes = append(sizes, len(response.GetPayload().GetBody()))
		}
		Expect(sizes).To(Equal([]int{1, 2}))
		Expect(b.Count()).To(Equal(3))
	})

	It("records a stream that its client leaves", func(ctx SpecContext) {
		b := backend.RunGRPC(backend.Options{Name: "shadow"})
		service := testpb.NewTestServiceClient(dial(b, insecure.NewCredentials()))
		leave, cancel := context.WithCancel(ctx)
		both, err := service.FullDuplexCall(leave)
		Expect(err).NotTo(HaveOccurred())
		Expect(both.Send(&testpb.StreamingOutputCallRequest{Payload: payload("one")})).To(Succeed())
		_, err = both.Recv()
		Expect(err).NotTo(HaveOccurred())
		cancel()
		Eventually(b.Count).Should(Equal(1))
		Expect(b.Calls()[0].Err).To(HaveOccurred())
		Expect(b.Calls()[0].Messages).To(HaveLen(1))
	})

	It("is healthy, goes away and comes back on the same port", func(ctx SpecContext) {
		b := backend.RunGRPC(backend.Options{Name: "primary"})
		health := healthpb.NewHealthClient(dial(b, insecure.NewCredentials()))
		response, err := health.Check(ctx, &healthpb.HealthCheckRequest{})
		Expect(err).NotTo(HaveOccurred())
		Expect(response.GetStatus()).To(Equal(healthpb.HealthCheckResponse_SERVING))

		b.Stop()
		_, err = health.Check(ctx, &healthpb.HealthCheckRequest{})
		Expect(err).To(HaveOccurred())

		Expect(b.Restart()).To(Succeed())
		_, err = health.Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
		Expect(err).NotTo(HaveOccurred())
	})

	It("speaks TLS to those who ask for its name", func(ctx SpecContext) {
		ca, err := backend.NewCA()
		Expect(err).NotTo(HaveOccurred())
		config, err := ca.ServerConfig("grpc.example.com")
		Expect(err).NotTo(HaveOccurred())
		b := backend.RunGRPC(backend.Options{Name: "external", TLS: config})

		ask := credentials.NewTLS(&tls.Config{RootCAs: ca.Pool(), ServerName: "grpc.example.com"})
		_, err = testpb.NewTestServiceClient(dial(b, ask)).UnaryCall(ctx, &testpb.SimpleRequest{})
		Expect(err).NotTo(HaveOccurred())
		Expect(b.Calls()[0].ServerName).To(Equal("grpc.example.com"))
	})
})

var _ = Describe("a stalled backend", func() {
	It("accepts connections and never answers", func() {
		b := backend.RunStalled()
		connection, err := net.Dial("tcp", b.Address())
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = connection.Close() }()
		Eventually(b.Connections).Should(Equal(1))

		// Sooner or later the buffers of both ends are full.
		Expect(connection.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))).To(Succeed())
		_, err = io.CopyN(connection, zeros{}, 1<<30)
		var timeout net.Error
		Expect(errors.As(err, &timeout) && timeout.Timeout()).To(BeTrue(), "%v", err)

		b.Stop()
		_, err = net.Dial("tcp", b.Address())
		Expect(err).To(HaveOccurred())
	})
})

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
