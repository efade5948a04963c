package security_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

var _ = Describe("a host under attack", func() {
	It("answers others while hundreds of connections dawdle, and closes those", func() {
		h := prepare()
		h.run(loopback)
		// dawdle opens a connection that never comes to its point.
		dawdle := func(i int) (net.Conn, error) {
			at, said := strings.TrimPrefix(h.api, "http://"), "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
			if i%2 == 0 {
				at, said = h.xds, "PRI * HTTP"
			}
			conn, err := net.Dial("tcp", at)
			if err != nil {
				return nil, err
			}
			_, err = io.WriteString(conn, said)
			return conn, err
		}
		const many = 300
		var answered atomic.Bool
		var dawdlers sync.WaitGroup
		defer dawdlers.Wait()
		defer answered.Store(true)
		opened, closed := make(chan error, many), make(chan error, many)
		for i := range many {
			dawdlers.Go(func() {
				conn, err := dawdle(i)
				opened <- err
				for err == nil {
					_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
					if _, err = io.Copy(io.Discard, conn); !errors.Is(err, os.ErrDeadlineExceeded) {
						err = nil // it was closed
					}
					_ = conn.Close()
					if err != nil || answered.Load() {
						break
					}
					// Who waits for the last to end would wait for ever.
					conn, err = dawdle(i)
				}
				closed <- err
			})
		}
		for range many {
			Eventually(opened).Should(Receive(Not(HaveOccurred())))
		}
		Expect(h.ask(request{path: "/meshes"})).To(Equal(yes))
		Expect(h.connect(proxy{}, "web")).To(Equal(yes))
		answered.Store(true)
		for range many {
			Eventually(closed).WithTimeout(30 * time.Second).Should(Receive(Not(HaveOccurred())))
		}
	})

	It("is found by no trick with paths", func() {
		h := prepare()
		h.run(loopback, h.tokens())
		// get sends a path as it is.
		get := func(path string) *http.Response {
			GinkgoHelper()
			conn := h.raw()
			Expect(conn.SetDeadline(time.Now().Add(10 * time.Second))).To(Succeed())
			_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n", path, readerToken)
			Expect(err).NotTo(HaveOccurred())
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(resp.Body.Close)
			return resp
		}
		for _, path := range []string{
			"//backup", "/./backup", "/meshes/../backup", "/%2e/backup", "/meshes/%2e%2e/backup", "/%62ackup", "/backup/", "/backup%00", "/BACKUP", "/backup?x=/meshes",
			"//debug/pprof/heap", "/%64ebug/pprof/heap", "/debug%2fpprof%2fheap", "/meshes/../debug/pprof/heap", "/debug/../debug/pprof/heap",
			"/../../../../etc/passwd", "/..%2f..%2f..%2fetc%2fpasswd", "/meshes/default/traffic-routes/..%2f..%2f..%2fetc%2fpasswd",
			"/meshes/..", "/meshes/default/traffic-routes/%2e%2e", "http://evil.example.com/backup", "*",
		} {
			resp := get(path)
			Expect(resp.StatusCode).To(BeElementOf(400, 401, 403, 404, 405, 421), path)
			body, err := io.ReadAll(resp.Body)
			Expect(err).NotTo(HaveOccurred())
			Expect(len(body)).To(BeNumerically("<", 4096), path)
		}
	})

	It("makes no file of a name", func() {
		h := prepare()
		h.run(loopback)
		before, err := os.ReadDir(h.dir)
		Expect(err).NotTo(HaveOccurred())
		for _, name := range []string{"..%2f..%2fescaped", "%2e%2e", "..%5cescaped", "a%00b", strings.Repeat("x", 5000), "%2ftmp%2fescaped"} {
			resp, err := h.send(request{
				method: http.MethodPut, path: "/meshes/default/external-services/" + name,
				body:   `{"networking": {"address": "192.0.2.1:80"}, "tags": {"kuma.io/service": "one"}}`,
				header: http.Header{"Content-Type": {"application/json"}},
			})
			Expect(err).NotTo(HaveOccurred())
			Expect(resp.StatusCode).To(BeElementOf(400, 404, 414), name)
		}
		after, err := os.ReadDir(h.dir)
		Expect(err).NotTo(HaveOccurred())
		names := func(entries []os.DirEntry) (all []string) {
			for _, e := range entries {
				all = append(all, e.Name())
			}
			return all
		}
		Expect(names(after)).To(Equal(names(before)))
		kept, err := os.ReadDir(h.path("data"))
		Expect(err).NotTo(HaveOccurred())
		Expect(names(kept)).To(HaveEach(HavePrefix("store.db")))
	})

	It("takes no body that is too long, and no header", func() {
		h := prepare()
		h.run(loopback)
		resp, err := h.send(request{method: http.MethodPost, path: "/apply", body: "# " + strings.Repeat("x", 8<<20) + "\n" + service, header: http.Header{"Content-Type": {"application/yaml"}}})
		if err == nil { // it may be cut off while it still sends
			Expect(resp.StatusCode).To(Equal(http.StatusRequestEntityTooLarge))
		}
		resp, err = h.send(request{path: "/meshes", header: http.Header{"X-Huge": {strings.Repeat("x", 128<<10)}}})
		if err == nil {
			Expect(resp.StatusCode).To(Equal(http.StatusRequestHeaderFieldsTooLarge))
		}
		Expect(h.ask(request{path: "/meshes"})).To(Equal(yes))
	})

	It("outlives HTTP/2 requests that are reset as soon as they are made", func() {
		h := prepare()
		h.run(everywhere, h.tls(), h.tokens(), h.xdsTokens())
		for _, at := range []string{strings.TrimPrefix(h.api, "https://"), h.xds} {
			conn, err := tls.Dial("tcp", at, &tls.Config{RootCAs: h.hosts.Pool(), NextProtos: []string{"h2"}})
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(func() { _ = conn.Close() })
			_, err = io.WriteString(conn, http2.ClientPreface)
			Expect(err).NotTo(HaveOccurred())
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			var block strings.Builder
			headers := hpack.NewEncoder(&block)
			for _, f := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":path", "/meshes"}, {":authority", "localhost"}, {"content-type", "application/grpc"}, {"te", "trailers"}} {
				Expect(headers.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})).To(Succeed())
			}
			frames := http2.NewFramer(conn, nil)
			Expect(frames.WriteSettings()).To(Succeed())
			for i := range uint32(5000) {
				if frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: []byte(block.String()), EndHeaders: true}) != nil ||
					frames.WriteRSTStream(2*i+1, http2.ErrCodeCancel) != nil {
					break // it was cut off
				}
			}
		}
		Expect(h.ask(request{path: "/meshes", token: readerToken})).To(Equal(yes))
		Expect(h.connect(proxy{token: proxyToken}, "web")).To(Equal(yes))
	})

	It("never logs a token, whatever becomes of it", func() {
		h := prepare()
		h.run(loopback, h.tls(), h.tokens(), h.xdsTokens())
		for _, token := range []string{adminToken, readerToken, wrongToken, proxyToken} {
			for _, r := range slices.Concat(reads[:1], writes[:1], backups) {
				r.token = token
				h.ask(r)
				r.path += "?token=" + token
				h.ask(r)
			}
			h.connect(proxy{token: token}, "web")
			h.connect(proxy{token: token}, "api")
		}
		h.ask(request{path: "/meshes", header: http.Header{"Authorization": {"Basic " + wrongToken}}})
		h.write("api-tokens", adminToken+" "+readerToken+"\n"+wrongToken[:10]+"\n")
		h.write("xds-tokens", adminToken+" "+readerToken+"\n")
		Eventually(func() int {
			return strings.Count(string(h.Err.Contents()), "cannot be used; what was read before stays in use")
		}).Should(Equal(2))
		h.Terminate()
		Eventually(h).Should(gexec.Exit(0))
		for _, log := range []string{string(h.Err.Contents()), string(h.Out.Contents())} {
			for _, token := range []string{adminToken, readerToken, wrongToken, proxyToken, webToken} {
				Expect(log).NotTo(ContainSubstring(token[:12]))
			}
		}
	})
})
