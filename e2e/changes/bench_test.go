package changes_test

import (
	"context"
	"net"
	"os/exec"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	"github.com/prometheus/procfs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

// rounds is how often each benchmark measures in one operation; what it reports
// is of those: min, median and max.
const rounds = 30

func report(b *testing.B, took []time.Duration, what string) {
	slices.Sort(took)
	milliseconds := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	b.ReportMetric(milliseconds(took[0]), "ms-"+what+"-min")
	b.ReportMetric(milliseconds(took[len(took)/2]), "ms-"+what+"-median")
	b.ReportMetric(milliseconds(took[len(took)-1]), "ms-"+what+"-max")
}

// benchmarked is a world with a program to run in it.
func benchmarked(b *testing.B) *world.World {
	RegisterTestingT(b)
	if program == "" {
		path, err := world.BuildProgram()
		Expect(err).NotTo(HaveOccurred())
		program = path
	}
	b.Cleanup(func() {
		gexec.CleanupBuildArtifacts()
		program = ""
	})
	w := world.New(b)
	w.HTTP("v1")
	w.HTTP("v2")
	w.HTTP("v3")
	w.Route(conf(0, "v1", "v3"))
	return w
}

// start starts a host and returns the time it took until it answers who asks
// for a bootstrap.
func start(b *testing.B, w *world.World) (*exec.Cmd, time.Duration) {
	cmd := exec.Command(program, "run", "-f", w.Dir, "--xds-address", w.XDSAddress, "--api-address", "off")
	begun := time.Now()
	Expect(cmd.Start()).To(Succeed())
	b.Cleanup(func() { end(cmd) })
	// gRPC's own retries wait too long to measure by.
	var connection net.Conn
	for connection == nil {
		Expect(time.Since(begun)).To(BeNumerically("<", 10*time.Second))
		connection, _ = net.Dial("tcp", w.XDSAddress)
	}
	client, err := grpc.NewClient("passthrough:///"+w.XDSAddress, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return connection, nil }))
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = api.NewBootstrapServiceClient(client).GetBootstrap(ctx, &api.GetBootstrapRequest{Mesh: "default", Dataplane: "web"})
	Expect(err).NotTo(HaveOccurred())
	return cmd, time.Since(begun)
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// BenchmarkHostStart is from the start of `kuma-mirror run` until it serves.
func BenchmarkHostStart(b *testing.B) {
	w := benchmarked(b)
	for b.Loop() {
		var took []time.Duration
		for range rounds {
			cmd, d := start(b, w)
			end(cmd)
			took = append(took, d)
		}
		report(b, took, "start")
	}
}

// BenchmarkFileChange is from the writing of a TrafficRoute until a request is
// routed by it, through a host and an Envoy in processes of their own.
func BenchmarkFileChange(b *testing.B) {
	w := benchmarked(b)
	start(b, w)
	binary, err := envoytest.Find(envoytest.Versions()[0])
	Expect(err).NotTo(HaveOccurred())
	w.Envoy(b.Context(), binary, "web", ads.Delta)
	client := world.NewClient(b, w.URL, true)
	revision := 0
	for b.Loop() {
		var took []time.Duration
		for range rounds {
			revision++
			s := cycle[revision%len(cycle)]
			text := conf(revision, s.primary, s.shadow)
			begun := time.Now()
			w.Route(text)
			for accepted := at(revision); ; {
				answer, err := client.Send(b.Context(), world.Request{})
				Expect(err).NotTo(HaveOccurred())
				if accepted(answer) {
					break
				}
				Expect(time.Since(begun)).To(BeNumerically("<", 10*time.Second))
				time.Sleep(time.Millisecond) // so that polling leaves Envoy and the host alone
			}
			took = append(took, time.Since(begun))
		}
		report(b, took, "change")
	}
}

// BenchmarkHostMemory is what `kuma-mirror run` holds when it has served an
// Envoy and has nothing to do.
func BenchmarkHostMemory(b *testing.B) {
	w := benchmarked(b)
	cmd, _ := start(b, w)
	binary, err := envoytest.Find(envoytest.Versions()[0])
	Expect(err).NotTo(HaveOccurred())
	w.Envoy(b.Context(), binary, "web", ads.Delta)
	for b.Loop() {
		time.Sleep(time.Second)
		process, err := procfs.NewProc(cmd.Process.Pid)
		Expect(err).NotTo(HaveOccurred())
		stat, err := process.Stat()
		Expect(err).NotTo(HaveOccurred())
		b.ReportMetric(float64(stat.ResidentMemory())/1e6, "MB-resident")
	}
}
