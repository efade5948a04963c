package envoy_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/envoy"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/files"
)

// world is a directory of resources with the data planes web, which calls the
// service backend, and v1 and v2, which serve it.
type world struct {
	dir      string
	address  string // of the host
	outbound string // URL of web's outbound
	admin    uint32
	log      *gbytes.Buffer
	slow     chan struct{} // holds requests to /slow until it is closed
	release  func()        // closes slow
	arrived  chan struct{} // hears of them
}

func newWorld() *world {
	GinkgoHelper()
	ports := envoytest.FreePorts(3)
	w := &world{
		dir:      GinkgoT().TempDir(),
		address:  fmt.Sprintf("127.0.0.1:%d", ports[0]),
		outbound: fmt.Sprintf("http://127.0.0.1:%d", ports[1]),
		admin:    ports[2],
		log:      gbytes.NewBuffer(),
		slow:     make(chan struct{}),
		arrived:  make(chan struct{}, 10),
	}
	w.release = sync.OnceFunc(func() { close(w.slow) })
	w.write("mesh.yaml", fmt.Sprintf(`
type: Dataplane
name: web
networking:
  address: 127.0.0.1
  gateway: {tags: {kuma.io/service: web}}
  outbound: [{port: %d, tags: {kuma.io/service: backend}}]
  admin: {port: %d}
---
`, ports[1], w.admin)+w.backend("v1")+w.backend("v2"))
	w.route("v1")
	DeferCleanup(w.release) // before the backends, which wait for their requests
	return w
}

// backend starts an instance and returns its Dataplane.
func (w *world) backend(version string) string {
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			w.arrived <- struct{}{}
			<-w.slow
		}
		_, _ = io.WriteString(answer, version)
	}))
	DeferCleanup(server.Close)
	return fmt.Sprintf(`
type: Dataplane
name: %s
networking:
  address: 127.0.0.1
  inbound: [{port: %d, tags: {kuma.io/service: backend, kuma.io/protocol: http, version: %s}}]
---
`, version, server.Listener.Addr().(*net.TCPAddr).Port, version)
}

func (w *world) write(name, content string) {
	GinkgoHelper()
	path := filepath.Join(w.dir, name)
	Expect(os.WriteFile(path+".new", []byte(content), 0o644)).To(Succeed())
	Expect(os.Rename(path+".new", path)).To(Succeed())
}

// route sends web's requests to a version.
func (w *world) route(version string) {
	GinkgoHelper()
	w.write("route.yaml", fmt.Sprintf(`
type: TrafficRoute
name: r
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: backend}}]
conf:
  destination: {kuma.io/service: backend, version: %s}
`, version))
}

func (w *world) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(io.MultiWriter(w.log, GinkgoWriter), nil))
}

// host runs a host until the spec ends, or stop is called.
func (w *world) host() (stop func()) {
	GinkgoHelper()
	source, err := files.Open(context.Background(), []string{w.dir}, files.Options{Check: mesh.Validate, Log: w.logger()})
	Expect(err).NotTo(HaveOccurred())
	l, err := net.Listen("tcp", w.address)
	Expect(err).NotTo(HaveOccurred())
	return background(func(ctx context.Context) error {
		defer func() { _ = source.Close() }()
		return host.New(host.Options{Source: source, Log: w.logger()}).Serve(ctx, l)
	})
}

// proxy runs web's Envoy; pids tells each time it is ready.
func (w *world) proxy(change ...func(*envoy.Options)) (pids <-chan int, stop func()) {
	GinkgoHelper()
	ready := make(chan int, 10)
	o := envoy.Options{
		Binary: envoytest.Default(), XDSAddress: w.address, Mesh: "default", Dataplane: "web",
		DrainTime: 20 * time.Second, Args: []string{"--concurrency", "1"}, Output: io.MultiWriter(w.log, GinkgoWriter),
		Log: w.logger(), Ready: func(pid int) { ready <- pid },
	}
	for _, c := range change {
		c(&o)
	}
	return ready, background(func(ctx context.Context) error { return envoy.Run(ctx, o) })
}

// background runs f until the spec ends, or stop is called, which waits for it.
func background(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = f(ctx)
	}()
	stop = func() {
		GinkgoHelper()
		cancel()
		Eventually(done).WithTimeout(30 * time.Second).Should(BeClosed())
		Expect(err).NotTo(HaveOccurred())
	}
	DeferCleanup(stop)
	return stop
}

// get asks web's outbound over a connection of its own.
func (w *world) get(path string) (string, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	answer, err := client.Get(w.outbound + path)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	return fmt.Sprint(answer.StatusCode, " ", string(body)), err
}

func (w *world) answers(expected string) {
	GinkgoHelper()
	Eventually(w.get).WithArguments("/").WithTimeout(10 * time.Second).WithPolling(10 * time.Millisecond).Should(Equal(expected))
}

var _ = Describe("a data plane's Envoy", func() {
	var w *world

	BeforeEach(func() { w = newWorld() })

	running := func(pids <-chan int) (pid int) {
		GinkgoHelper()
		Eventually(pids).WithTimeout(20 * time.Second).Should(Receive(&pid))
		return pid
	}

	It("waits for the host, serves, and follows the files", func() {
		pids, _ := w.proxy()
		Eventually(w.log).WithTimeout(5 * time.Second).Should(gbytes.Say("waiting for the host at " + w.address))
		w.host()
		running(pids)
		Expect(w.get("/")).To(Equal("200 v1"))
		w.route("v2")
		w.answers("200 v2")
		w.write("route.yaml", "nonsense")
		Eventually(w.log).WithTimeout(5 * time.Second).Should(gbytes.Say("route.yaml"))
		Expect(w.get("/")).To(Equal("200 v2"))
	})

	It("has an admin API for nobody else where none is asked for", func() {
		text, err := os.ReadFile(filepath.Join(w.dir, "mesh.yaml"))
		Expect(err).NotTo(HaveOccurred())
		w.write("mesh.yaml", strings.Replace(string(text), fmt.Sprintf("admin: {port: %d}", w.admin), "", 1))
		w.host()
		pids, stop := w.proxy()
		running(pids)
		Expect(w.get("/")).To(Equal("200 v1"))
		_, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", w.admin))
		Expect(err).To(HaveOccurred())
		stop()
		Expect(w.log).NotTo(gbytes.Say("before it has drained"))
	})

	It("is not started where its admin port is taken", func(ctx SpecContext) {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", w.admin))
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = l.Close() }()
		w.host()
		err = envoy.Run(ctx, envoy.Options{Binary: envoytest.Default(), XDSAddress: w.address, Mesh: "default", Dataplane: "web", Log: w.logger()})
		Expect(err).To(MatchError(And(ContainSubstring(`the admin port of Dataplane "web"`), ContainSubstring("address already in use"),
			ContainSubstring("networking.admin.port"))))
	})

	It("finishes what is in flight before it ends, and takes no more", func() {
		w.host()
		pids, stop := w.proxy()
		running(pids)
		answers, ended := make(chan string, 1), make(chan struct{})
		go func() {
			defer GinkgoRecover()
			answer, err := w.get("/slow")
			Expect(err).NotTo(HaveOccurred())
			answers <- answer
		}()
		Eventually(w.arrived).WithTimeout(5 * time.Second).Should(Receive())

		go func() {
			defer GinkgoRecover()
			defer close(ended)
			stop()
		}()
		Eventually(func() error {
			_, err := w.get("/")
			return err
		}).WithTimeout(5 * time.Second).Should(MatchError(syscall.ECONNREFUSED))
		Consistently(ended, 200*time.Millisecond).ShouldNot(BeClosed())
		w.release()
		Eventually(answers).WithTimeout(10 * time.Second).Should(Receive(Equal("200 v1")))
		Eventually(ended).WithTimeout(10 * time.Second).Should(BeClosed())
	})

	It("ends in spite of a request that takes longer than the drain time", func() {
		w.host()
		pids, stop := w.proxy(func(o *envoy.Options) { o.DrainTime = 100 * time.Millisecond })
		running(pids)
		failed := make(chan struct{})
		go func() {
			defer close(failed)
			_, _ = w.get("/slow")
		}()
		Eventually(w.arrived).WithTimeout(5 * time.Second).Should(Receive())
		stop()
		Expect(w.log).To(gbytes.Say("before it has drained.*still active"))
		w.release()
		Eventually(failed).WithTimeout(10 * time.Second).Should(BeClosed())
	})

	It("is started again when it is killed", func() {
		w.host()
		pids, _ := w.proxy()
		pid := running(pids)
		Expect(syscall.Kill(pid, syscall.SIGKILL)).To(Succeed())
		Eventually(w.log).WithTimeout(5 * time.Second).Should(gbytes.Say("ended unexpectedly.*signal: killed"))
		Expect(running(pids)).NotTo(Equal(pid))
		Expect(w.get("/")).To(Equal("200 v1"))
	})

	It("is given up when it cannot start, with what it said", func(ctx SpecContext) {
		w.host()
		err := envoy.Run(ctx, envoy.Options{
			Binary: envoytest.Default(), XDSAddress: w.address, Mesh: "default", Dataplane: "web",
			Args: []string{"--no-such-flag"}, Output: io.Discard, Log: w.logger(),
		})
		Expect(err).To(MatchError(And(ContainSubstring("ended 6 times"), ContainSubstring("no-such-flag"))))
	}, SpecTimeout(30*time.Second))

	It("serves on while the host is away, and follows the next one", func() {
		stopHost := w.host()
		pids, _ := w.proxy()
		running(pids)
		stopHost()
		Expect(w.get("/")).To(Equal("200 v1"))
		w.route("v2")
		w.host()
		w.answers("200 v2")
		w.route("v1")
		w.answers("200 v1")
		Expect(pids).NotTo(Receive(), "it is still the first Envoy")
	})
})
