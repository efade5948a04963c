// Package demo_test runs `kuma-mirror demo` as a user does, and does what the
// documentation of the demo says.
package demo_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
)

// patience is for a machine that is busy with other suites.
const patience = time.Minute

// run starts `kuma-mirror demo` with args on the pinned Envoy.
func run(args ...string) *gexec.Session {
	GinkgoHelper()
	return runIn(os.TempDir(), args...)
}

// runIn is run with a directory for temporary files.
func runIn(tmp string, args ...string) *gexec.Session {
	GinkgoHelper()
	cmd := exec.Command(program, append([]string{"demo", "--envoy", envoytest.Default()}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	session, err := gexec.Start(cmd, GinkgoWriter, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() {
		session.Kill()
		Eventually(session, patience).Should(gexec.Exit())
	})
	return session
}

// ports of a demo.
type ports struct{ listener, admin, primary, shadow, xds uint32 }

func freePorts() ports {
	n := envoytest.FreePorts(5)
	return ports{n[0], n[1], n[2], n[3], n[4]}
}

func (p ports) flags() []string {
	return []string{
		"--port", fmt.Sprint(p.listener), "--admin-port", fmt.Sprint(p.admin), "--xds-port", fmt.Sprint(p.xds),
		"--primary-port", fmt.Sprint(p.primary), "--shadow-port", fmt.Sprint(p.shadow),
	}
}

// free fails while anybody listens on any of the ports.
func (p ports) free(g Gomega) {
	for _, port := range []uint32{p.listener, p.admin, p.primary, p.shadow, p.xds} {
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(l.Close()).To(Succeed())
	}
}

// curl is a GET as the documentation has it.
func curl(port uint32, path string) (header http.Header, body string) {
	GinkgoHelper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Get(fmt.Sprintf("http://localhost:%d%s", port, path))
	Expect(err).NotTo(HaveOccurred())
	text, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	Expect(response.Body.Close()).To(Succeed())
	Expect(response.StatusCode).To(Equal(http.StatusOK), string(text))
	return response.Header, string(text)
}

// grep returns the lines with the text.
func grep(text, lines string) []string {
	var found []string
	for line := range strings.Lines(lines) {
		if strings.Contains(line, text) {
			found = append(found, strings.TrimSuffix(line, "\n"))
		}
	}
	return found
}

var _ = Describe("kuma-mirror demo", func() {
	It("shows what happens to a few requests, and then does what the documentation says", func() {
		at := freePorts()
		session := run(at.flags()...)
		Eventually(session, patience).Should(gbytes.Say(`\nReady\. `))
		shown := string(session.Out.Contents())
		Expect(shown).To(And(
			ContainSubstring("-> the client got primary's answer; a copy reached the shadow\n"),
			ContainSubstring("-> the client got primary's answer; no copy was sent\n"),
			ContainSubstring("a copy reached the shadow with all 19 bytes of its body\n"),
			ContainSubstring("curl -v http://localhost:%d/api/v1", at.listener),
			ContainSubstring("curl http://localhost:%d/stats | grep shadow_cluster", at.admin),
			Not(ContainSubstring("\x1b")),
		))
		const shadowLog = `[SHADOW] "GET /api/v1 HTTP/1.1" 200 -`
		Expect(grep("/api/v1 HTTP", shown)).To(ConsistOf(
			`[PRIMARY] "GET /api/v1 HTTP/1.1" 200 -`, shadowLog,
			`[PRIMARY] "POST /api/v1 HTTP/1.1" 200 -`, `[SHADOW] "POST /api/v1 HTTP/1.1" 200 -`,
		))

		By("mirroring 50 requests to /api/v1, all of them")
		for range 50 {
			header, body := curl(at.listener, "/api/v1")
			Expect(body).To(HavePrefix(`{"backend": "primary", `))
			Expect(header.Get("X-Backend-Name")).To(Equal("primary"))
			Expect(header.Get("X-Request-Count")).To(MatchRegexp(`^\d+$`))
		}
		logged := func() string { return string(session.Out.Contents()) }
		Eventually(func() []string { return grep(shadowLog, logged()) }, patience).Should(HaveLen(51))
		Eventually(func() []string {
			_, stats := curl(at.admin, "/stats")
			return grep("shadow_cluster", stats)
		}, patience).Should(ContainElements(
			"cluster.shadow_cluster.upstream_rq_total: 50",
			"cluster.shadow_cluster.upstream_rq_completed: 50",
			"cluster.shadow_cluster.upstream_rq_2xx: 50",
		))

		By("mirroring some of those to /api/v2")
		for range 50 {
			curl(at.listener, "/api/v2")
		}
		Eventually(func() []string { return grep(`[SHADOW] "GET /api/v2 HTTP/1.1" 200 -`, logged()) }, patience).ShouldNot(BeEmpty())

		By("mirroring none of those to /api/v3")
		for range 20 {
			curl(at.listener, "/api/v3")
		}
		Eventually(func() []string { return grep(`[PRIMARY] "GET /api/v3 HTTP/1.1" 200 -`, logged()) }, patience).Should(HaveLen(21))
		Expect(grep(`[SHADOW] "GET /api/v3`, logged())).To(BeEmpty())

		By("answering the commands of the troubleshooting section")
		_, body := curl(at.admin, "/ready")
		Expect(body).To(Equal("LIVE\n"))
		_, body = curl(at.admin, "/clusters")
		Expect(grep(fmt.Sprintf("shadow_cluster::127.0.0.1:%d::health_flags::healthy", at.shadow), body)).To(HaveLen(1))

		By("ending when asked to")
		session.Interrupt()
		Eventually(session, patience).Should(gexec.Exit(0))
		Expect(session.Err.Contents()).To(BeEmpty())
		// 7 of its own, and 120 from here.
		Expect(session).To(gbytes.Say(`Stopped\. primary answered 127 requests; shadow got \d+ copies\.\n`))
		at.free(Default)
	})

	It("goes on when its shadow is killed, and ends on SIGTERM", func() {
		at := freePorts()
		session := run(at.flags()...)
		Eventually(session, patience).Should(gbytes.Say(`Ctrl-C ends the demo`))
		pid := regexp.MustCompile(`kill -9 (\d+)`).FindSubmatch(session.Out.Contents())
		Expect(pid).NotTo(BeNil())
		n, err := strconv.Atoi(string(pid[1]))
		Expect(err).NotTo(HaveOccurred())
		Expect(syscall.Kill(n, syscall.SIGKILL)).To(Succeed())
		Eventually(session, patience).Should(gbytes.Say(`The shadow is gone \(signal: killed\)`))
		for range 20 {
			_, body := curl(at.listener, "/api/v1")
			Expect(body).To(HavePrefix(`{"backend": "primary", `))
		}
		session.Terminate()
		Eventually(session, patience).Should(gexec.Exit(0))
		Expect(session).To(gbytes.Say(`Stopped\. primary answered 27 requests; shadow got [2-6] copies\.`))
		at.free(Default)
	})

	It("leaves nobody listening even when it is killed", func() {
		at := freePorts()
		// The killed demo cannot remove its files.
		session := runIn(GinkgoT().TempDir(), at.flags()...)
		Eventually(session, patience).Should(gbytes.Say(`\nReady\. `))
		session.Kill()
		Eventually(session, patience).Should(gexec.Exit())
		Eventually(at.free, patience).Should(Succeed())
	})

	It("names every port that is taken", func() {
		at := freePorts()
		for _, port := range []uint32{at.listener, at.shadow} {
			l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(l.Close)
		}
		session := run(at.flags()...)
		Eventually(session, patience).Should(gexec.Exit(1))
		Expect(string(session.Err.Contents())).To(And(
			ContainSubstring("port %d, for Envoy's listener: something else listens on it; --port PORT takes another", at.listener),
			ContainSubstring("port %d, for the shadow backend: something else listens on it; --shadow-port PORT takes another", at.shadow),
		))
		Expect(session.Out.Contents()).To(BeEmpty())
	})

	It("says how to get an Envoy that is not there", func() {
		session := run("--envoy", "/nonexistent/envoy")
		Eventually(session, patience).Should(gexec.Exit(1))
		Expect(session.Err).To(gbytes.Say(`--envoy names "/nonexistent/envoy"`))
	})

	DescribeTable("refuses a wrong command line",
		func(message string, args ...string) {
			session := run(args...)
			Eventually(session, patience).Should(gexec.Exit(2))
			Expect(session.Err).To(gbytes.Say(message))
		},
		Entry("with a port that is none", "--port is 70000", "--port", "70000"),
		Entry("with a port for two things", "both 9902", "--port", "9902"),
		Entry("with a format but no check", "--output is for demo --check", "-o", "json"),
		Entry("with an unknown format", "table, json, yaml", "--check", "-o", "xml"),
		Entry("with an argument", `unknown command "twice"`, "twice"),
	)
})

var _ = Describe("kuma-mirror demo --check", func() {
	It("prints what was expected and what was seen", func() {
		session := run("--check")
		Eventually(session, patience).Should(gexec.Exit(0))
		Expect(session.Err.Contents()).To(BeEmpty())
		Expect(string(session.Out.Contents())).To(And(
			MatchRegexp(`(?m)^TEST CASE +EXPECTED +SEEN +RESULT$`),
			MatchRegexp(`(?m)^test_100_percent_mirroring +100 of 100 copied +100 of 100 copied +passed$`),
			MatchRegexp(`(?m)^No Impact on Primary +shadow killed: 300 of 300 answered +300 of 300 in .* passed$`),
			ContainSubstring("12 of 12 passed"),
			Not(ContainSubstring("[SHADOW]")),
		))
	})

	It("fails, with the same table, when something is wrong", func() {
		at := freePorts()
		session := run(append(at.flags(), "--check", "-o", "json")...)
		// Requests that are no copies, as if Envoy mirrored more than it should.
		client := http.Client{Timeout: time.Second}
		DeferCleanup(client.CloseIdleConnections)
		for exited := false; !exited; {
			response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/stray", at.shadow))
			if err == nil {
				Expect(response.Body.Close()).To(Succeed())
			}
			select {
			case <-session.Exited:
				exited = true
			case <-time.After(time.Millisecond):
			}
		}
		Expect(session).To(gexec.Exit(1))
		var report struct {
			Passed  bool
			Results []struct {
				Name, Problem string
				Passed        bool
			}
		}
		Expect(json.Unmarshal(session.Out.Contents(), &report)).To(Succeed())
		Expect(report.Passed).To(BeFalse())
		Expect(report.Results).To(HaveLen(12))
		Expect(report.Results).To(ContainElement(And(
			HaveField("Passed", false), HaveField("Problem", ContainSubstring("no true copies")))))
		at.free(Default)
	})
})
