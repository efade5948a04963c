// Package world is where the e2e suites take place: a directory of resources,
// the host that serves it, Envoys that the host configures, backends behind
// them, and clients in front.
//
// Everyone plays a fixed part. The data plane "web" calls the service "backend"
// through its Envoy; the instances of "backend" differ by their tag "version".
// One TrafficRoute governs what web's requests meet.
package world

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/envoy"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/files"
)

// T is a spec (GinkgoT()) or a benchmark.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
	TempDir() string
	Failed() bool
	Logf(format string, args ...any)
}

// World is one directory of resources and all that lives by it. It ends with
// its T.
type World struct {
	// Dir holds the resources.
	Dir string
	// XDSAddress is where hosts of this world listen, one at a time.
	XDSAddress string
	// Port of web's outbound to the service backend, and its URL.
	Port uint32
	URL  string
	// Log is what hosts have logged.
	Log *gbytes.Buffer

	t T
	g *gomega.WithT
}

// New makes a world with web in it.
func New(t T) *World {
	t.Helper()
	ports := envoytest.FreePorts(2)
	w := &World{
		Dir:        t.TempDir(),
		XDSAddress: fmt.Sprintf("127.0.0.1:%d", ports[0]),
		Port:       ports[1],
		URL:        fmt.Sprintf("http://127.0.0.1:%d", ports[1]),
		Log:        gbytes.NewBuffer(),
		t:          t,
		g:          gomega.NewWithT(t),
	}
	w.Write("web.yaml", Caller("web", w.Port))
	return w
}

// Caller is a Dataplane that calls the service backend on the port. It ends with
// its list of outbounds.
func Caller(name string, port uint32) string {
	return fmt.Sprintf(`
type: Dataplane
name: %s
networking:
  address: 127.0.0.1
  gateway: {tags: {kuma.io/service: %s}}
  outbound:
  - {port: %d, tags: {kuma.io/service: backend}}
`, name, name, port)
}

// Write replaces a file of the directory by another, which takes effect at once.
func (w *World) Write(name, content string) {
	w.t.Helper()
	path := filepath.Join(w.Dir, name)
	w.g.Expect(os.WriteFile(path+".new", []byte(content), 0o644)).To(gomega.Succeed())
	w.g.Expect(os.Rename(path+".new", path)).To(gomega.Succeed())
}

// Remove deletes a file of the directory.
func (w *World) Remove(name string) {
	w.t.Helper()
	w.g.Expect(os.Remove(filepath.Join(w.Dir, name))).To(gomega.Succeed())
}

// Route writes the TrafficRoute from web to backend; conf is its section of
// that name, as YAML that begins at the margin.
func (w *World) Route(conf string) {
	w.t.Helper()
	w.Write("route.yaml", Route("web", conf))
}

// Route is a TrafficRoute from a service to backend.
func Route(from, conf string) string {
	return fmt.Sprintf(`
type: TrafficRoute
name: %s
sources: [{match: {kuma.io/service: %s}}]
destinations: [{match: {kuma.io/service: backend}}]
conf:
%s`, from, from, indent(conf))
}

func indent(text string) string {
	var out []byte
	start := true
	for _, c := range []byte(text) {
		if start && c != '\n' {
			out = append(out, "  "...)
		}
		out = append(out, c)
		start = c == '\n'
	}
	return string(append(out, '\n'))
}

// Instance is a Dataplane that serves a service in a version. A protocol is that
// of all instances of its service, or of none.
func Instance(name, service, version, protocol string, port uint32) string {
	return fmt.Sprintf(`
type: Dataplane
name: %s
networking:
  address: 127.0.0.1
  inbound: [{port: %d, tags: {kuma.io/service: %s, kuma.io/protocol: %s, version: %s}}]
`, name, port, service, protocol, version)
}

// HTTP starts an instance of backend that speaks HTTP/1.1, and calls it after
// its version.
func (w *World) HTTP(version string, change ...func(*backend.Options)) *backend.HTTP {
	w.t.Helper()
	b := StartHTTP(w.t, version, change...)
	w.Write(version+".yaml", Instance(version, "backend", version, "http", b.Port()))
	return b
}

// StartHTTP starts a backend that is in no file.
func StartHTTP(t T, name string, change ...func(*backend.Options)) *backend.HTTP {
	t.Helper()
	options := backend.Options{Name: name}
	for _, c := range change {
		c(&options)
	}
	b, err := backend.StartHTTP(options)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(b.Stop)
	return b
}

// GRPC is HTTP for gRPC.
func (w *World) GRPC(version string) *backend.GRPC {
	w.t.Helper()
	b, err := backend.StartGRPC(backend.Options{Name: version})
	w.g.Expect(err).NotTo(gomega.HaveOccurred())
	w.t.Cleanup(b.Stop)
	w.Write(version+".yaml", Instance(version, "backend", version, "grpc", b.Port()))
	return b
}

// Host runs a host until the test ends; prepare is called before it serves.
func (w *World) Host(prepare ...func(*host.Host)) *host.Host {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(io.MultiWriter(w.Log, logTo{w.t}), nil))
	source, err := files.Open(context.Background(), []string{w.Dir}, files.Options{Check: mesh.Validate, Log: log})
	w.g.Expect(err).NotTo(gomega.HaveOccurred())
	listener, err := net.Listen("tcp", w.XDSAddress)
	w.g.Expect(err).NotTo(gomega.HaveOccurred())
	h := host.New(host.Options{Source: source, Log: log})
	for _, p := range prepare {
		p(h)
	}
	w.background("the host", func(ctx context.Context) error {
		defer func() { _ = source.Close() }()
		return h.Serve(ctx, listener)
	})
	return h
}

// background runs f until the test ends.
func (w *World) background(what string, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			w.g.Expect(err).NotTo(gomega.HaveOccurred(), what)
		case <-time.After(10 * time.Second):
			w.t.Fatalf("%s does not end", what)
		}
	})
}

// logTo shows what is logged where the test shows it.
type logTo struct{ t T }

func (l logTo) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

// Envoy starts the Envoy of a data plane, with what `kuma-mirror proxy` gives
// it, and waits until it serves. protocol is the variant of xDS; change is given
// the bootstrap before.
func (w *World) Envoy(ctx context.Context, binary, dataplane string, protocol ads.Protocol, change ...func(*bootstrapv3.Bootstrap)) *envoytest.Envoy {
	w.t.Helper()
	answer, err := envoy.Fetch(ctx, w.XDSAddress, envoy.Security{}, "default", dataplane, slog.New(slog.DiscardHandler))
	w.g.Expect(err).NotTo(gomega.HaveOccurred())
	bootstrap, err := envoy.NewBootstrap(envoy.BootstrapConfigOf(answer, w.XDSAddress))
	w.g.Expect(err).NotTo(gomega.HaveOccurred())
	if protocol == ads.StateOfTheWorld {
		bootstrap.DynamicResources.AdsConfig.ApiType = core.ApiConfigSource_GRPC
	}
	for _, c := range change {
		c(bootstrap)
	}
	e, err := envoytest.Start(ctx, envoytest.Options{
		Binary: binary, Bootstrap: bootstrap, Concurrency: 2,
		Args: []string{"--log-level", "warn", "--drain-time-s", "10", "--drain-strategy", "immediate"},
	})
	w.g.Expect(err).NotTo(gomega.HaveOccurred())
	stop := sync.OnceValue(e.Stop)
	w.t.Cleanup(func() {
		err := stop()
		if err != nil || w.t.Failed() {
			w.t.Logf("the log of %s's Envoy:\n%s", dataplane, e.Logs())
		}
		w.g.Expect(err).NotTo(gomega.HaveOccurred())
	})
	return e
}

// Start starts a host and web's Envoy over delta xDS.
func (w *World) Start(ctx context.Context, binary string) *envoytest.Envoy {
	w.t.Helper()
	w.Host()
	return w.Envoy(ctx, binary, "web", ads.Delta)
}
