// Package client_test runs the commands that ask a host against hosts that are
// processes of their own.
package client_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
)

func TestClient(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(10 * time.Second)
	SetDefaultEventuallyPollingInterval(10 * time.Millisecond)
	RunSpecs(t, "The client commands")
}

// program is the path of the built kuma-mirror.
var program string

var _ = SynchronizedBeforeSuite(func() []byte {
	path, err := world.BuildProgram()
	Expect(err).NotTo(HaveOccurred())
	return []byte(path)
}, func(path []byte) {
	program = string(path)
})

var _ = SynchronizedAfterSuite(func() {}, gexec.CleanupBuildArtifacts)

// host is `kuma-mirror run` with a store.
type host struct {
	session *gexec.Session
	address string
	// flags that clients need beside the address.
	flags []string
}

// startHost starts a host on free ports, and waits until it answers.
func startHost(dataDir, xdsAddress, apiAddress, scheme string, args ...string) *host {
	GinkgoHelper()
	args = append([]string{"run", "--data-dir", dataDir, "--xds-address", xdsAddress, "--api-address", apiAddress}, args...)
	session, err := gexec.Start(exec.Command(program, args...), GinkgoWriter, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { session.Kill().Wait() })
	Eventually(session).Should(gbytes.Say("xDS on "))
	return &host{session: session, address: scheme + "://" + apiAddress}
}

// result is what a command left behind.
type result struct {
	code           int
	stdout, stderr string
}

// run runs a command that asks the host.
func (h *host) run(stdin string, args ...string) result {
	GinkgoHelper()
	cmd := exec.Command(program, append(append(args, "--address", h.address), h.flags...)...)
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	cmd.Stdin = strings.NewReader(stdin)
	session, err := gexec.Start(cmd, nil, nil)
	Expect(err).NotTo(HaveOccurred())
	Eventually(session).Should(gexec.Exit())
	return result{session.ExitCode(), string(session.Out.Contents()), string(session.Err.Contents())}
}

// done is run of what has to succeed; it gives its output.
func (h *host) done(stdin string, args ...string) string {
	GinkgoHelper()
	r := h.run(stdin, args...)
	Expect(r.code).To(Equal(0), r.stderr)
	return r.stdout
}
