package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// running is a process of `kuma-mirror run`.
type running struct {
	*exec.Cmd
	log      *gbytes.Buffer
	xds, api string
	ended    chan error
}

func startProcess(args ...string) *running {
	GinkgoHelper()
	file := filepath.Join(GinkgoT().TempDir(), "mesh.yaml")
	Expect(os.WriteFile(file, []byte(webAndBackend), 0o644)).To(Succeed())
	out := gbytes.NewBuffer()
	p := &running{log: gbytes.NewBuffer(), ended: make(chan error, 1)}
	p.Cmd = exec.Command(os.Args[0], append([]string{"run", "-f", file, "--xds-address", "127.0.0.1:0", "--api-address", "127.0.0.1:0"}, args...)...)
	p.Env = append(os.Environ(), asProgram+"=1", "GORACE=atexit_sleep_ms=0")
	p.Stdout, p.Stderr = io.MultiWriter(out, GinkgoWriter), io.MultiWriter(p.log, GinkgoWriter)
	Expect(p.Start()).To(Succeed())
	go func() { p.ended <- p.Wait() }()
	DeferCleanup(func() { _ = p.Process.Kill() })
	Eventually(out).WithTimeout(10 * time.Second).Should(gbytes.Say("kuma-mirror status"))
	found := regexp.MustCompile(`(?s)Serving xDS on (\S+) .*Serving the API on http://(\S+?),? `).FindSubmatch(out.Contents())
	Expect(found).To(HaveLen(3), "%s", out.Contents())
	p.xds, p.api = string(found[1]), string(found[2])
	return p
}

// begin sends a request to the API without the last byte of its body.
func (p *running) begin() net.Conn {
	GinkgoHelper()
	conn, err := net.Dial("tcp", p.api)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { _ = conn.Close() })
	// The answer 100 Continue says that the handler has begun to read.
	_, err = io.WriteString(conn, "PUT /log-level HTTP/1.1\r\nHost: localhost\r\nContent-Length: 17\r\nExpect: 100-continue\r\n\r\n")
	Expect(err).NotTo(HaveOccurred())
	Expect(conn.SetReadDeadline(time.Now().Add(5 * time.Second))).To(Succeed())
	line := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	_, err = io.ReadFull(conn, line)
	Expect(err).NotTo(HaveOccurred())
	_, err = io.WriteString(conn, `{"level":"error"`)
	Expect(err).NotTo(HaveOccurred())
	return conn
}

// stream is that of an Envoy; err gets how it ends.
func (p *running) stream() (err chan error) {
	GinkgoHelper()
	conn, dialErr := grpc.NewClient(p.xds, grpc.WithTransportCredentials(insecure.NewCredentials()))
	Expect(dialErr).NotTo(HaveOccurred())
	DeferCleanup(func() { _ = conn.Close() })
	s, openErr := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(context.Background())
	Expect(openErr).NotTo(HaveOccurred())
	Expect(s.Send(&discovery.DeltaDiscoveryRequest{Node: &core.Node{Id: "default.web"}, TypeUrl: resource.ClusterType})).To(Succeed())
	_, recvErr := s.Recv()
	Expect(recvErr).NotTo(HaveOccurred())
	err = make(chan error, 1)
	go func() {
		_, ended := s.Recv()
		err <- ended
	}()
	return err
}

var _ = Describe("kuma-mirror run, when it is told to end,", func() {
	It("takes no more, finishes what is in flight, closes the streams, and ends", func() {
		p := startProcess()
		stream := p.stream()
		conn := p.begin()
		Expect(p.Process.Signal(syscall.SIGTERM)).To(Succeed())
		Eventually(p.log).WithTimeout(5 * time.Second).Should(gbytes.Say("ending: no more requests are taken"))
		Eventually(func() error {
			conn, err := net.Dial("tcp", p.api)
			if err == nil {
				_ = conn.Close()
			}
			return err
		}).WithTimeout(5 * time.Second).Should(MatchError(syscall.ECONNREFUSED))
		Consistently(p.ended, 100*time.Millisecond).ShouldNot(Receive())
		_, err := io.WriteString(conn, "}")
		Expect(err).NotTo(HaveOccurred())
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = resp.Body.Close() }()
		Expect(resp.StatusCode).To(Equal(http.StatusOK))
		Expect(io.ReadAll(resp.Body)).To(MatchJSON(`{"level":"error"}`))
		Eventually(stream).WithTimeout(5 * time.Second).Should(Receive(HaveOccurred()))
		Eventually(p.ended).WithTimeout(5 * time.Second).Should(Receive(BeNil()))
	})

	It("ends within 5 s whatever clients do", func() {
		p := startProcess()
		p.stream()
		p.begin()
		stuck, err := net.Dial("tcp", p.xds) // and says nothing
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = stuck.Close() }()
		begun := time.Now()
		Expect(p.Process.Signal(syscall.SIGINT)).To(Succeed())
		Eventually(p.ended).WithTimeout(10 * time.Second).Should(Receive(BeNil()))
		Expect(time.Since(begun)).To(BeNumerically("<", 5*time.Second))
		Expect(p.log).To(gbytes.Say("requests to the API are still in flight; they are cut"))
	})

	It("ends at once when it is told again, and takes two signals at once for one", func() {
		p := startProcess()
		p.begin()
		begun := time.Now()
		Expect(p.Process.Signal(syscall.SIGTERM)).To(Succeed())
		Expect(p.Process.Signal(syscall.SIGINT)).To(Succeed())
		Eventually(p.log).WithTimeout(5 * time.Second).Should(gbytes.Say("ending: no more requests are taken"))
		Consistently(p.ended, 500*time.Millisecond).ShouldNot(Receive())
		// What comes within a second of the first is the same signal.
		Eventually(func() string {
			_ = p.Process.Signal(syscall.SIGTERM)
			return string(p.log.Contents())
		}).WithTimeout(3 * time.Second).WithPolling(100 * time.Millisecond).Should(ContainSubstring("ending at once"))
		Eventually(p.ended).WithTimeout(time.Second).Should(Receive(BeNil()))
		Expect(time.Since(begun)).To(BeNumerically("<", 3*time.Second))
	})

	It("says so when something does not end", func() {
		ctx, cancel := context.WithCancel(context.Background())
		release := make(chan struct{})
		defer close(release)
		cancel()
		err := bounded(ctx, slog.New(slog.DiscardHandler), 10*time.Millisecond, func(context.Context) error {
			<-release
			return nil
		})
		Expect(err).To(MatchError("something is still busy 10ms after the signal to end; requests in flight are cut"))
	})

	It("returns what went wrong by itself", func() {
		broken := errors.New("broken")
		Expect(bounded(context.Background(), slog.New(slog.DiscardHandler), time.Hour, func(context.Context) error { return broken })).To(Equal(broken))
	})
})

var _ = Describe("the API of kuma-mirror run", func() {
	get := func(p *running, path string) (int, string) {
		GinkgoHelper()
		resp, err := http.Get("http://" + p.api + path)
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		Expect(err).NotTo(HaveOccurred())
		return resp.StatusCode, string(body)
	}
	put := func(p *running, path, body string) (int, string) {
		GinkgoHelper()
		req, err := http.NewRequest(http.MethodPut, "http://"+p.api+path, strings.NewReader(body))
		Expect(err).NotTo(HaveOccurred())
		resp, err := http.DefaultClient.Do(req)
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = resp.Body.Close() }()
		answer, err := io.ReadAll(resp.Body)
		Expect(err).NotTo(HaveOccurred())
		return resp.StatusCode, string(answer)
	}

	It("tells that it is alive and ready, and has profiles on loopback", func() {
		p := startProcess()
		code, body := get(p, "/healthz")
		Expect(fmt.Sprint(code, body)).To(Equal("200ok\n"))
		Eventually(func() int {
			code, _ := get(p, "/readyz")
			return code
		}).WithTimeout(5 * time.Second).Should(Equal(200))
		code, body = get(p, "/debug/pprof/goroutine?debug=1")
		Expect(code).To(Equal(200))
		Expect(body).To(ContainSubstring("goroutine profile"))
		code, _ = put(p, "/healthz", "")
		Expect(code).To(Equal(405))
	})

	It("changes the log level while it runs", func() {
		p := startProcess("--log-level", "warn")
		_, body := get(p, "/log-level")
		Expect(body).To(MatchJSON(`{"level":"warn"}`))
		Expect(p.log).NotTo(gbytes.Say("Envoy connected"))
		code, body := put(p, "/log-level", `{"level":"info"}`)
		Expect(code).To(Equal(200))
		Expect(body).To(MatchJSON(`{"level":"info"}`))
		p.stream()
		Eventually(p.log).WithTimeout(5 * time.Second).Should(gbytes.Say(`the log level changes" from=warn to=info`))
		Eventually(p.log).WithTimeout(5 * time.Second).Should(gbytes.Say("Envoy connected"))
		put(p, "/log-level", `{"level":"error"}`)
		Eventually(p.log).WithTimeout(5 * time.Second).Should(gbytes.Say(`the log level changes" from=info to=error`))

		for _, bad := range []string{`{"level":"loud"}`, `{"level":"INFO"}`, `{}`, `debug`, `{"level":"info","more":1}`, ""} {
			code, body := put(p, "/log-level", bad)
			Expect(code).To(Equal(400), bad)
			Expect(body).To(ContainSubstring("Not a log level"))
		}
		_, body = get(p, "/log-level")
		Expect(body).To(MatchJSON(`{"level":"error"}`))
	})
})
