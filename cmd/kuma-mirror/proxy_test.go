package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
)

// asProgram makes the test binary behave as kuma-mirror, since signals go to
// whole processes.
const asProgram = "KUMA_MIRROR_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

var _ = Describe("kuma-mirror proxy", func() {
	DescribeTable("knows wrong command lines", func(ctx SpecContext, message string, args ...string) {
		r := runAlone(ctx, newProxyCommand(), "", args...)
		Expect(r.code).To(Equal(exitUsage))
		Expect(r.stderr).To(ContainSubstring(message))
	},
		Entry("no data plane", `"dataplane" not set`),
		Entry("arguments that are not for Envoy", `unexpected argument "more"; arguments for Envoy go after --`, "--dataplane", "web", "more", "--", "--concurrency", "1"),
		Entry("a level that Envoy does not have", `--envoy-log-level "loud"`, "--dataplane", "web", "--envoy-log-level", "loud"),
		Entry("an empty data plane", "--dataplane is empty; it has to be the name of a Dataplane", "--dataplane", ""),
		Entry("an empty mesh", "--mesh is empty; it has to be the name of a Mesh", "--dataplane", "web", "--mesh", ""),
		Entry("a token for everybody on the way", "--xds-token-file needs --xds-ca-file", "--dataplane", "web", "--xds-address", "host.internal:5678", "--xds-token-file", "t"),
		Entry("a certificate without its key", "--xds-cert-file and --xds-key-file go together", "--dataplane", "web", "--xds-ca-file", "ca", "--xds-cert-file", "c"),
		Entry("a negative drain time", "has to be 0s or more", "--dataplane", "web", "--drain-time", "-1s"),
	)

	It("takes the files that it shows to the host from the environment, too", func(ctx SpecContext) {
		GinkgoT().Setenv("KUMA_MIRROR_XDS_KEY_FILE", "k")
		GinkgoT().Setenv("KUMA_MIRROR_XDS_TOKEN_FILE", "t")
		r := runAlone(ctx, newProxyCommand(), "", "--dataplane", "web", "--xds-address", "host.internal:5678")
		Expect(r.code).To(Equal(exitUsage))
		Expect(r.stderr).To(And(ContainSubstring("--xds-cert-file and --xds-key-file go together"), ContainSubstring("--xds-token-file needs --xds-ca-file")))
	})

	It("needs the files that it is to show", func(ctx SpecContext) {
		r := runAlone(ctx, newProxyCommand(), "", "--dataplane", "web", "--xds-ca-file", "/does/not/exist", "--envoy", envoytest.Default())
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stderr).To(ContainSubstring("/does/not/exist: no such file"))
	})

	It("needs an Envoy", func(ctx SpecContext) {
		r := runAlone(ctx, newProxyCommand(), "", "--dataplane", "web", "--envoy", "/does/not/exist")
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stderr).To(ContainSubstring("/does/not/exist"))
	})

	DescribeTable("takes signals that come together for one", func(again bool, after ...time.Duration) {
		stops, ended := make(chan os.Signal, len(after)+1), make(chan struct{})
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		times := make(chan time.Time, cap(stops))
		for _, d := range append([]time.Duration{0}, after...) {
			stops <- syscall.SIGTERM
			times <- at.Add(d)
		}
		result := make(chan bool, 1)
		go func() { result <- stoppedAgain(stops, ended, func() time.Time { return <-times }) }()
		if !again {
			Eventually(times).Should(BeEmpty(), "every signal is looked at")
			close(ended)
		}
		Eventually(result).Should(Receive(Equal(again)))
	},
		Entry("one alone", false),
		Entry("two at once", false, time.Duration(0)),
		Entry("several within a second", false, time.Millisecond, 10*time.Millisecond, 999*time.Millisecond),
		Entry("another after a second", true, time.Second),
		Entry("two at once and another later", true, time.Millisecond, 5*time.Second),
	)

	Context("with a host", func() {
		var xds, outbound string
		var arrived, release chan struct{}

		BeforeEach(func() {
			arrived, release = make(chan struct{}, 1), make(chan struct{})
			backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				arrived <- struct{}{}
				<-release
			}))
			DeferCleanup(backend.Close)
			DeferCleanup(func() { close(release) })
			ports := envoytest.FreePorts(3)
			xds = fmt.Sprintf("127.0.0.1:%d", ports[0])
			outbound = fmt.Sprintf("http://127.0.0.1:%d", ports[1])
			file := filepath.Join(GinkgoT().TempDir(), "mesh.yaml")
			Expect(os.WriteFile(file, []byte(strings.NewReplacer(
				"10001", fmt.Sprint(ports[1]), "9901", fmt.Sprint(ports[2]), "8080", fmt.Sprint(backend.Listener.Addr().(*net.TCPAddr).Port),
			).Replace(webAndBackend)), 0o644)).To(Succeed())
			startRun("-f", file, "--xds-address", xds)
		})

		It("prints a bootstrap that Envoy takes", func(ctx SpecContext) {
			r := runAlone(ctx, newProxyCommand(), "", "--dataplane", "web", "--xds-address", xds, "--print-bootstrap")
			Expect(r.stderr).To(BeEmpty())
			Expect(r.stdout).To(ContainSubstring("id: default.web"))
			Expect(envoytest.Validate(ctx, envoytest.Default(), []byte(r.stdout))).To(Succeed())
		})

		It("says which data planes there are in place of one that is not", func(ctx SpecContext) {
			r := runAlone(ctx, newProxyCommand(), "", "--dataplane", "wev", "--xds-address", xds, "--envoy", envoytest.Default())
			Expect(r.code).To(Equal(exitFailed))
			Expect(r.stderr).To(ContainSubstring(`there is no data plane "wev" in mesh "default"; it has backend, web`))
		})

		It("drains when it is stopped, by two signals at once as well, and ends at once when it is stopped again", func() {
			log := gbytes.NewBuffer()
			cmd := exec.Command(os.Args[0], "proxy", "--dataplane", "web", "--xds-address", xds, "--envoy", envoytest.Default(),
				"--drain-time", "5m", "--", "--concurrency", "1")
			cmd.Env = append(os.Environ(), asProgram+"=1")
			cmd.Stderr = io.MultiWriter(log, GinkgoWriter)
			Expect(cmd.Start()).To(Succeed())
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			DeferCleanup(func() { _ = cmd.Process.Kill() })
			Eventually(log).WithTimeout(20 * time.Second).Should(gbytes.Say("Envoy is ready"))

			cut := make(chan error, 1)
			go func() {
				_, err := http.Get(outbound)
				cut <- err
			}()
			Eventually(arrived).WithTimeout(5 * time.Second).Should(Receive())
			// Two of one kind might arrive as one.
			Expect(cmd.Process.Signal(syscall.SIGTERM)).To(Succeed())
			Expect(cmd.Process.Signal(syscall.SIGINT)).To(Succeed())
			Eventually(log).WithTimeout(5 * time.Second).Should(gbytes.Say("draining Envoy"))
			Consistently(cut, 100*time.Millisecond).ShouldNot(Receive())
			Eventually(func() string {
				if text := string(log.Contents()); strings.Contains(text, "killing Envoy") {
					return text // and soon there is nobody to signal
				}
				Expect(cmd.Process.Signal(syscall.SIGINT)).To(Succeed())
				return ""
			}).WithTimeout(10 * time.Second).WithPolling(200 * time.Millisecond).ShouldNot(BeEmpty())
			Eventually(cut).WithTimeout(5 * time.Second).Should(Receive(HaveOccurred()))
			Eventually(ended).WithTimeout(5 * time.Second).Should(Receive(BeNil()))
		})
	})
})
