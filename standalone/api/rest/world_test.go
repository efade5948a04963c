package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/files"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
)

// world is an API on a store, and maybe files, of its own.
type world struct {
	catalog *catalog.Catalog
	server  *server
	url     string
	client  *http.Client
	xds     string
}

// setup of a world.
type setup struct {
	files   []string
	noStore bool
	// serves says that there is a host, to which Envoys connect.
	serves  bool
	options func(*Options)
	audit   func(context.Context, []catalog.Written, error)
	// wrap, where it is set, stands before the API.
	wrap func(http.Handler) http.Handler
}

// newWorld serves until the spec ends. Every exchange with it is held against
// the OpenAPI document.
func newWorld(s setup) *world {
	GinkgoHelper()
	log := slog.New(slog.NewTextHandler(GinkgoWriter, nil))
	o := catalog.Options{Log: log, OnWrite: s.audit}
	if !s.noStore {
		st, err := store.Open(GinkgoT().TempDir(), store.Options{Log: log})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(st.Close)
		o.Store = st
	}
	if len(s.files) > 0 {
		source, err := files.Open(context.Background(), s.files, files.Options{Check: catalog.Validate, Log: log})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(source.Close)
		o.Files = source
	}
	c, err := catalog.New(o)
	Expect(err).NotTo(HaveOccurred())
	w := &world{catalog: c}
	options := Options{Catalog: c, Store: o.Store, Version: "v1.2.3", Log: log}
	run := func(ctx context.Context) error { return c.Run(ctx, func([]*api.Resource) {}) }
	if s.serves {
		options.Host = host.New(host.Options{Source: c, Log: log})
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		w.xds = listener.Addr().String()
		run = func(ctx context.Context) error { return options.Host.Serve(ctx, listener) }
	}
	if s.options != nil {
		s.options(&options)
	}
	w.server = newServer(options)
	handler := w.server.router()
	if s.wrap != nil {
		handler = s.wrap(handler)
	}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	running.Go(func() {
		defer GinkgoRecover()
		Expect(run(ctx)).To(Or(Succeed(), MatchError(context.Canceled)))
	})
	DeferCleanup(func() {
		cancel()
		running.Wait()
	})

	server := httptest.NewServer(handler)
	DeferCleanup(server.Close)
	w.url = server.URL
	w.client = server.Client()
	w.client.Timeout = 10 * time.Second
	w.client.Transport = checked{w.client.Transport}
	w.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return w
}

// connect is an Envoy that asks for its clusters and acknowledges what it gets.
func (w *world) connect(node string) {
	GinkgoHelper()
	conn, err := grpc.NewClient(w.xds, grpc.WithTransportCredentials(insecure.NewCredentials()))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(conn.Close)
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(context.Background())
	Expect(err).NotTo(HaveOccurred())
	ask := &discovery.DiscoveryRequest{Node: &core.Node{Id: node}, TypeUrl: resource.ClusterType}
	Expect(stream.Send(ask)).To(Succeed())
	got, err := stream.Recv()
	Expect(err).NotTo(HaveOccurred())
	Expect(stream.Send(&discovery.DiscoveryRequest{TypeUrl: resource.ClusterType, VersionInfo: got.VersionInfo, ResponseNonce: got.Nonce})).To(Succeed())
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// JSON is the body, decoded.
func (a answer) JSON() map[string]any {
	GinkgoHelper()
	var body map[string]any
	Expect(json.Unmarshal([]byte(a.body), &body)).To(Succeed(), a.body)
	return body
}

// problem is the body, as an error has to be.
func (a answer) problem() problem {
	GinkgoHelper()
	Expect(a.header).To(HaveKeyWithValue("Content-Type", []string{"application/problem+json"}), a.body)
	var p problem
	Expect(json.Unmarshal([]byte(a.body), &p)).To(Succeed(), a.body)
	Expect(p.Type).To(Equal("/std-errors"))
	Expect(p.Status).To(Equal(a.status))
	Expect(p.Title).NotTo(BeEmpty())
	Expect(p.Detail).NotTo(BeEmpty())
	return p
}

// header sets a header of a request.
type header struct{ name, value string }

// do sends a request. A body is a string, or what is to be JSON.
func (w *world) do(method, path string, body any, headers ...header) answer {
	GinkgoHelper()
	a, err := w.try(method, path, body, headers...)
	Expect(err).NotTo(HaveOccurred())
	return a
}

func (w *world) try(method, path string, body any, headers ...header) (answer, error) {
	var content io.Reader
	contentType := ""
	switch b := body.(type) {
	case nil:
	case string:
		content, contentType = strings.NewReader(b), "application/yaml"
	case io.Reader:
		content, contentType = b, "application/octet-stream"
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			return answer{}, err
		}
		content, contentType = bytes.NewReader(encoded), "application/json"
	}
	req, err := http.NewRequest(method, w.url+path, content)
	if err != nil {
		return answer{}, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for _, h := range headers {
		req.Header.Set(h.name, h.value)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, header: resp.Header, body: string(got)}, err
}

func (w *world) get(path string, headers ...header) answer {
	GinkgoHelper()
	return w.do(http.MethodGet, path, nil, headers...)
}

func (w *world) put(path string, body any, headers ...header) answer {
	GinkgoHelper()
	return w.do(http.MethodPut, path, body, headers...)
}

func (w *world) delete(path string, headers ...header) answer {
	GinkgoHelper()
	return w.do(http.MethodDelete, path, nil, headers...)
}

// has puts resources that a spec starts from.
func (w *world) has(documents string) {
	GinkgoHelper()
	resources, err := api.Parse("spec", []byte(documents))
	Expect(err).NotTo(HaveOccurred())
	_, err = w.catalog.Change(context.Background(), resources, nil)
	Expect(err).NotTo(HaveOccurred())
}
