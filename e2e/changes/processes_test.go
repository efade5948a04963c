package changes_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

// process starts kuma-mirror; it is killed at the end of the spec.
func process(env []string, args ...string) *gexec.Session {
	GinkgoHelper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	session, err := gexec.Start(cmd, GinkgoWriter, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { session.Kill().Wait() })
	return session
}

// run is `kuma-mirror run`, which has to come up.
func run(w *world.World) *gexec.Session {
	GinkgoHelper()
	session := process(nil, "run", "-f", w.Dir, "--xds-address", w.XDSAddress, "--api-address", "off")
	Eventually(session).Should(gbytes.Say("Serving xDS on " + w.XDSAddress))
	return session
}

var _ = Describe("a host that is killed", func() {
	for _, version := range envoytest.Versions() {
		It("leaves Envoys serving and mirroring, and its successor changes them; no request fails (Envoy "+version+")", func(ctx SpecContext) {
			w := world.New(GinkgoT())
			w.HTTP("v1")
			w.HTTP("v2")
			old, shadow := w.HTTP("v3"), w.HTTP("v4")
			w.Route(conf(0, "v1", "v3"))
			host := run(w)
			w.Envoy(ctx, envoytest.Binary(version), "web", ads.Delta)
			traffic := w.Traffic()
			effective(traffic, 0)

			host.Kill().Wait()
			copied(traffic, old)
			Expect(traffic.All(at(0))).To(BeTrue())

			// Meanwhile another primary, another shadow, and no file for the
			// old ones.
			w.Route(conf(1, "v2", "v4"))
			w.Remove("v1.yaml")
			w.Remove("v3.yaml")
			run(w)
			effective(traffic, 1)
			copied(traffic, shadow)

			w.Route(conf(2, "v2", ""))
			effective(traffic, 2)
			traffic.Stop()
			Expect(traffic.Failed()).To(BeEmpty())
		})
	}
})

// children are the processes that a process has started.
func children(pid int) []int {
	GinkgoHelper()
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	Expect(err).NotTo(HaveOccurred())
	var all []int
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		child, err := strconv.Atoi(fields[0])
		Expect(err).NotTo(HaveOccurred())
		if fields[1] == strconv.Itoa(pid) {
			all = append(all, child)
		}
	}
	return all
}

var _ = Describe("kuma-mirror proxy on SIGTERM", func() {
	It("finishes what is in flight, ends with 0, and leaves nothing behind", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		const slow = 8
		arrived, release := make(chan struct{}, slow), make(chan struct{})
		w.HTTP("v1", func(o *backend.Options) {
			o.Handle = func(answer http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					arrived <- struct{}{}
					select {
					case <-release:
					case <-r.Context().Done():
					}
				}
				_, _ = io.WriteString(answer, "done")
			}
		})
		w.HTTP("v2")
		w.Route(conf(0, "v1", ""))
		run(w)
		temporary := GinkgoT().TempDir()
		proxy := process([]string{"TMPDIR=" + temporary}, "proxy", "--dataplane", "web", "--xds-address", w.XDSAddress,
			"--envoy", envoytest.Default(), "--drain-time", "20s", "--", "--concurrency", "2")
		Eventually(proxy.Err).Should(gbytes.Say("Envoy is ready"))
		envoys := children(proxy.Command.Process.Pid)
		Expect(envoys).To(HaveLen(1))
		Expect(filepath.Glob(filepath.Join(temporary, "*"))).NotTo(BeEmpty())

		var running sync.WaitGroup
		answers := make(chan string, slow)
		for i := range slow {
			client := world.NewClient(GinkgoT(), w.URL, i%2 == 0)
			running.Go(func() {
				answer, err := client.Send(ctx, world.Request{Method: http.MethodPost, Path: "/slow", Body: "b"})
				if err != nil {
					answers <- err.Error()
					return
				}
				answers <- fmt.Sprint(answer.Status, " ", answer.Body)
			})
		}
		for range slow {
			Eventually(arrived).Should(Receive())
		}
		proxy.Terminate()
		Eventually(func() error {
			_, err := world.NewClient(GinkgoT(), w.URL, false).Send(ctx, world.Request{})
			return err
		}).Should(MatchError(syscall.ECONNREFUSED), "it takes no more")
		Consistently(proxy).ShouldNot(gexec.Exit())
		close(release)
		running.Wait()
		for range slow {
			Expect(<-answers).To(Equal("200 done"))
		}
		Eventually(proxy).WithTimeout(10 * time.Second).Should(gexec.Exit(0))
		Expect(syscall.Kill(envoys[0], 0)).To(MatchError(syscall.ESRCH))
		Expect(filepath.Glob(filepath.Join(temporary, "*"))).To(BeEmpty())
	})
})
