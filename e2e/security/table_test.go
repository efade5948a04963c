package security_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

// line of the table of who can do what. The words are those of the document.
type line struct {
	where, who, what, answer string
	// try returns the answers, all of which have to be the line's.
	try func(*host) []string
}

// What the lines are about.
const (
	openAPI     = "API on loopback, no `--token-file`"
	tokenAPI    = "API with `--token-file`, on any address"
	otherAPI    = "API on another address"
	openXDS     = "xDS on loopback, neither tokens nor client certificates"
	tokenXDS    = "xDS with `--xds-token-file`, on any address"
	certXDS     = "xDS with `--xds-client-ca-file`, on any address"
	otherXDS    = "xDS on another address"
	doesNotRun  = "does not start, exit code 2"
	pageAnswer  = "403"
	unauthentic = "Unauthenticated"
	denied      = "PermissionDenied"
)

// Requests of the API by what they take.
var (
	probes = []request{{path: "/healthz"}, {path: "/readyz"}, {path: "/"}}
	reads  = []request{
		{path: "/config"}, {path: "/openapi.yaml"}, {path: "/meshes"}, {path: "/meshes/default"},
		{path: "/traffic-routes"}, {path: "/meshes/default/dataplanes/web"}, {path: "/mirrors"}, {path: "/log-level"}, {path: "/metrics"},
		{path: "/no/such/path"},
		{method: http.MethodHead, path: "/meshes"}, {method: http.MethodOptions, path: "/meshes"},
		{method: http.MethodPost, path: "/plan", body: service},
	}
	writes = []request{
		{method: http.MethodPut, path: "/meshes/default/external-services/one", body: `{"type": "ExternalService", "mesh": "default", "name": "one", "networking": {"address": "192.0.2.1:80"}, "tags": {"kuma.io/service": "one"}}`},
		{method: http.MethodDelete, path: "/meshes/default/external-services/one"},
		{method: http.MethodPost, path: "/apply", body: service},
		{method: http.MethodPost, path: "/restore", body: "not one"},
		{method: http.MethodPut, path: "/log-level", body: `{"level":"info"}`},
	}
	backups  = []request{{path: "/backup"}}
	profiles = []request{{path: "/debug/pprof/"}, {path: "/debug/pprof/heap"}, {path: "/debug/pprof/cmdline"}}
)

const service = "type: ExternalService\nname: two\nnetworking: {address: '192.0.2.2:80'}\ntags: {kuma.io/service: two}\n"

// all asks everything with what change makes of the requests.
func all(h *host, change func(*request), requests ...[]request) []string {
	GinkgoHelper()
	var answers []string
	for _, r := range slices.Concat(requests...) {
		change(&r)
		answers = append(answers, h.ask(r))
	}
	return answers
}

func nothing(*request) {}

func with(token string) func(*request) { return func(r *request) { r.token = token } }

// lines are the table of docs/security.md.
var lines = []line{
	{openAPI, "any program of this machine", "everything", yes, func(h *host) []string {
		h.run(loopback)
		return all(h, nothing, probes, reads, writes, backups, profiles)
	}},
	{openAPI, "a web page in a browser of this machine", "everything but `GET` of `/healthz`, `/readyz` and `/`", pageAnswer, func(h *host) []string {
		h.run(loopback)
		return slices.Concat(
			all(h, func(r *request) { r.header = http.Header{"Origin": {"https://example.com"}} }, writes),
			all(h, func(r *request) { r.header = http.Header{"Sec-Fetch-Site": {"cross-site"}} }, reads, writes, backups, profiles),
			all(h, func(r *request) { r.header = http.Header{"Sec-Fetch-Site": {"same-site"}} }, reads, writes, backups, profiles))
	}},
	{openAPI, "a web page whose name was made to lead here (DNS rebinding)", "everything", "421", func(h *host) []string {
		h.run(loopback)
		return all(h, func(r *request) { r.host = "rebound.example.com" }, probes, reads, writes, backups, profiles)
	}},

	{tokenAPI, "anybody", "`GET` of `/healthz`, `/readyz` and `/`, which has version and host name", yes, func(h *host) []string {
		h.run(loopback, h.tokens())
		return slices.Concat(all(h, nothing, probes), all(h, with(wrongToken), probes))
	}},
	{tokenAPI, "without a token", "everything else", "401", func(h *host) []string {
		h.run(loopback, h.tokens())
		return all(h, nothing, reads, writes, backups, profiles)
	}},
	{tokenAPI, "an unknown token, a proxy's among those", "everything else, up to 10 times at once", "401", func(h *host) []string {
		h.run(loopback, h.tokens(), h.xdsTokens())
		return slices.Concat(all(h, with(wrongToken), writes), all(h, with(proxyToken), backups, profiles[:1]))
	}},
	{tokenAPI, "an unknown token, from an address that sent more than that", "everything else", "429", func(h *host) []string {
		h.run(loopback, h.tokens())
		return []string{h.crowdedOut("429", reads[0]), h.crowdedOut("429", reads[1])}
	}},
	{tokenAPI, "a token, from an address that sent more unknown ones", "what it may do", yes, func(h *host) []string {
		h.run(loopback, h.tokens())
		h.crowdedOut("429", reads[0])
		return all(h, with(adminToken), reads, writes)
	}},
	{tokenAPI, "a token of the role `reader`", "`GET`, `HEAD`, `OPTIONS`, `POST /plan`", yes, func(h *host) []string {
		h.run(loopback, h.tokens())
		return all(h, with(readerToken), reads)
	}},
	{tokenAPI, "a token of the role `reader`", "`PUT`, `DELETE`, `POST` of anything else, and `GET` of `/backup` and `/debug/pprof/`", "403", func(h *host) []string {
		h.run(loopback, h.tokens())
		return all(h, with(readerToken), writes, backups, profiles)
	}},
	{tokenAPI, "a token of the role `admin`", "everything", yes, func(h *host) []string {
		h.run(loopback, h.tokens())
		return all(h, with(adminToken), probes, reads, writes, backups, profiles)
	}},
	{tokenAPI, "a token that was taken out of the file, after 2 s", "everything else", "401", func(h *host) []string {
		h.run(loopback, h.tokens())
		Expect(all(h, with(readerToken), reads[:1])).To(ConsistOf(yes))
		h.write("api-tokens", adminToken)
		Eventually(h.Err).WithTimeout(5 * time.Second).Should(gbytes.Say("read again: the tokens of the API"))
		return all(h, with(readerToken), reads[:8])
	}},

	{otherAPI, "", "without TLS or without `--token-file`", doesNotRun, func(h *host) []string {
		flags := []string{"--api-address", "0.0.0.0:0", "--xds-address", "127.0.0.1:0"}
		return []string{h.refused(flags), h.refused(flags, h.tls()), h.refused(flags, h.tokens())}
	}},
	{otherAPI, "a token, in TLS 1.2 or newer", "what it may do", yes, func(h *host) []string {
		h.run(everywhere, h.tls(), h.tokens(), h.xdsTokens())
		return slices.Concat(all(h, with(adminToken), reads, writes, backups), all(h, with(readerToken), reads),
			all(h, func(r *request) {
				r.token, r.tls = adminToken, &tls.Config{RootCAs: h.hosts.Pool(), MaxVersion: tls.VersionTLS12}
			}, reads))
	}},
	{otherAPI, "anybody, without TLS", "everything", none, func(h *host) []string {
		h.run(everywhere, h.tls(), h.tokens(), h.xdsTokens())
		h.api = strings.Replace(h.api, "https:", "http:", 1)
		return all(h, with(adminToken), probes, reads, writes, backups)
	}},
	{otherAPI, "anybody, in TLS 1.1 or older", "everything", none, func(h *host) []string {
		h.run(everywhere, h.tls(), h.tokens(), h.xdsTokens())
		return all(h, func(r *request) {
			r.token, r.tls = adminToken, &tls.Config{RootCAs: h.hosts.Pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		}, reads[:2])
	}},
	{otherAPI, "a token of the role `admin`", "`/debug/pprof/`", "404", func(h *host) []string {
		h.run(everywhere, h.tls(), h.tokens(), h.xdsTokens())
		return all(h, with(adminToken), profiles)
	}},
	{otherAPI, "anybody, with `--insecure` and no `--token-file`", "everything but `/debug/pprof/`; `run` warns at each start", yes, func(h *host) []string {
		h.run(everywhere, []string{"--insecure"})
		Expect(h.Err).To(gbytes.Say("WARN.*insecure: --api-address 0.0.0.0:0 can be reached from other machines"))
		return all(h, nothing, probes, reads, writes, backups)
	}},

	{openXDS, "any program of this machine", "the configuration of any data plane", yes, func(h *host) []string {
		h.run(loopback)
		return []string{h.connect(proxy{}, "web"), h.connect(proxy{}, "api")}
	}},

	{tokenXDS, "without a token, or with an unknown one, the API's among those", "any data plane", unauthentic, func(h *host) []string {
		h.run(loopback, h.xdsTokens(), h.tokens())
		return []string{h.connect(proxy{}, "web"), h.connect(proxy{token: wrongToken}, "web"), h.connect(proxy{token: adminToken}, "web")}
	}},
	{tokenXDS, "an unknown token, from an address that sent more than 10 at once", "any data plane", "ResourceExhausted", func(h *host) []string {
		h.run(loopback, h.xdsTokens())
		return []string{h.crowdedOutOfXDS()}
	}},
	{tokenXDS, "a token, from an address that sent more unknown ones", "any data plane", yes, func(h *host) []string {
		h.run(loopback, h.xdsTokens())
		h.crowdedOutOfXDS()
		return []string{h.connect(proxy{token: proxyToken}, "web")}
	}},
	{tokenXDS, "a token", "any data plane", yes, func(h *host) []string {
		h.run(loopback, h.xdsTokens())
		return []string{h.connect(proxy{token: proxyToken}, "web"), h.connect(proxy{token: proxyToken}, "api")}
	}},
	{tokenXDS, "a token with `default/web`", "that data plane", yes, func(h *host) []string {
		h.run(loopback, h.xdsTokens())
		return []string{h.connect(proxy{token: webToken}, "web")}
	}},
	{tokenXDS, "a token with `default/web`", "another data plane", denied, func(h *host) []string {
		h.run(loopback, h.xdsTokens())
		return []string{h.connect(proxy{token: webToken}, "api")}
	}},
	{tokenXDS, "a token that was taken out of the file, after 2 s", "a connection that it opened before", none, func(h *host) []string {
		h.run(loopback, h.xdsTokens())
		stream, err := h.discover(proxy{token: webToken}, "web")
		Expect(err).NotTo(HaveOccurred())
		h.write("xds-tokens", proxyToken)
		return []string{cut(stream.Recv)}
	}},
	{tokenXDS, "a token that was bound to another data plane in the file, after 2 s", "a connection that it opened before", none, func(h *host) []string {
		h.run(loopback, h.xdsTokens())
		stream, err := h.discover(proxy{token: proxyToken}, "web")
		Expect(err).NotTo(HaveOccurred())
		h.write("xds-tokens", proxyToken+" default/api")
		return []string{cut(stream.Recv)}
	}},

	{certXDS, "without a certificate, or with one of another authority, expired, or not for clients", "any data plane", none, func(h *host) []string {
		h.run(loopback, h.tls(), h.clientCA())
		other, err := backend.NewCA()
		Expect(err).NotTo(HaveOccurred())
		return []string{
			h.connect(proxy{}, "web"), h.connect(proxy{plain: true}, "web"), h.connect(proxy{token: proxyToken}, "web"),
			h.connect(proxy{cert: certificate(other, nil, "web")}, "web"),
			h.connect(proxy{cert: certificate(h.proxies, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "web")}, "web"),
			h.connect(proxy{cert: certificate(h.proxies, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, "web")}, "web"),
		}
	}},
	{certXDS, "a certificate", "any data plane", yes, func(h *host) []string {
		h.run(loopback, h.tls(), h.clientCA())
		cert := certificate(h.proxies, nil, "web.internal")
		return []string{h.connect(proxy{cert: cert}, "web"), h.connect(proxy{cert: cert}, "api")}
	}},
	{certXDS, "a certificate in the name `spiffe://DOMAIN/mesh/default/dataplane/web`", "that data plane", yes, func(h *host) []string {
		h.run(loopback, h.tls(), h.clientCA())
		return []string{h.connect(proxy{cert: certificate(h.proxies, nil, "spiffe://example.com/mesh/default/dataplane/web")}, "web")}
	}},
	{certXDS, "a certificate in the name `spiffe://DOMAIN/mesh/default/dataplane/web`", "another data plane", denied, func(h *host) []string {
		h.run(loopback, h.tls(), h.clientCA())
		return []string{h.connect(proxy{cert: certificate(h.proxies, nil, "spiffe://example.com/mesh/default/dataplane/web")}, "api")}
	}},
	{certXDS, "a certificate in a name that is almost such a one, as `spiffe://DOMAIN/mesh/default/dataplane/web/`", "any data plane", unauthentic, func(h *host) []string {
		h.run(loopback, h.tls(), h.clientCA())
		var answers []string
		for _, name := range []string{"/mesh/default/dataplane/web/", "/mesh/default/dataplane/", "/mesh/default/dataplane/web%2Fx", "/mesh/default/web"} {
			answers = append(answers, h.connect(proxy{cert: certificate(h.proxies, nil, "spiffe://example.com"+name)}, "web"))
		}
		return answers
	}},
	{certXDS, "a certificate whose authority was taken out of the file, after 2 s", "a connection that it opened before", none, func(h *host) []string {
		h.run(loopback, h.tls(), h.clientCA())
		stream, err := h.discover(proxy{cert: certificate(h.proxies, nil, "web")}, "web")
		Expect(err).NotTo(HaveOccurred())
		other, err := backend.NewCA()
		Expect(err).NotTo(HaveOccurred())
		h.write("proxies.crt", string(other.PEM()))
		return []string{cut(stream.Recv)}
	}},

	{otherXDS, "", "without TLS, or with neither `--xds-token-file` nor `--xds-client-ca-file`", doesNotRun, func(h *host) []string {
		flags := []string{"--api-address", "off", "--xds-address", "0.0.0.0:0"}
		return []string{h.refused(flags), h.refused(flags, h.tls()), h.refused(flags, h.xdsTokens()), h.refused(flags, h.clientCA())}
	}},
	{otherXDS, "a token or a certificate, in TLS", "what it may do", yes, func(h *host) []string {
		h.run(everywhere, h.tls(), h.tokens(), h.xdsTokens())
		answers := []string{h.connect(proxy{token: webToken}, "web")}
		other := prepare()
		other.run(everywhere, other.tls(), other.tokens(), other.clientCA())
		return append(answers, other.connect(proxy{cert: certificate(other.proxies, nil, "web")}, "web"))
	}},
	{otherXDS, "anybody, without TLS", "any data plane", none, func(h *host) []string {
		h.run(everywhere, h.tls(), h.tokens(), h.xdsTokens())
		return []string{h.connect(proxy{plain: true, token: proxyToken}, "web")}
	}},
	{otherXDS, "anybody, with `--insecure` and neither tokens nor client certificates", "any data plane; `run` warns at each start", yes, func(h *host) []string {
		h.run(everywhere, []string{"--insecure"})
		Expect(h.Err).To(gbytes.Say("WARN.*insecure: --xds-address 0.0.0.0:0 can be reached from other machines"))
		return []string{h.connect(proxy{}, "web")}
	}},
}

// crowdedOut sends unknown tokens until the answer to one is that too many came.
func (h *host) crowdedOut(expected string, r request) string {
	GinkgoHelper()
	r.token = wrongToken
	return crowdedOut(expected, func() string { return h.ask(r) })
}

func (h *host) crowdedOutOfXDS() string {
	GinkgoHelper()
	return crowdedOut("ResourceExhausted", func() string { return h.connect(proxy{token: wrongToken}, "web") })
}

func crowdedOut(expected string, bad func() string) string {
	GinkgoHelper()
	Eventually(bad).WithTimeout(time.Minute).WithPolling(time.Millisecond).Should(Equal(expected))
	return expected
}

// refused starts a host that must not come up.
func (h *host) refused(flags ...[]string) string {
	GinkgoHelper()
	session := launch(slices.Concat(append([][]string{{"run", "-f", h.path("resources")}}, flags...)...)...)
	Eventually(session).Should(gexec.Exit())
	Expect(session.Out.Contents()).To(BeEmpty())
	Expect(session.Err).To(gbytes.Say("--insecure"))
	return fmt.Sprintf("does not start, exit code %d", session.ExitCode())
}

// cut waits for the end of a connection.
func cut[T any](recv func() (T, error)) string {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := recv(); err != nil {
				return
			}
		}
	}()
	select {
	case <-ended:
		return none
	case <-time.After(5 * time.Second):
		return yes
	}
}

var _ = Describe("who can do what", func() {
	for _, l := range lines {
		It(fmt.Sprintf("%s: %s: %s: %s", l.where, l.who, l.what, l.answer), func() {
			Expect(l.try(prepare())).To(HaveEach(l.answer))
		})
	}

	It("is what the document says", func() {
		var table strings.Builder
		table.WriteString("| where | who | what | answer |\n|---|---|---|---|\n")
		for i, l := range lines {
			where := l.where
			if i > 0 && lines[i-1].where == where {
				where = ""
			}
			fmt.Fprintf(&table, "| %s | %s | %s | %s |\n", where, l.who, l.what, l.answer)
		}
		file := filepath.Join("..", "..", "docs", "security.md")
		document, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		inDocument := regexp.MustCompile(`(?m)^\| where \|.*\n(\|.*\n)*`)
		if os.Getenv("UPDATE_GOLDEN_FILES") == "true" {
			document = inDocument.ReplaceAllLiteral(document, []byte(table.String()))
			Expect(os.WriteFile(file, document, 0o644)).To(Succeed())
		}
		Expect(string(inDocument.Find(document))).To(Equal(table.String()))
	})
})
