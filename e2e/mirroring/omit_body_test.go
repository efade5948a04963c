package mirroring_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

// wire is an HTTP/1.1 server that keeps every byte it gets, and takes each empty
// line for the end of a request.
type wire struct {
	port uint32

	mu  sync.Mutex
	got []byte
}

func startWire() *wire {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	w := &wire{port: uint32(listener.Addr().(*net.TCPAddr).Port)}
	DeferCleanup(listener.Close)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go w.serve(connection)
		}
	}()
	return w
}

// serve ends with its connection, which Envoy closes when it ends.
func (w *wire) serve(connection net.Conn) {
	defer func() { _ = connection.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := connection.Read(buffer)
		w.mu.Lock()
		w.got = append(w.got, buffer[:n]...)
		w.mu.Unlock()
		if err != nil {
			return
		}
		for range bytes.Count(buffer[:n], []byte("\r\n\r\n")) {
			_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
		}
	}
}

func (w *wire) bytes() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.got)
}

// exchange sends a request byte by byte as it is written, and waits for the
// primary's answer.
func exchange(ctx context.Context, w *world.World, request string) {
	GinkgoHelper()
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(w.URL, "http://"))
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = connection.Close() }()
	_, err = io.WriteString(connection, request)
	Expect(err).NotTo(HaveOccurred())
	reader := bufio.NewReader(connection)
	for {
		answer, err := http.ReadResponse(reader, nil)
		Expect(err).NotTo(HaveOccurred())
		if answer.StatusCode != http.StatusContinue {
			Expect(answer.StatusCode).To(Equal(http.StatusOK))
			return
		}
	}
}

const smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"

// withBodies are requests that a copy without a body could get wrong.
var withBodies = []TableEntry{
	Entry("without a body", "GET /a HTTP/1.1\r\nhost: a\r\n\r\n", "", ""),
	Entry("with an empty body", "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", "", "0"),
	Entry("with a length", "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello", "hello", "0"),
	Entry("in chunks, with a trailer",
		"PUT /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\nx-end: 1\r\n\r\n", "hello!", "0"),
	Entry("that is expected", "POST /a HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello", "hello", "0"),
	Entry("that is a request itself", fmt.Sprintf("POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%s", len(smuggled), smuggled), smuggled, "0"),
	Entry("in a method that rarely has one", "GET /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello", "hello", "0"),
}

var _ = onEachEnvoy("a copy without a body", func(open func(context.Context, *world.World) *scene) {
	// begin starts everything for a shadow at a port.
	begin := func(ctx context.Context, protocol string, port uint32) (*scene, *backend.HTTP) {
		GinkgoHelper()
		w := world.New(GinkgoT())
		primary := w.HTTP("v1")
		w.Write("shadow.yaml", world.Instance("shadow", "shadow", "v1", protocol, port))
		w.Route(`
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: shadow}, name: shadow, body: omit}
`)
		return open(ctx, w), primary
	}

	DescribeTable("is one whole request on the wire of HTTP/1.1, of a request", func(ctx SpecContext, request, body, length string) {
		shadow := startWire()
		s, primary := begin(ctx, "http", shadow.port)
		exchange(ctx, s.World, request)
		exchange(ctx, s.World, "GET /next HTTP/1.1\r\nhost: a\r\n\r\n")
		Expect(string(primary.Requests()[0].Body)).To(Equal(body), "the primary gets the body")

		s.stat(ctx, "cluster.shadow.upstream_rq_completed", 2)
		reader := bufio.NewReader(strings.NewReader(shadow.bytes()))
		var paths []string
		for range 2 {
			got, err := http.ReadRequest(reader)
			Expect(err).NotTo(HaveOccurred(), shadow.bytes())
			paths = append(paths, got.URL.Path)
			Expect(got.TransferEncoding).To(BeEmpty())
			Expect(got.Trailer).To(BeEmpty())
			Expect(got.Header).NotTo(HaveKey("Expect"))
			if got.URL.Path == "/a" {
				Expect(got.Method).To(Equal(request[:strings.Index(request, " ")]))
				Expect(got.Header.Get("Content-Length")).To(Equal(length))
			}
		}
		// Two connections may have brought them in any order.
		Expect(paths).To(ConsistOf("/a", "/next"))
		rest, err := io.ReadAll(reader)
		Expect(err).NotTo(HaveOccurred())
		Expect(rest).To(BeEmpty(), "nothing follows the two requests")
		s.stat(ctx, "cluster.shadow.upstream_cx_destroy_local_with_active_rq", 0)
	}, withBodies)

	DescribeTable("is one whole stream of HTTP/2, of a request", func(ctx SpecContext, request, body, _ string) {
		shadow := world.StartHTTP(GinkgoT(), "shadow")
		s, primary := begin(ctx, "http2", shadow.Port())
		exchange(ctx, s.World, request)
		Expect(string(primary.Requests()[0].Body)).To(Equal(body), "the primary gets the body")

		Eventually(shadow.Count).Should(Equal(1))
		got := shadow.Requests()[0]
		Expect(got.Proto).To(Equal("HTTP/2.0"))
		Expect(got.Method).To(Equal(request[:strings.Index(request, " ")]))
		Expect(got.BodyErr).NotTo(HaveOccurred(), "the stream ends")
		Expect(got.BodyLength).To(BeZero())
		Expect(got.Header.Get("Content-Length")).To(BeElementOf("", "0"))
		Expect(got.Header).NotTo(HaveKey("Expect"))
		s.stat(ctx, "cluster.shadow.upstream_rq_completed", 1)
		s.stat(ctx, "cluster.shadow.upstream_rq_tx_reset", 0)
	}, withBodies)

	DescribeTable("is made of a body of any length, and costs no memory", func(ctx SpecContext, protocol string) {
		const size = 100 << 20
		shadow := world.StartHTTP(GinkgoT(), "shadow")
		s, primary := begin(ctx, protocol, shadow.Port())
		before := s.memory(ctx)
		answer := s.Send(ctx, world.Request{Method: http.MethodPost, Body: strings.Repeat("x", size), Chunked: true})
		Expect(world.Got(primary, answer.ID).BodyLength).To(BeEquivalentTo(size))
		mirrored := copyOf(shadow, answer.ID)
		Expect(mirrored.BodyErr).NotTo(HaveOccurred())
		Expect(mirrored.BodyLength).To(BeZero())
		Expect(s.memory(ctx)).To(BeNumerically("<", before+size/4), "of the heap, which keeps what was ever needed")
	},
		Entry("over HTTP/1.1", "http"),
		Entry("over HTTP/2", "http2"),
	)

	DescribeTable("to a shadow that does not read leaves the primary alone, also when the mirror goes", func(ctx SpecContext, protocol string) {
		shadow := backend.RunStalled()
		s, primary := begin(ctx, protocol, shadow.Port())
		for range 3 {
			answer := s.Send(ctx, world.Request{Method: http.MethodPost, Body: strings.Repeat("x", 20<<20), Chunked: true})
			Expect(world.Got(primary, answer.ID).BodyLength).To(BeEquivalentTo(20 << 20))
		}
		s.stat(ctx, "cluster.shadow.upstream_rq_active", 3)

		// Envoy takes the cluster away with its copies in flight.
		s.Route("destination: {kuma.io/service: backend, version: v1}")
		Eventually(ctx, func(ctx context.Context) (map[string]uint64, error) { return s.envoy.Stats(ctx) }).
			ShouldNot(HaveKey("cluster.shadow.upstream_rq_active"))
		answer := s.Send(ctx, world.Request{Method: http.MethodPost, Body: "more"})
		Expect(world.Got(primary, answer.ID).BodyLength).To(BeEquivalentTo(4))
	},
		Entry("over HTTP/1.1", "http"),
		Entry("over HTTP/2", "http2"),
	)
})

// memory is Envoy's heap, in bytes.
func (s *scene) memory(ctx context.Context) uint64 {
	GinkgoHelper()
	answer, err := s.envoy.Get(ctx, "/memory")
	Expect(err).NotTo(HaveOccurred())
	var memory struct {
		HeapSize uint64 `json:"heap_size,string"`
	}
	Expect(json.Unmarshal(answer, &memory)).To(Succeed())
	return memory.HeapSize
}
