package secure

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

// guarded is a guard whose options change has set, and what it logs. No time
// passes for its limits of bad tokens.
func guarded(change func(*Options)) (*Guard, *gbytes.Buffer) {
	GinkgoHelper()
	log := gbytes.NewBuffer()
	o := Options{
		APIAddress: "127.0.0.1:5681", XDSAddress: "127.0.0.1:5678",
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	change(&o)
	g, err := Open(o)
	Expect(err).NotTo(HaveOccurred())
	still := time.Now()
	g.guesses, g.xdsGuesses = newLimiter(func() time.Time { return still }), newLimiter(func() time.Time { return still })
	return g, log
}

func tokenFile(content string) string {
	GinkgoHelper()
	file := filepath.Join(GinkgoT().TempDir(), "tokens")
	write(file, content)
	return file
}

var _ = Describe("the API's guard", func() {
	whoami := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%+v", CallerOf(r.Context()))
	})
	ask := func(g *Guard, method, path string, headers ...string) *httptest.ResponseRecorder {
		GinkgoHelper()
		r := httptest.NewRequest(method, "http://127.0.0.1:5681"+path, nil)
		for i := 0; i < len(headers); i += 2 {
			if headers[i] == "Host" {
				r.Host = headers[i+1]
			} else {
				r.Header.Add(headers[i], headers[i+1])
			}
		}
		w := httptest.NewRecorder()
		g.Handler(whoami).ServeHTTP(w, r)
		return w
	}

	Context("on loopback without tokens", func() {
		var g *Guard
		BeforeEach(func() { g, _ = guarded(func(*Options) {}) })

		It("takes everybody on this machine for an admin", func() {
			Expect(ask(g, "PUT", "/meshes/default").Body.String()).To(Equal("{Name: Role:admin}"))
		})

		DescribeTable("tells this machine by its names", func(host string, code int) {
			Expect(ask(g, "GET", "/meshes", "Host", host).Code).To(Equal(code))
		},
			Entry(nil, "localhost", 200),
			Entry(nil, "LOCALHOST:80", 200),
			Entry(nil, "127.0.0.1:5681", 200),
			Entry(nil, "127.9.9.9", 200),
			Entry(nil, "[::1]", 200),
			Entry(nil, "[::1]:5681", 200),
			Entry("HTTP/1.0, which no browser speaks", "", 200),
			Entry("DNS rebinding", "rebound.example.com:5681", 421),
			Entry(nil, "localhost.example.com", 421),
			Entry(nil, "127.0.0.1.nip.io", 421),
			Entry(nil, "0.0.0.0:5681", 421),
			Entry(nil, "192.0.2.1:5681", 421),
		)

		DescribeTable("lets no web page of another origin call it", func(code int, method string, headers ...string) {
			w := ask(g, method, "/apply", headers...)
			Expect(w.Code).To(Equal(code))
			Expect(w.Header().Get("Access-Control-Allow-Origin")).To(BeEmpty())
			Expect(w.Header().Get("Cross-Origin-Resource-Policy")).To(Equal("same-origin"))
		},
			Entry("in browsers of today", 403, "POST", "Sec-Fetch-Site", "cross-site"),
			Entry("of this machine's other ports", 403, "POST", "Sec-Fetch-Site", "same-site"),
			Entry("in older browsers", 403, "POST", "Origin", "https://example.com"),
			Entry("in a sandbox", 403, "POST", "Origin", "null"),
			Entry("its own page", 200, "POST", "Sec-Fetch-Site", "same-origin"),
			Entry("a program", 200, "POST"),
			Entry("reading", 403, "GET", "Sec-Fetch-Site", "cross-site"),
			Entry("reading from other ports", 403, "GET", "Sec-Fetch-Site", "same-site"),
			Entry("an address that its user has typed", 200, "GET", "Sec-Fetch-Site", "none"),
		)
	})

	It("leaves the Host alone where other machines reach it, as they know it by other names", func() {
		g, _ := guarded(func(o *Options) { o.APIAddress, o.Insecure = "0.0.0.0:5681", true })
		Expect(ask(g, "GET", "/meshes", "Host", "mirror.example.com").Code).To(Equal(200))
	})

	Context("with tokens", func() {
		var g *Guard
		var log *gbytes.Buffer
		BeforeEach(func() {
			g, log = guarded(func(o *Options) {
				o.TokenFile = tokenFile(adminToken + " admin alice\n" + readerToken + " reader grafana\n")
			})
		})
		bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }

		It("asks for one and says how", func() {
			w := ask(g, "GET", "/meshes")
			Expect(w.Code).To(Equal(401))
			Expect(w.Header().Get("WWW-Authenticate")).To(Equal("Bearer"))
			Expect(w.Header().Get("Content-Type")).To(Equal("application/problem+json"))
			Expect(w.Body.String()).To(MatchJSON(`{"type":"/std-errors","status":401,"title":"No token","detail":"send a token in the header: Authorization: Bearer TOKEN"}`))
		})

		DescribeTable("refuses what is none", func(title string, headers ...string) {
			w := ask(g, "GET", "/meshes", headers...)
			Expect(w.Code).To(Equal(401))
			Expect(w.Body.String()).To(ContainSubstring(title))
		},
			Entry("another", "Unknown token", "Authorization", "Bearer "+adminToken+"x"),
			Entry("a part", "Unknown token", "Authorization", "Bearer "+adminToken[1:]),
			Entry("an empty one", "No token", "Authorization", "Bearer "),
			Entry("another scheme", "No token", "Authorization", "Basic "+adminToken),
			Entry("no scheme", "No token", "Authorization", adminToken),
			Entry("two", "No token", "Authorization", "Bearer "+readerToken, "Authorization", "Bearer "+adminToken),
			Entry("two in one", "Unknown token", "Authorization", "Bearer "+readerToken+", Bearer "+adminToken),
		)

		DescribeTable("lets roles do what is theirs", func(method, path string, reader int) {
			Expect(ask(g, method, path, bearer(adminToken)...).Body.String()).To(Equal("{Name:alice Role:admin}"))
			w := ask(g, method, path, bearer(readerToken)...)
			Expect(w.Code).To(Equal(reader))
			if reader == 200 {
				Expect(w.Body.String()).To(Equal("{Name:grafana Role:reader}"))
			} else {
				Expect(w.Body.String()).To(ContainSubstring("this takes a token of the role admin"))
			}
			Expect(ask(g, method, path).Code).To(Equal(401))
		},
			Entry(nil, "GET", "/meshes/default/mirrors", 200),
			Entry(nil, "HEAD", "/meshes", 200),
			Entry(nil, "OPTIONS", "/meshes", 200),
			Entry(nil, "GET", "/metrics", 200),
			Entry(nil, "GET", "/log-level", 200),
			Entry(nil, "POST", "/plan", 200),
			Entry(nil, "PUT", "/log-level", 403),
			Entry(nil, "POST", "/apply", 403),
			Entry(nil, "POST", "/restore", 403),
			Entry(nil, "GET", "/backup", 403),
			Entry(nil, "GET", "/debug/pprof/heap", 403),
			Entry(nil, "PUT", "/meshes/default/traffic-routes/a", 403),
			Entry(nil, "DELETE", "/meshes/default/traffic-routes/a", 403),
			Entry(nil, "PATCH", "/meshes/default", 403),
			Entry("a method of nobody's", "BREW", "/meshes", 403),
			Entry("tricks with the path", "GET", "/%62ackup", 403),
			Entry("tricks with the path", "GET", "/%64ebug/pprof/heap", 403),
			Entry("tricks with the path", "GET", "/debug%2Fpprof%2Fheap", 403),
			Entry("tricks with the path", "GET", "/backup/", 403),
			Entry("tricks with the path", "GET", "//backup", 403),
			Entry("tricks with the path", "GET", "/meshes/../backup", 403),
			Entry("tricks with the path", "GET", "/debug", 403),
			Entry("tricks with the path", "POST", "//plan", 403),
			Entry("tricks with the path", "POST", "/plan/", 403),
			Entry("tricks with the path", "POST", "/meshes/../plan", 403),
			Entry("tricks with the path", "POST", "/healthz", 403),
			Entry("tricks with the path", "PUT", "/meshes/healthz/../default", 403),
		)

		It("lets probes through without one, and who asks for the version", func() {
			for _, path := range []string{"/healthz", "/readyz", "/"} {
				Expect(ask(g, "GET", path).Code).To(Equal(200))
				Expect(ask(g, "HEAD", path).Code).To(Equal(200))
				Expect(ask(g, "POST", path).Code).To(Equal(401))
				Expect(ask(g, "GET", path+"x").Code).To(Equal(401))
				Expect(ask(g, "GET", path+"/").Code).To(Equal(401))
			}
		})

		It("makes who tries tokens wait", func() {
			for range badTokens {
				Expect(ask(g, "GET", "/meshes", bearer("guess-guess-guess")...).Code).To(Equal(401))
			}
			w := ask(g, "GET", "/meshes", bearer("guess-guess-guess")...)
			Expect(w.Code).To(Equal(429))
			Expect(w.Header().Get("Retry-After")).To(Equal("1"))
			other := httptest.NewRequest("GET", "http://127.0.0.1/meshes", nil)
			other.RemoteAddr = "192.0.2.77:1234"
			other.Header.Set("Authorization", "Bearer "+readerToken)
			answer := httptest.NewRecorder()
			g.Handler(whoami).ServeHTTP(answer, other)
			Expect(answer.Code).To(Equal(200), "another address")
			for range 20 {
				Expect(ask(g, "GET", "/meshes", bearer("guess-guess-guess")...).Code).To(Equal(429))
				Expect(ask(g, "GET", "/meshes", bearer(readerToken)...).Code).To(Equal(200), "a good token of the same address")
			}
		})

		It("logs refusals, some of many, and never a token", func() {
			ask(g, "PUT", "/meshes/default", bearer(readerToken)...)
			Expect(log).To(gbytes.Say(`WARN msg="refused a request" reason=Forbidden method=PUT path=/meshes/default from=192.0.2.1:1234 token=grafana`))
			for range 100 {
				ask(g, "GET", "/meshes", bearer("guess-guess-guess")...)
			}
			lines := strings.Count(string(log.Contents()), "\n")
			Expect(lines).To(And(BeNumerically(">=", 10), BeNumerically("<", 20)))
			Expect(string(log.Contents())).NotTo(Or(ContainSubstring(readerToken), ContainSubstring(adminToken), ContainSubstring("guess")))
		})

		It("logs who changes what", func() {
			ask(g, "DELETE", "/meshes/default/traffic-routes/a?token="+adminToken, bearer(adminToken)...)
			Expect(log).To(gbytes.Say(`INFO msg="a change over the API" method=DELETE path=/meshes/default/traffic-routes/a status=200 from=192.0.2.1:1234 token=alice\n`))
			ask(g, "GET", "/meshes", bearer(adminToken)...)
			ask(g, "POST", "/plan", bearer(adminToken)...)
			Expect(log).NotTo(gbytes.Say("a change"))
			r := httptest.NewRequest("PUT", "http://localhost/meshes/default", nil)
			r.Header.Set("Authorization", "Bearer "+adminToken)
			g.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "no", http.StatusConflict)
			})).ServeHTTP(httptest.NewRecorder(), r)
			Expect(log).To(gbytes.Say(`WARN msg="a change over the API failed" method=PUT path=/meshes/default status=409`))
		})

		It("knows new tokens, and old ones no more, when the file has changed", func() {
			write(g.options.TokenFile, "cccccccccccccccc reader\n")
			Expect(g.tokens.refresh(g.log)).To(BeTrue())
			Expect(ask(g, "GET", "/meshes", bearer("cccccccccccccccc")...).Code).To(Equal(200))
			Expect(ask(g, "GET", "/meshes", bearer(adminToken)...).Code).To(Equal(401))
		})
	})

	Context("its server", func() {
		var address string
		serve := func(change func(*http.Server), next http.Handler, options ...func(*Options)) *gbytes.Buffer {
			GinkgoHelper()
			g, log := guarded(func(o *Options) {
				for _, set := range options {
					set(o)
				}
			})
			l, err := net.Listen("tcp", "127.0.0.1:0")
			Expect(err).NotTo(HaveOccurred())
			address = l.Addr().String()
			server := g.Server(next)
			change(server)
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = server.Serve(g.API(smallBuffers{l}))
			}()
			DeferCleanup(func() {
				_ = server.Close()
				Eventually(done).Should(BeClosed())
			})
			return log
		}
		// send writes to a connection, and returns what comes until its end.
		send := func(text string) string {
			GinkgoHelper()
			conn, err := net.Dial("tcp", address)
			Expect(err).NotTo(HaveOccurred())
			defer func() { _ = conn.Close() }()
			Expect(conn.SetDeadline(time.Now().Add(10 * time.Second))).To(Succeed())
			_, _ = io.WriteString(conn, text)
			answer, err := io.ReadAll(conn)
			if err != nil {
				Expect(err).To(MatchError(ContainSubstring("reset by peer")), "it was closed")
			}
			return string(answer)
		}

		It("has limits of time and size", func() {
			g, _ := guarded(func(*Options) {})
			s := g.Server(whoami)
			Expect(s.ReadHeaderTimeout).To(Equal(5 * time.Second))
			Expect(s.ReadTimeout).To(Equal(30 * time.Second))
			Expect(s.WriteTimeout).To(Equal(30 * time.Second))
			Expect(s.IdleTimeout).To(Equal(2 * time.Minute))
			Expect(s.MaxHeaderBytes).To(Equal(32768))
			Expect(s.HTTP2.MaxConcurrentStreams).To(Equal(64))
			Expect(s.HTTP2.WriteByteTimeout).To(Equal(30 * time.Second))
		})

		It("ends a connection that dawdles over its headers", func() {
			serve(func(s *http.Server) { s.ReadHeaderTimeout = 50 * time.Millisecond }, whoami)
			Expect(send("GET /meshes HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")).NotTo(ContainSubstring("200"))
		})

		It("ends one that dawdles over a body, unless that may take long", func() {
			body := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := io.ReadAll(r.Body); err != nil {
					http.Error(w, "cut", http.StatusBadRequest)
				}
			})
			mux := http.NewServeMux()
			mux.Handle("/apply", body)
			arrived := make(chan struct{}, 1)
			mux.Handle("/restore", Unhurried(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				arrived <- struct{}{}
				body(w, r)
			})))
			serve(func(s *http.Server) { s.ReadTimeout = 50 * time.Millisecond }, mux)
			const head = " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\na"
			Expect(send("POST /apply" + head)).To(ContainSubstring("400 Bad Request"))

			conn, err := net.Dial("tcp", address)
			Expect(err).NotTo(HaveOccurred())
			defer func() { _ = conn.Close() }()
			_, err = io.WriteString(conn, "POST /restore"+head)
			Expect(err).NotTo(HaveOccurred())
			Eventually(arrived).Should(Receive())
			Expect(conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))).To(Succeed())
			_, err = conn.Read(make([]byte, 1))
			Expect(err).To(MatchError(ContainSubstring("i/o timeout")), "it waits")
			Expect(conn.SetReadDeadline(time.Now().Add(5 * time.Second))).To(Succeed())
			_, err = io.WriteString(conn, "b")
			Expect(err).NotTo(HaveOccurred())
			answer := make([]byte, 15)
			_, err = io.ReadFull(conn, answer)
			Expect(err).NotTo(HaveOccurred())
			Expect(string(answer)).To(Equal("HTTP/1.1 200 OK"))
		})

		It("refuses huge headers, and what is no HTTP, without noise", func() {
			log := serve(func(*http.Server) {}, whoami)
			Expect(send("GET / HTTP/1.1\r\nHost: localhost\r\nX-Huge: " + strings.Repeat("x", 64<<10) + "\r\n\r\n")).
				To(Or(BeEmpty(), ContainSubstring("431 Request Header Fields Too Large")))
			Expect(send("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")).To(ContainSubstring("400 Bad Request"))
			Expect(send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")).To(ContainSubstring("400 Bad Request"))
			Expect(log).NotTo(gbytes.Say("level=(INFO|WARN|ERROR)"))
		})

		// withTLS makes the server speak HTTP/2, too; client speaks it.
		var ca *backend.CA
		withTLS := func(o *Options) {
			ca = newCA()
			dir := GinkgoT().TempDir()
			o.CertFile, o.KeyFile = filepath.Join(dir, "crt"), filepath.Join(dir, "key")
			cert, key := issue(ca, nil, "127.0.0.1")
			write(o.CertFile, string(cert))
			write(o.KeyFile, string(key))
		}
		tlsConfig := func() *tls.Config { return &tls.Config{RootCAs: ca.Pool(), NextProtos: []string{"h2"}} }
		client := func() *http.Client {
			transport := &http.Transport{TLSClientConfig: tlsConfig(), ForceAttemptHTTP2: true}
			DeferCleanup(transport.CloseIdleConnections)
			return &http.Client{Transport: transport, Timeout: 20 * time.Second}
		}

		DescribeTable("keeps a connection once its token is known, and not for a probe", func(scheme string, options ...func(*Options)) {
			serve(func(*http.Server) {}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn := r.Context().Value(connectionKey{}).(*counted)
				conn.all.mu.Lock()
				defer conn.all.mu.Unlock()
				_, _ = fmt.Fprint(w, conn.unproven == nil)
			}), append(options, func(o *Options) { o.TokenFile = tokenFile(adminToken + "\n") })...)
			caller := &http.Client{Timeout: 20 * time.Second}
			if scheme == "https" {
				caller = client()
			}
			kept := func(path string) string {
				GinkgoHelper()
				r, err := http.NewRequest(http.MethodGet, scheme+"://"+address+path, nil)
				Expect(err).NotTo(HaveOccurred())
				r.Header.Set("Authorization", "Bearer "+adminToken)
				answer, err := caller.Do(r)
				Expect(err).NotTo(HaveOccurred())
				defer func() { _ = answer.Body.Close() }()
				body, err := io.ReadAll(answer.Body)
				Expect(err).NotTo(HaveOccurred())
				return string(body)
			}
			Expect(kept("/healthz")).To(Equal("false"))
			Expect(kept("/meshes")).To(Equal("true"))
		},
			Entry(nil, "http"),
			Entry(nil, "https", withTLS),
		)

		It("logs a handler's panic as an error, with where it was", func() {
			panics := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a mistake") })
			log := serve(func(*http.Server) {}, panics)
			Expect(send("GET /meshes HTTP/1.1\r\nHost: localhost\r\n\r\n")).To(BeEmpty())
			Eventually(log).Should(gbytes.Say(`level=ERROR msg="http: panic serving [^"]*: a mistake" stack=".*http_test.go`))

			log = serve(func(*http.Server) {}, panics, withTLS)
			_, err := client().Get("https://" + address + "/meshes")
			Expect(err).To(HaveOccurred())
			Eventually(log).Should(gbytes.Say(`level=ERROR msg="http2: panic serving [^"]*: a mistake" stack=".*http_test.go`))
		})

		Context("where it is not in a hurry", func() {
			// handler answers with what do does, which may take a while but no
			// step longer than the limit. ended hears how that ended.
			var ended chan error
			handler := func(limit time.Duration, do func(w http.ResponseWriter, r *http.Request) error) http.Handler {
				heard := make(chan error, 1)
				ended = heard
				return unhurried(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { heard <- do(w, r) }), limit)
			}
			// strict limits are those of the server, which do not count here.
			strict := func(s *http.Server) { s.ReadTimeout, s.WriteTimeout = time.Second, time.Second }
			// withoutEnd writes until it cannot.
			withoutEnd := func(w http.ResponseWriter, _ *http.Request) error {
				for {
					if _, err := w.Write(make([]byte, 100<<10)); err != nil {
						return err
					}
				}
			}
			receive := func(_ http.ResponseWriter, r *http.Request) error {
				_, err := io.Copy(io.Discard, r.Body)
				return err
			}
			connect := func() net.Conn {
				GinkgoHelper()
				conn, err := net.Dial("tcp", address)
				Expect(err).NotTo(HaveOccurred())
				DeferCleanup(func() { _ = conn.Close() })
				Expect(conn.(*net.TCPConn).SetReadBuffer(bufferSize)).To(Succeed())
				Expect(conn.SetDeadline(time.Now().Add(30 * time.Second))).To(Succeed())
				return conn
			}

			It("cuts off who takes no more of an answer", func() {
				serve(strict, handler(200*time.Millisecond, withoutEnd))
				_, err := io.WriteString(connect(), "GET /backup HTTP/1.1\r\nHost: localhost\r\n\r\n")
				Expect(err).NotTo(HaveOccurred())
				Eventually(ended).WithTimeout(10 * time.Second).Should(Receive(MatchError(os.ErrDeadlineExceeded)))
			})

			It("cuts off who takes no more of an answer over HTTP/2", func() {
				serve(strict, handler(200*time.Millisecond, withoutEnd), withTLS)
				response, err := client().Get("https://" + address + "/backup")
				Expect(err).NotTo(HaveOccurred())
				DeferCleanup(response.Body.Close)
				Expect(response.ProtoMajor).To(Equal(2))
				Eventually(ended).WithTimeout(10 * time.Second).Should(Receive(HaveOccurred()))
			})

			It("cuts off who takes nothing at all of an HTTP/2 connection", func() {
				serve(func(s *http.Server) {
					strict(s)
					s.HTTP2.WriteByteTimeout = 200 * time.Millisecond
				}, handler(200*time.Millisecond, withoutEnd), withTLS)
				conn := tls.Client(connect(), func() *tls.Config {
					config := tlsConfig()
					config.ServerName = "127.0.0.1"
					return config
				}())
				_, err := io.WriteString(conn, http2.ClientPreface)
				Expect(err).NotTo(HaveOccurred())
				frames := http2.NewFramer(conn, nil)
				const window = 1<<31 - 1
				Expect(frames.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})).To(Succeed())
				Expect(frames.WriteWindowUpdate(0, window-1<<16)).To(Succeed())
				var block strings.Builder
				headers := hpack.NewEncoder(&block)
				for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":path", "/backup"}, {":authority", "localhost"}} {
					Expect(headers.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})).To(Succeed())
				}
				Expect(frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndStream: true, EndHeaders: true})).To(Succeed())
				Eventually(ended).WithTimeout(10 * time.Second).Should(Receive(HaveOccurred()))
			})

			It("cuts off who sends no more of a body", func() {
				serve(strict, handler(200*time.Millisecond, receive))
				answer := send("POST /restore HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\na")
				Expect(answer).To(ContainSubstring("Connection: close"))
				Expect(ended).To(Receive(MatchError(os.ErrDeadlineExceeded)))
			})

			DescribeTable("does not wait for the rest of a body that nobody reads", func(answer int) {
				serve(strict, handler(200*time.Millisecond, func(w http.ResponseWriter, _ *http.Request) error {
					_, err := w.Write(make([]byte, answer))
					return err
				}))
				send("POST /restore HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\na")
				Eventually(ended).Should(Receive())
			},
				Entry("before an answer", 10<<10),
				Entry("before one that is sent at the end, as it is short", 10),
			)

			It("waits for who takes an answer slowly but steadily", func() {
				const limit, size = time.Second, 2 << 20
				serve(strict, handler(limit, func(w http.ResponseWriter, _ *http.Request) error {
					w.Header().Set("Content-Length", strconv.Itoa(size))
					_, err := w.Write(make([]byte, size)) // at once
					return err
				}))
				conn := connect()
				_, err := io.WriteString(conn, "GET /backup HTTP/1.1\r\nHost: localhost\r\n\r\n")
				Expect(err).NotTo(HaveOccurred())
				begun := time.Now()
				answer, err := http.ReadResponse(bufio.NewReaderSize(&paced{from: conn, most: 16 << 10, pause: 20 * time.Millisecond}, 16<<10), nil)
				Expect(err).NotTo(HaveOccurred())
				Expect(io.Copy(io.Discard, answer.Body)).To(BeEquivalentTo(size))
				Expect(time.Since(begun)).To(BeNumerically(">", 2*limit), "it was slow")
				Expect(ended).To(Receive(Not(HaveOccurred())))
			})

			It("waits for who sends a body slowly but steadily", func() {
				const limit = 500 * time.Millisecond
				serve(strict, handler(limit, receive))
				conn := connect()
				_, err := io.WriteString(conn, "POST /restore HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n")
				Expect(err).NotTo(HaveOccurred())
				begun := time.Now()
				_, err = io.Copy(conn, &paced{from: strings.NewReader(strings.Repeat("x", 20)), most: 1, pause: 60 * time.Millisecond})
				Expect(err).NotTo(HaveOccurred())
				Expect(time.Since(begun)).To(BeNumerically(">", 2*limit), "it was slow")
				answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
				Expect(err).NotTo(HaveOccurred())
				Expect(answer.StatusCode).To(Equal(200))
				Expect(ended).To(Receive(Not(HaveOccurred())))
			})

			DescribeTable("lets a handler be silent as long as it likes", func(url func() string, options ...func(*Options)) {
				const limit = 200 * time.Millisecond
				silent := func() { time.Sleep(2 * limit) } // nothing can be waited for
				serve(strict, handler(limit, func(w http.ResponseWriter, r *http.Request) error {
					var errs [5]error
					control := http.NewResponseController(w)
					silent()
					first := make([]byte, 1)
					_, errs[0] = io.ReadFull(r.Body, first)
					silent()
					var rest []byte
					rest, errs[1] = io.ReadAll(r.Body)
					silent()
					_, errs[2] = w.Write(append(first, rest...))
					errs[3] = control.Flush()
					silent()
					_, errs[4] = io.WriteString(w, "c")
					silent()
					return errors.Join(append(errs[:], r.Context().Err())...)
				}), options...)
				caller := http.DefaultClient
				if len(options) > 0 {
					caller = client()
				}
				answer, err := caller.Post(url(), "text/plain", strings.NewReader("ab"))
				Expect(err).NotTo(HaveOccurred())
				defer func() { _ = answer.Body.Close() }()
				body, err := io.ReadAll(answer.Body)
				Expect(err).NotTo(HaveOccurred())
				Expect(string(body)).To(Equal("abc"))
				Expect(ended).To(Receive(Not(HaveOccurred())))
			},
				Entry("over HTTP/1.1", func() string { return "http://" + address + "/restore" }),
				Entry("over HTTP/2", func() string { return "https://" + address + "/restore" }, withTLS),
			)
		})
	})
})

// smallBuffers are those of connections: a client that reads nothing is noticed
// soon.
type smallBuffers struct{ net.Listener }

func (s smallBuffers) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return conn, conn.(*net.TCPConn).SetWriteBuffer(bufferSize)
}

const bufferSize = 64 << 10

// paced is read in small parts, with a pause before each.
type paced struct {
	from  io.Reader
	most  int
	pause time.Duration
}

func (p *paced) Read(b []byte) (int, error) {
	time.Sleep(p.pause)
	return p.from.Read(b[:min(len(b), p.most)])
}
