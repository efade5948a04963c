package load_test

import (
	"bytes"
	"context"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

// window is what HTTP/2 sends a proxy before it reads.
const window = 1 << 16

// proxy is an xDS client that asks for what an Envoy asks for, and acknowledges
// all of it.
type proxy struct {
	stream stream
	// wire is what the connection's bytes come through, and answers what its
	// acknowledgements do.
	wire, answers gate

	mu     sync.Mutex // guards what follows
	pushes int
	// revisions of the route tables, by name; those without one are not in it.
	revisions map[string]int
	asked     map[string][]string     // names by type
	last      map[string][]*anypb.Any // of the latest push, by type
	// changed is closed and replaced with every push.
	changed chan struct{}
}

// stream is one of either protocol.
type stream interface {
	// ask subscribes to names of a type; to all without any.
	ask(typeURL string, names []string) error
	// receive returns the next push.
	receive() (push, error)
	// acknowledge accepts a push; names are those it is subscribed to by now.
	acknowledge(p push, names []string) error
}

// push is one response.
type push struct {
	typeURL, version, nonce string
	resources               []*anypb.Any
}

// connect starts the proxy of a data plane. It ends with the test.
func connect(t world.T, h *host, dataplane string, protocol ads.Protocol) *proxy {
	t.Helper()
	p := &proxy{revisions: map[string]int{}, asked: map[string][]string{}, last: map[string][]*anypb.Any{}, changed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	conn, err := grpc.NewClient("passthrough:///"+h.xds, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp", address)
			return gated{Conn: c, gate: &p.wire}, err
		}))
	Expect(err).NotTo(HaveOccurred())
	client, node := discovery.NewAggregatedDiscoveryServiceClient(conn), &core.Node{Id: "default." + dataplane}
	if protocol == ads.Delta {
		s, openErr := client.DeltaAggregatedResources(ctx)
		p.stream, err = &deltaStream{s, node}, openErr
	} else {
		s, openErr := client.StreamAggregatedResources(ctx)
		p.stream, err = &sotwStream{s, node, map[string]string{}}, openErr
	}
	Expect(err).NotTo(HaveOccurred())
	var running sync.WaitGroup
	running.Go(p.run)
	t.Cleanup(func() {
		cancel()
		p.wire.open()
		p.answers.open()
		_ = conn.Close()
		running.Wait()
	})
	return p
}

// run lives until the stream ends.
func (p *proxy) run() {
	for _, typeURL := range []string{resource.ClusterType, resource.ListenerType} {
		if p.stream.ask(typeURL, nil) != nil {
			return
		}
	}
	for {
		got, err := p.stream.receive()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.pushes++
		needed, names := p.take(got)
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
		p.answers.pass()
		if names != nil && p.stream.ask(needed, names) != nil {
			return
		}
		p.mu.Lock()
		asked := p.asked[got.typeURL]
		p.mu.Unlock()
		if p.stream.acknowledge(got, asked) != nil {
			return
		}
	}
}

// take remembers a push and returns what it makes the proxy ask for; names are
// nil where there is nothing new.
func (p *proxy) take(got push) (needed string, names []string) {
	// Over state of the world most is as it was.
	last := p.last[got.typeURL]
	p.last[got.typeURL] = got.resources
	for i, body := range got.resources {
		if i < len(last) && bytes.Equal(body.GetValue(), last[i].GetValue()) {
			continue
		}
		m, err := body.UnmarshalNew()
		if err != nil {
			panic(err) // it comes from this program
		}
		switch r := m.(type) {
		case *cluster.Cluster:
			if r.GetType() == cluster.Cluster_EDS {
				needed, names = resource.EndpointType, append(names, r.GetName())
			}
		case *listener.Listener:
			references := cache.GetResourceReferences(map[string]types.ResourceWithTTL{r.GetName(): {Resource: r}})
			for name := range references[resource.RouteType] {
				needed, names = resource.RouteType, append(names, name)
			}
		case *routev3.RouteConfiguration:
			if revision, has := revisionOf(r); has {
				p.revisions[r.GetName()] = revision
			}
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(p.asked[needed], name) })
	if len(names) == 0 {
		return "", nil
	}
	p.asked[needed] = append(slices.Clip(p.asked[needed]), names...)
	return needed, p.asked[needed]
}

func revisionOf(r *routev3.RouteConfiguration) (int, bool) {
	for _, host := range r.GetVirtualHosts() {
		for _, route := range host.GetRoutes() {
			for _, h := range route.GetResponseHeadersToAdd() {
				if h.GetHeader().GetKey() == revisionHeader {
					revision, err := strconv.Atoi(h.GetHeader().GetValue())
					return revision, err == nil
				}
			}
		}
	}
	return 0, false
}

// count returns how many pushes have come.
func (p *proxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pushes
}

// revision is that of the route table to a service, or -1.
func (p *proxy) revision(service string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if revision, has := p.revisions[table(service)]; has {
		return revision
	}
	return -1
}

// await waits until the route table to a service has the revision.
func (p *proxy) await(service string, revision int) bool {
	late := time.After(20 * time.Second)
	for {
		p.mu.Lock()
		changed, has := p.changed, p.revisions[table(service)]
		p.mu.Unlock()
		if has == revision {
			return true
		}
		select {
		case <-changed:
		case <-late:
			return false
		}
	}
}

// gate lets who comes pass while it is open, as it is at first.
type gate struct {
	mu     sync.Mutex
	closed chan struct{} // until it is open again
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
	}
}

func (g *gate) pass() {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed != nil {
		<-closed
	}
}

// gated is a connection whose reader waits at a gate.
type gated struct {
	net.Conn
	gate *gate
}

func (g gated) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	g.gate.pass()
	return n, err
}

type deltaStream struct {
	grpc.BidiStreamingClient[discovery.DeltaDiscoveryRequest, discovery.DeltaDiscoveryResponse]
	node *core.Node
}

func (s *deltaStream) ask(typeURL string, names []string) error {
	return s.Send(&discovery.DeltaDiscoveryRequest{Node: s.node, TypeUrl: typeURL, ResourceNamesSubscribe: names})
}

func (s *deltaStream) receive() (push, error) {
	m, err := s.Recv()
	p := push{typeURL: m.GetTypeUrl(), nonce: m.GetNonce()}
	for _, r := range m.GetResources() {
		p.resources = append(p.resources, r.GetResource())
	}
	return p, err
}

func (s *deltaStream) acknowledge(p push, _ []string) error {
	return s.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: p.typeURL, ResponseNonce: p.nonce})
}

type sotwStream struct {
	grpc.BidiStreamingClient[discovery.DiscoveryRequest, discovery.DiscoveryResponse]
	node *core.Node
	// nonces of the latest push, by type.
	nonces map[string]string
}

func (s *sotwStream) ask(typeURL string, names []string) error {
	return s.Send(&discovery.DiscoveryRequest{Node: s.node, TypeUrl: typeURL, ResourceNames: names, ResponseNonce: s.nonces[typeURL]})
}

func (s *sotwStream) receive() (push, error) {
	m, err := s.Recv()
	if err == nil {
		s.nonces[m.GetTypeUrl()] = m.GetNonce()
	}
	return push{m.GetTypeUrl(), m.GetVersionInfo(), m.GetNonce(), m.GetResources()}, err
}

func (s *sotwStream) acknowledge(p push, names []string) error {
	return s.Send(&discovery.DiscoveryRequest{TypeUrl: p.typeURL, VersionInfo: p.version, ResponseNonce: p.nonce, ResourceNames: names})
}
