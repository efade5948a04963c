package demo_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
)

var _ = Describe("examples/first-mirror", func() {
	root := filepath.Join("..", "..")
	example := filepath.Join(root, "examples", "first-mirror")

	It("is the policy that the README shows", func() {
		readme, err := os.ReadFile(filepath.Join(root, "README.md"))
		Expect(err).NotTo(HaveOccurred())
		policy, err := os.ReadFile(filepath.Join(example, "policy.yaml"))
		Expect(err).NotTo(HaveOccurred())
		Expect(string(readme)).To(ContainSubstring("```yaml\n" + string(policy) + "```"))
	})

	It("does what the README says, on other ports", func() {
		ports := envoytest.FreePorts(5)
		web, admin, v1, v2, xds := ports[0], ports[1], ports[2], ports[3], fmt.Sprintf("127.0.0.1:%d", ports[4])
		dir := GinkgoT().TempDir()
		move := strings.NewReplacer("port: 10001", fmt.Sprint("port: ", web), "port: 9902", fmt.Sprint("port: ", admin),
			"port: 8081", fmt.Sprint("port: ", v1), "port: 8082", fmt.Sprint("port: ", v2))
		files, err := filepath.Glob(filepath.Join(example, "*.yaml"))
		Expect(err).NotTo(HaveOccurred())
		for _, file := range files {
			text, err := os.ReadFile(file)
			Expect(err).NotTo(HaveOccurred())
			Expect(os.WriteFile(filepath.Join(dir, filepath.Base(file)), []byte(move.Replace(string(text))), 0o600)).To(Succeed())
		}
		start := func(args ...string) *gexec.Session {
			GinkgoHelper()
			session, err := gexec.Start(exec.Command(program, args...), GinkgoWriter, GinkgoWriter)
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(func() {
				session.Terminate()
				Eventually(session, patience).Should(gexec.Exit(0))
			})
			return session
		}

		Eventually(start("validate", "-f", dir), patience).Should(gbytes.Say("Valid: 0 errors, 0 warnings in 4 resources"))
		Eventually(start("render", "-f", dir, "--dataplane", "web"), patience).Should(gbytes.Say("id: default.web"))
		primary := start("backend", "--name", "v1", "--port", fmt.Sprint(v1))
		shadow := start("backend", "--name", "v2", "--port", fmt.Sprint(v2))
		for _, backend := range []*gexec.Session{primary, shadow} {
			Eventually(backend, patience).Should(gbytes.Say("listening"))
		}
		start("run", "-f", dir, "--xds-address", xds, "--api-address", "off")
		proxy := start("proxy", "--dataplane", "web", "--xds-address", xds, "--envoy", envoytest.Default(), "--drain-time", "0s")
		Eventually(proxy.Err, patience).Should(gbytes.Say("Envoy is ready"))

		_, body := curl(web, "/api/hello")
		Expect(body).To(HavePrefix(`{"backend": "v1", `))
		Eventually(shadow, patience).Should(gbytes.Say(`\[V2\] "GET /api/hello HTTP/1.1" 200 -`))
		curl(web, "/other")
		Eventually(primary, patience).Should(gbytes.Say(`\[V1\] "GET /other HTTP/1.1" 200 -`))
		_, stats := curl(admin, "/stats")
		Expect(grep("_mirror.upstream_rq_total", stats)).To(ConsistOf(HaveSuffix(": 1")), "/other is not mirrored")
	})
})
