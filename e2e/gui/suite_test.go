// Package gui_test uses the web page as people do: in a real browser, against a
// real process with a real Envoy.
package gui_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

func TestGUI(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(20 * time.Second)
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "The web page in a browser")
}

const (
	admin  = "admin-token-of-the-test"
	reader = "reader-token-of-the-test"
)

var program string

var _ = SynchronizedBeforeSuite(func() []byte {
	browserPath()
	path, err := world.BuildProgram()
	Expect(err).NotTo(HaveOccurred())
	return []byte(path)
}, func(path []byte) { program = string(path) })

var _ = SynchronizedAfterSuite(func() {}, gexec.CleanupBuildArtifacts)

// browserPath is $CHROME, the pinned browser, or one on PATH.
func browserPath() string {
	GinkgoHelper()
	if path := os.Getenv("CHROME"); path != "" {
		return path
	}
	if pinned, _ := filepath.Glob("../../.chrome/*/chrome"); len(pinned) > 0 {
		path, err := filepath.Abs(pinned[len(pinned)-1])
		Expect(err).NotTo(HaveOccurred())
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Fail("there is no browser: get the pinned one with 'make browser', or set CHROME=/path/to/chrome")
	return ""
}

// browser opens one that ends with the spec.
func browser() context.Context {
	GinkgoHelper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browserPath()), chromedp.NoSandbox, chromedp.DisableGPU)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	DeferCleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	DeferCleanup(cancel)
	Expect(chromedp.Do(ctx)).To(Succeed())
	return ctx
}

// run does things in the browser.
func run(ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	GinkgoHelper()
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	Expect(chromedp.Do(limited, actions...)).To(Succeed())
}

// eval is the value of an expression in the page.
func eval[T any](ctx context.Context, expression string) T {
	GinkgoHelper()
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	value, err := chromedp.Run(limited, chromedp.Evaluate[T](expression))
	Expect(err).NotTo(HaveOccurred())
	return value
}

// serve starts a process with two mirrors, one of which reaches nothing, and
// web's Envoy; it returns the page's address.
func serve(ctx context.Context) (w *world.World, url string) {
	GinkgoHelper()
	w = world.New(GinkgoT())
	w.HTTP("v1")
	w.HTTP("v2")
	w.Write("v3.yaml", world.Instance("v3", "backend", "v3", "http", envoytest.FreePorts(1)[0]))
	w.Route(`http:
- {match: {path: {prefix: /broken}}, destination: {kuma.io/service: backend, version: v1}, mirror: {destination: {kuma.io/service: backend, version: v3}, name: broken}}
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: backend, version: v2}, name: next, percentage: 50}
`)
	tokens := filepath.Join(GinkgoT().TempDir(), "tokens")
	Expect(os.WriteFile(tokens, []byte(admin+" admin alice\n"+reader+" reader bob\n"), 0o600)).To(Succeed())
	session, err := gexec.Start(exec.Command(program, "run", "-f", w.Dir, "--xds-address", w.XDSAddress,
		"--api-address", "127.0.0.1:0", "--token-file", tokens), GinkgoWriter, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Eventually(session.Terminate(), 15*time.Second).Should(gexec.Exit()) })
	Eventually(session).Should(gbytes.Say("Serving the web page on .*\n"))
	url = regexp.MustCompile(`the web page on (\S+)`).FindStringSubmatch(string(session.Out.Contents()))[1]
	versions := envoytest.Versions()
	w.Envoy(ctx, envoytest.Binary(versions[len(versions)-1]), "web", ads.Delta)
	return w, url
}

// login gives a token to the login page, which is where the browser is sent.
func login(ctx context.Context, url, token string) {
	GinkgoHelper()
	run(ctx, chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("#token")), chromedp.SendKeys(chromedp.CSS("#token"), token+"\r"),
		chromedp.WaitNotPresent(chromedp.CSS("#token")))
}
