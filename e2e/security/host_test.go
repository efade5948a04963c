package security_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
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
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

// Tokens of the files that a host can be given.
const (
	adminToken  = "admin-0123456789abcdef0123456789"
	readerToken = "reader-0123456789abcdef012345678"
	proxyToken  = "proxy-0123456789abcdef0123456789"
	webToken    = "web-0123456789abcdef0123456789ab"
	wrongToken  = "wrong-0123456789abcdef0123456789"
)

// host is a process of `kuma-mirror run`, and what it is made of.
type host struct {
	*gexec.Session
	// dir has: resources/ with the data planes web and api of the mesh
	// default; data/; api-tokens and xds-tokens; host.crt and host.key;
	// ca.crt, who signed those; proxies.crt, who signs client certificates.
	dir string
	// api is its URL, xds is host:port; both by 127.0.0.1.
	api, xds string

	hosts, proxies *backend.CA
}

// prepare writes what a host may be started with.
func prepare() *host {
	GinkgoHelper()
	h := &host{dir: GinkgoT().TempDir()}
	var err error
	h.hosts, err = backend.NewCA()
	Expect(err).NotTo(HaveOccurred())
	h.proxies, err = backend.NewCA()
	Expect(err).NotTo(HaveOccurred())
	cert, key, err := h.hosts.Issue("localhost", "127.0.0.1")
	Expect(err).NotTo(HaveOccurred())
	ports := envoytest.FreePorts(3)
	Expect(os.Mkdir(h.path("resources"), 0o700)).To(Succeed())
	for name, content := range map[string]string{
		"resources/dataplanes.yaml": fmt.Sprintf(`
type: Dataplane
name: web
networking:
  address: 127.0.0.1
  gateway: {tags: {kuma.io/service: web}}
  outbound: [{port: %d, tags: {kuma.io/service: api}}]
---
type: Dataplane
name: api
networking:
  address: 127.0.0.1
  inbound: [{port: %d, tags: {kuma.io/service: api, kuma.io/protocol: http}}]
  outbound: [{port: %d, tags: {kuma.io/service: api}}]
`, ports[0], ports[1], ports[2]),
		"api-tokens":  adminToken + " admin alice\n" + readerToken + " reader grafana\n",
		"xds-tokens":  proxyToken + "\n" + webToken + " default/web\n",
		"host.crt":    string(cert),
		"host.key":    string(key),
		"ca.crt":      string(h.hosts.PEM()),
		"proxies.crt": string(h.proxies.PEM()),
	} {
		h.write(name, content)
	}
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// write replaces a file at once.
func (h *host) write(name, content string) {
	GinkgoHelper()
	Expect(os.WriteFile(h.path(name+".next"), []byte(content), 0o600)).To(Succeed())
	Expect(os.Rename(h.path(name+".next"), h.path(name))).To(Succeed())
}

// Flags of the files.
func (h *host) tls() []string {
	return []string{"--tls-cert-file", h.path("host.crt"), "--tls-key-file", h.path("host.key")}
}
func (h *host) tokens() []string    { return []string{"--token-file", h.path("api-tokens")} }
func (h *host) xdsTokens() []string { return []string{"--xds-token-file", h.path("xds-tokens")} }
func (h *host) clientCA() []string  { return []string{"--xds-client-ca-file", h.path("proxies.crt")} }

// Flags of the addresses.
var (
	loopback   = []string{"--api-address", "127.0.0.1:0", "--xds-address", "127.0.0.1:0"}
	everywhere = []string{"--api-address", "0.0.0.0:0", "--xds-address", "0.0.0.0:0"}
)

// launch runs kuma-mirror; it is killed at the end of the spec.
func launch(args ...string) *gexec.Session {
	GinkgoHelper()
	session, err := gexec.Start(exec.Command(program, args...), GinkgoWriter, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { session.Kill().Wait() })
	return session
}

var (
	servesXDS = regexp.MustCompile(`Serving xDS on \S+:(\d+) `)
	servesAPI = regexp.MustCompile(`Serving the API on (https?)://\S+:(\d+)`)
)

// run starts the host with both sources, and waits until it is ready.
func (h *host) run(flags ...[]string) *host {
	GinkgoHelper()
	args := []string{"run", "-f", h.path("resources"), "--data-dir", h.path("data"), "--log-level", "debug"}
	for _, f := range flags {
		args = append(args, f...)
	}
	h.Session = launch(args...)
	Eventually(h).Should(gbytes.Say("Serving the API on .*\n"))
	greeting := string(h.Out.Contents())
	h.xds = "127.0.0.1:" + servesXDS.FindStringSubmatch(greeting)[1]
	at := servesAPI.FindStringSubmatch(greeting)
	h.api = at[1] + "://127.0.0.1:" + at[2]
	Eventually(func() string { return h.ask(request{path: "/readyz"}) }).Should(Equal(yes))
	return h
}

// request to the API.
type request struct {
	method, path, body string
	token              string
	host               string // in place of the address
	header             http.Header
	tls                *tls.Config // in place of the good one
}

// Answers that let a request through, whatever the API then makes of it, and
// that are none.
const (
	yes  = "yes"
	none = "no connection"
)

// ask returns yes, none, or the status by which the guard refuses.
func (h *host) ask(r request) string {
	GinkgoHelper()
	resp, err := h.send(r)
	if err != nil {
		return none
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMisdirectedRequest, http.StatusTooManyRequests:
		return fmt.Sprint(resp.StatusCode)
	case http.StatusBadRequest:
		if resp.Header.Get("Content-Type") == "" {
			return none // Go's words to who speaks HTTP where there is TLS
		}
	case http.StatusNotFound:
		if strings.HasPrefix(r.path, "/debug/") {
			return "404"
		}
	}
	return yes
}

func (h *host) send(r request) (*http.Response, error) {
	GinkgoHelper()
	if r.method == "" {
		r.method = http.MethodGet
	}
	req, err := http.NewRequest(r.method, h.api+r.path, strings.NewReader(r.body))
	Expect(err).NotTo(HaveOccurred())
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Host = r.host
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	if r.tls == nil {
		r.tls = &tls.Config{RootCAs: h.hosts.Pool()}
	}
	client := &http.Client{
		Timeout:       10 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: r.tls, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp, resp.Body.Close()
}

// proxy is who speaks xDS.
type proxy struct {
	token string
	// cert is shown; nil means none.
	cert *tls.Certificate
	// plain speaks no TLS to a host that may.
	plain bool
}

func (h *host) dial(p proxy) *grpc.ClientConn {
	GinkgoHelper()
	transport := insecure.NewCredentials()
	if !p.plain && strings.HasPrefix(h.api, "https:") {
		config := &tls.Config{RootCAs: h.hosts.Pool()}
		if p.cert != nil {
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.cert, nil }
		}
		transport = credentials.NewTLS(config)
	}
	conn, err := grpc.NewClient(h.xds, grpc.WithTransportCredentials(transport))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { _ = conn.Close() })
	return conn
}

// discover opens a stream as the Envoy of a data plane, and returns it when
// listeners have come. The stream is not good where err is not nil.
func (h *host) discover(p proxy, dataplane string) (discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient, error) {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	DeferCleanup(cancel)
	if p.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+p.token)
	}
	conn := h.dial(p)
	if _, err := api.NewBootstrapServiceClient(conn).GetBootstrap(ctx, &api.GetBootstrapRequest{Dataplane: dataplane}); err != nil {
		return nil, err
	}
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return nil, err
	}
	for _, kind := range []string{resource.ClusterType, resource.ListenerType} {
		// What is refused is told by Recv.
		_ = stream.Send(&discovery.DeltaDiscoveryRequest{Node: &core.Node{Id: "default." + dataplane}, TypeUrl: kind})
	}
	for {
		r, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if r.GetTypeUrl() == resource.ListenerType && len(r.GetResources()) > 0 {
			return stream, nil
		}
		_ = stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()})
	}
}

// connect returns yes, none, or the code of gRPC by which the guard refuses.
func (h *host) connect(p proxy, dataplane string) string {
	GinkgoHelper()
	_, err := h.discover(p, dataplane)
	switch code := status.Code(err); code {
	case codes.OK:
		return yes
	case codes.Unavailable:
		return none
	default:
		return code.String()
	}
}

// certificate is one of an authority.
func certificate(ca *backend.CA, change func(*x509.Certificate), names ...string) *tls.Certificate {
	GinkgoHelper()
	if change == nil {
		change = func(*x509.Certificate) {}
	}
	cert, key, err := ca.IssueChanged(change, names...)
	Expect(err).NotTo(HaveOccurred())
	pair, err := tls.X509KeyPair(cert, key)
	Expect(err).NotTo(HaveOccurred())
	return &pair
}

// raw is a connection to the API without TLS.
func (h *host) raw() net.Conn {
	GinkgoHelper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.api, "http://"))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { _ = conn.Close() })
	return conn
}
