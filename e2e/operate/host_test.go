package operate_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	dto "github.com/prometheus/client_model/go"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

// Tokens of who operates the host, and of web's proxy.
const (
	token    = "operator-0123456789abcdef0123456789"
	webToken = "web-0123456789abcdef0123456789abcdef"
)

// host is a process of `kuma-mirror run` with TLS, tokens, files and a store.
type host struct {
	*gexec.Session
	// dir has resources/, data/, token and web.token, tokens and xds-tokens,
	// host.crt, host.key and ca.crt.
	dir string
	// url of the API, and where xDS is.
	url, xds string
	client   *http.Client
}

// start runs the host with the files of resources, until the spec ends.
func start(resources map[string]string) *host {
	GinkgoHelper()
	h := &host{dir: GinkgoT().TempDir()}
	ca, err := backend.NewCA()
	Expect(err).NotTo(HaveOccurred())
	cert, key, err := ca.Issue("localhost", "127.0.0.1")
	Expect(err).NotTo(HaveOccurred())
	for name, content := range map[string]string{
		"token": token + "\n", "tokens": token + " admin operator\n",
		"web.token": webToken + "\n", "xds-tokens": webToken + " default/web\n",
		"host.crt": string(cert), "host.key": string(key), "ca.crt": string(ca.PEM()),
	} {
		h.write(name, content)
	}
	Expect(os.Mkdir(h.path("resources"), 0o700)).To(Succeed())
	for name, content := range resources {
		h.write("resources/"+name, content)
	}
	roots := x509.NewCertPool()
	Expect(roots.AppendCertsFromPEM(ca.PEM())).To(BeTrue())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	DeferCleanup(transport.CloseIdleConnections)
	h.client = &http.Client{Transport: transport, Timeout: 10 * time.Second}

	h.Session = launch("run", "-f", h.path("resources"), "--data-dir", h.path("data"),
		"--api-address", "127.0.0.1:0", "--xds-address", "127.0.0.1:0",
		"--tls-cert-file", h.path("host.crt"), "--tls-key-file", h.path("host.key"), "--token-file", h.path("tokens"), "--xds-token-file", h.path("xds-tokens"))
	Eventually(h).Should(gbytes.Say("Serving the API on .*\n"))
	greeting := string(h.Out.Contents())
	h.xds = regexp.MustCompile(`Serving xDS on (\S+) `).FindStringSubmatch(greeting)[1]
	h.url = regexp.MustCompile(`Serving the API on (\S+)`).FindStringSubmatch(greeting)[1]
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

func (h *host) write(name, content string) {
	GinkgoHelper()
	Expect(os.WriteFile(h.path(name), []byte(content), 0o600)).To(Succeed())
}

// launch runs kuma-mirror, with an end at the end of the spec.
func launch(args ...string) *gexec.Session {
	GinkgoHelper()
	session, err := gexec.Start(exec.Command(program, args...), GinkgoWriter, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() {
		session.Terminate()
		Eventually(session).Should(gexec.Exit(0))
	})
	return session
}

// do runs a command against the host's API, to its end.
func (h *host) do(ctx context.Context, input string, args ...string) string {
	GinkgoHelper()
	args = append(args, "--address", h.url, "--ca-cert-file", h.path("ca.crt"), "--token-file", h.path("token"))
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(out))
	return string(out)
}

// get asks the API with a token and returns the answer's code and body.
func (h *host) get(ctx context.Context, path, token string) (int, string) {
	GinkgoHelper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url+path, nil)
	Expect(err).NotTo(HaveOccurred())
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := h.client.Do(r)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	Expect(err).NotTo(HaveOccurred())
	return resp.StatusCode, string(body)
}

// metrics are those of one scrape.
type metrics map[string]*dto.MetricFamily

func (h *host) scrape(ctx context.Context) (metrics, string) {
	GinkgoHelper()
	code, body := h.get(ctx, "/metrics", token)
	Expect(code).To(Equal(http.StatusOK))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	Expect(err).NotTo(HaveOccurred())
	return families, body
}

// series are the names of what a query can ask for, with the labels of each.
func (m metrics) series() map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for name, family := range m {
		names := []string{name}
		if family.GetType() == dto.MetricType_HISTOGRAM {
			names = []string{name + "_bucket", name + "_sum", name + "_count"}
		}
		for _, n := range names {
			labels := map[string]bool{}
			for _, metric := range family.GetMetric() {
				for _, l := range metric.GetLabel() {
					labels[l.GetName()] = true
				}
			}
			if strings.HasSuffix(n, "_bucket") {
				labels["le"] = true
			}
			all[n] = labels
		}
	}
	return all
}

// sum adds the values of a metric that have these labels.
func (m metrics) sum(name string, labels ...string) float64 {
	var sum float64
	for _, metric := range m[name].GetMetric() {
		has := map[string]bool{}
		for _, l := range metric.GetLabel() {
			has[fmt.Sprintf("%s=%s", l.GetName(), l.GetValue())] = true
		}
		all := true
		for _, l := range labels {
			all = all && has[l]
		}
		if all {
			sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return sum
}
