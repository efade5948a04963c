package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
)

// startRun runs `run` with args until the spec ends, without an API unless args
// say where.
func startRun(args ...string) (stdout, stderr *gbytes.Buffer) {
	GinkgoHelper()
	if !slices.Contains(args, "--api-address") {
		args = append(args, "--api-address", "off")
	}
	stdout, stderr = gbytes.NewBuffer(), gbytes.NewBuffer()
	cmd := newRunCommand()
	cmd.SetOut(io.MultiWriter(stdout, GinkgoWriter))
	cmd.SetErr(io.MultiWriter(stderr, GinkgoWriter))
	cmd.SetArgs(args)
	ctx, cancel := context.WithCancel(context.Background())
	code := make(chan int, 1)
	go func() { code <- run(ctx, cmd) }()
	DeferCleanup(func() {
		cancel()
		Eventually(code).WithTimeout(5 * time.Second).Should(Receive(Equal(exitOK)))
	})
	Eventually(stdout).WithTimeout(5 * time.Second).Should(gbytes.Say("Serving xDS"))
	return stdout, stderr
}

var _ = Describe("kuma-mirror run", func() {
	var dir, file string

	BeforeEach(func() {
		dir = GinkgoT().TempDir()
		file = filepath.Join(dir, "mesh.yaml")
		Expect(os.WriteFile(file, []byte(webAndBackend), 0o644)).To(Succeed())
	})

	It("greets with what it serves and what to do next", func() {
		address := fmt.Sprintf("127.0.0.1:%d", envoytest.FreePorts(1)[0])
		other := filepath.Join(dir, "other.yaml")
		Expect(os.WriteFile(other, []byte("type: Mesh\nname: shop\n---\ntype: Dataplane\nmesh: shop\nname: till\nnetworking: {address: 127.0.0.1, gateway: {tags: {kuma.io/service: till}}}\n"), 0o644)).To(Succeed())
		stdout, _ := startRun("-f", file, "-f", other, "--xds-address", address)
		Expect(stdout).To(gbytes.Say("(?s)^ on " + address + " for 3 data planes of " + file + ", " + other + "\n" +
			"  mesh default: backend, web\n  mesh shop: till\n" +
			"Start the Envoy of one of them in another terminal:\n  kuma-mirror proxy --dataplane web --xds-address " + address + "\n$"))
	})

	It("says of a file that turns bad that what it held is in use, until it is mended", func(ctx SpecContext) {
		ports := envoytest.FreePorts(2)
		api := fmt.Sprintf("127.0.0.1:%d", ports[1])
		startRun("-f", dir, "--xds-address", fmt.Sprintf("127.0.0.1:%d", ports[0]), "--api-address", api)
		replace := func(content string) {
			GinkgoHelper()
			Expect(os.WriteFile(file+".new", []byte(content), 0o644)).To(Succeed())
			Expect(os.Rename(file+".new", file)).To(Succeed())
		}
		check := func() ran { return runAlone(ctx, newStatusCommand(), "", "--address", "http://"+api, "--check") }
		ready := func() string {
			GinkgoHelper()
			response, err := http.Get("http://" + api + "/readyz?verbose")
			Expect(err).NotTo(HaveOccurred())
			defer func() { _ = response.Body.Close() }()
			body, err := io.ReadAll(response.Body)
			Expect(err).NotTo(HaveOccurred())
			return string(body)
		}
		Eventually(func() int { return check().code }).Should(Equal(exitOK))
		Expect(ready()).To(Equal("[+] files ok\n[+] resources ok\n[+] dataplanes ok\nready\n"))

		replace("type: [")
		Eventually(func() int { return check().code }).Should(Equal(exitFailed))
		Expect(check().stdout).To(HavePrefix("file " + file + " is not in use as written: not YAML"))
		Expect(ready()).To(HavePrefix("[-] files: 1 not in use as written"))

		replace(webAndBackend)
		Eventually(func() int { return check().code }).Should(Equal(exitOK))
	})

	It("lists all that is wrong with the resources and serves nothing", func(ctx SpecContext) {
		Expect(os.WriteFile(filepath.Join(dir, "broken.yaml"), []byte(broken), 0o644)).To(Succeed())
		r := runAlone(ctx, newRunCommand(), "", "-f", dir, "-f", "/does/not/exist")
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stdout).To(BeEmpty())
		Expect(r.stderr).To(ContainSubstring("broken.yaml"))
		Expect(r.stderr).To(ContainSubstring("/does/not/exist: cannot be read: no such file or directory\n"))
		Expect(r.stderr).To(MatchRegexp(`Error: nothing is served: \d errors in the resources\n$`))
	})

	It("names the flag where its port is taken", func(ctx SpecContext) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = l.Close() }()
		r := runAlone(ctx, newRunCommand(), "", "-f", dir, "--xds-address", l.Addr().String(), "--api-address", "off")
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stderr).To(And(ContainSubstring(fmt.Sprintf("port %d is taken", l.Addr().(*net.TCPAddr).Port)), ContainSubstring("--xds-address")))
	})

	It("names all files of its protection that cannot be used", func(ctx SpecContext) {
		bad := filepath.Join(dir, "mesh.yaml")
		r := runAlone(ctx, newRunCommand(), "", "-f", dir, "--api-address", "127.0.0.1:0", "--token-file", bad, "--xds-token-file", "/does/not/exist")
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stdout).To(BeEmpty())
		Expect(r.stderr).To(And(ContainSubstring(bad+": line 2: "), ContainSubstring("/does/not/exist: no such file")))
	})

	DescribeTable("refuses to serve other machines", func(ctx SpecContext, address string) {
		r := runAlone(ctx, newRunCommand(), "", "-f", dir, "--xds-address", address)
		Expect(r.code).To(Equal(exitUsage))
		Expect(r.stderr).To(And(ContainSubstring("--tls-cert-file"), ContainSubstring("--insecure")))
	},
		Entry("on all addresses", "0.0.0.0:5678"),
		Entry("on all addresses, in IPv6", "[::]:5678"),
		Entry("on all addresses, without saying so", ":5678"),
		Entry("on one of them", "192.0.2.1:5678"),
		Entry("on a name", "example.com:5678"),
	)

	It("serves other machines when told to, with a warning", func() {
		port := envoytest.FreePorts(1)[0]
		stdout, stderr := startRun("-f", dir, "--xds-address", fmt.Sprintf("0.0.0.0:%d", port), "--insecure")
		Expect(stderr).To(gbytes.Say("WARN.*insecure: --xds-address .* without TLS .*without --xds-token-file"))
		Expect(stdout).To(gbytes.Say(fmt.Sprintf("proxy --dataplane web --xds-address 127.0.0.1:%d\n", port)))
	})

	DescribeTable("knows wrong command lines", func(ctx SpecContext, message string, args ...string) {
		r := runAlone(ctx, newRunCommand(), "", args...)
		Expect(r.code).To(Equal(exitUsage))
		Expect(r.stderr).To(ContainSubstring(message))
	},
		Entry("no resources", "name files with -f DIR, a store for the API with --data-dir DIR, or both"),
		Entry("an address without a port", "has to be host:port", "-f", "x", "--xds-address", "127.0.0.1"),
		Entry("another address without a port", `--api-address "localhost" has to be host:port, such as 127.0.0.1:5681 or off`, "-f", "x", "--api-address", "localhost"),
		Entry("half a certificate", "--tls-cert-file and --tls-key-file go together", "-f", "x", "--tls-cert-file", "c"),
		Entry("an open API", "--api-address 0.0.0.0:1 can be reached from other machines and needs --tls-cert-file and --tls-key-file and --token-file", "-f", "x", "--api-address", "0.0.0.0:1"),
		Entry("a level that is none", `--log-level "loud"`, "-f", "x", "--log-level", "loud"),
		Entry("a format that is none", `--log-format "xml"`, "-f", "x", "--log-format", "xml"),
	)

	It("logs as JSON when told to", func() {
		_, stderr := startRun("-f", dir, "--xds-address", fmt.Sprintf("127.0.0.1:%d", envoytest.FreePorts(1)[0]), "--log-format", "json")
		Eventually(stderr).WithTimeout(5 * time.Second).Should(gbytes.Say(`{"time":.*"msg":"serving a data plane","mesh":"default","dataplane":"backend"}`))
	})
})
