package ads_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	rpc "google.golang.org/genproto/googleapis/rpc/status"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

const (
	CDS = resource.ClusterType
	EDS = resource.EndpointType
	LDS = resource.ListenerType
	RDS = resource.RouteType
)

const (
	grace = 10 * time.Millisecond
	drain = 20 * time.Millisecond
	// quiet is how long nothing must come for it to count as nothing.
	quiet = 50 * time.Millisecond
)

// host is a Server behind a real gRPC server.
type host struct {
	*ads.Server
	listener *bufconn.Listener
	grpc     *grpc.Server
	served   chan struct{}

	mu     sync.Mutex
	events []ads.Event
}

func newHost() *host { return newHostWith(ads.Options{Grace: grace, Drain: drain}) }

func newHostWith(opts ads.Options) *host {
	h := &host{listener: bufconn.Listen(1 << 16), grpc: grpc.NewServer(ads.ServerOptions()...), served: make(chan struct{})}
	opts.Log = slog.New(slog.NewTextHandler(GinkgoWriter, nil))
	opts.OnEvent = func(e ads.Event) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.events = append(h.events, e)
	}
	h.Server = ads.New(opts)
	h.Register(h.grpc)
	go func() {
		defer close(h.served)
		_ = h.grpc.Serve(h.listener)
	}()
	DeferCleanup(h.stop)
	return h
}

func (h *host) stop() {
	h.grpc.Stop()
	Eventually(h.served).Should(BeClosed())
}

func (h *host) seen() []ads.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events)
}

func (h *host) status(node string) ads.ProxyStatus {
	st, _ := h.Status(node)
	return st
}

func (h *host) inSync(node string) func() bool {
	return func() bool { return h.status(node).InSync }
}

// push is what arrives in one response.
type push struct {
	Type    string
	Version string
	Nonce   string
	// Resources are the versions (delta) or empty (state of the world) by name.
	Resources map[string]string
	Bodies    map[string]*anypb.Any
	Removed   []string
}

func (p push) names() []string { return slices.Sorted(maps.Keys(p.Resources)) }

func (p push) String() string {
	return fmt.Sprintf("%s %v removed %v", p.Type, p.names(), p.Removed)
}

// peer speaks xDS by hand: it sends exactly what a test tells it to, and hands
// out what arrives.
type peer struct {
	node   string
	delta  bool
	pushes chan push
	closed chan struct{}

	sotwStream  discovery.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	deltaStream discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	close       func()

	// state of the world: per type what is asked for and accepted.
	names    map[string][]string
	accepted map[string]string
	// clusters and listeners are what Envoy has after the pushes so far.
	clusters, listeners map[string]bool
}

// connect opens a stream without saying anything on it. The peer reads what
// arrives unless deaf.
func (h *host) connect(p ads.Protocol, node string, deaf ...bool) *peer {
	conn, err := grpc.NewClient("passthrough:///host",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return h.listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithInitialWindowSize(1<<16), grpc.WithStaticStreamWindowSize(1<<16))
	Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	c := discovery.NewAggregatedDiscoveryServiceClient(conn)
	out := &peer{
		node: node, delta: p == ads.Delta, pushes: make(chan push, 100), closed: make(chan struct{}),
		names: map[string][]string{}, accepted: map[string]string{},
		clusters: map[string]bool{}, listeners: map[string]bool{},
	}
	if out.delta {
		out.deltaStream, err = c.DeltaAggregatedResources(ctx)
	} else {
		out.sotwStream, err = c.StreamAggregatedResources(ctx)
	}
	Expect(err).NotTo(HaveOccurred())
	if len(deaf) > 0 {
		close(out.closed)
	} else {
		go func() {
			defer close(out.closed)
			for {
				p, err := out.recv()
				if err != nil {
					return
				}
				out.pushes <- p
			}
		}()
	}
	out.close = sync.OnceFunc(func() {
		cancel()
		_ = conn.Close()
		<-out.closed
	})
	DeferCleanup(out.close)
	return out
}

func (p *peer) recv() (push, error) {
	out := push{Resources: map[string]string{}, Bodies: map[string]*anypb.Any{}}
	if p.delta {
		m, err := p.deltaStream.Recv()
		if err != nil {
			return out, err
		}
		out.Type, out.Version, out.Nonce, out.Removed = m.GetTypeUrl(), m.GetSystemVersionInfo(), m.GetNonce(), m.GetRemovedResources()
		for _, r := range m.GetResources() {
			out.Resources[r.GetName()] = r.GetVersion()
			out.Bodies[r.GetName()] = r.GetResource()
		}
		return out, nil
	}
	m, err := p.sotwStream.Recv()
	if err != nil {
		return out, err
	}
	out.Type, out.Version, out.Nonce = m.GetTypeUrl(), m.GetVersionInfo(), m.GetNonce()
	for _, a := range m.GetResources() {
		body, err := a.UnmarshalNew()
		if err != nil {
			return out, err
		}
		name := cache.GetResourceName(body)
		out.Resources[name] = ""
		out.Bodies[name] = a
	}
	return out, nil
}

// ask is a request that answers nothing. has are the versions of resources
// (delta) that Envoy still holds; for state of the world the version of the
// whole type is under "".
func (p *peer) ask(typeURL string, names []string, has map[string]string) {
	if p.delta {
		req := &discovery.DeltaDiscoveryRequest{Node: &core.Node{Id: p.node}, TypeUrl: typeURL, ResourceNamesSubscribe: names}
		if len(has) > 0 {
			req.InitialResourceVersions = has
		}
		Expect(p.deltaStream.Send(req)).To(Succeed())
		return
	}
	p.names[typeURL] = names
	p.accepted[typeURL] = has[""]
	Expect(p.sotwStream.Send(&discovery.DiscoveryRequest{
		Node: &core.Node{Id: p.node}, TypeUrl: typeURL, ResourceNames: names, VersionInfo: has[""],
	})).To(Succeed())
}

func (p *peer) subscribe(typeURL string, names ...string) { p.ask(typeURL, names, nil) }

// more asks for further names, or for some that it has, once more.
func (p *peer) more(last push, names ...string) {
	if p.delta {
		p.ask(last.Type, names, nil)
		return
	}
	for _, n := range names {
		if !slices.Contains(p.names[last.Type], n) {
			p.names[last.Type] = append(p.names[last.Type], n)
		}
	}
	p.answer(last, nil)
}

func (p *peer) ack(what push) {
	p.accepted[what.Type] = what.Version
	p.answer(what, nil)
}

func (p *peer) nack(what push, message string) {
	p.answer(what, &rpc.Status{Code: 13, Message: message})
}

func (p *peer) answer(what push, complaint *rpc.Status) {
	if p.delta {
		Expect(p.deltaStream.Send(&discovery.DeltaDiscoveryRequest{
			TypeUrl: what.Type, ResponseNonce: what.Nonce, ErrorDetail: complaint,
		})).To(Succeed())
		return
	}
	Expect(p.sotwStream.Send(&discovery.DiscoveryRequest{
		TypeUrl: what.Type, ResponseNonce: what.Nonce, ErrorDetail: complaint,
		ResourceNames: p.names[what.Type], VersionInfo: p.accepted[what.Type],
	})).To(Succeed())
}

// next is the next push, which must be of the type.
func (p *peer) next(typeURL string) push {
	GinkgoHelper()
	var got push
	select { // Eventually would poll
	case got = <-p.pushes:
	case <-time.After(5 * time.Second):
		Fail("no push came; expected one of " + typeURL)
	}
	Expect(got.Type).To(Equal(typeURL), got.String())
	p.apply(got)
	return got
}

// nextOf acknowledges what comes until a push of the type does.
func (p *peer) nextOf(typeURL string) push {
	GinkgoHelper()
	for {
		select {
		case got := <-p.pushes:
			p.apply(got)
			if got.Type == typeURL {
				return got
			}
			p.ack(got)
		case <-time.After(5 * time.Second):
			Fail("no push came; expected one of " + typeURL)
		}
	}
}

// apply does to clusters and listeners what the push says.
func (p *peer) apply(got push) {
	for of, has := range map[string]map[string]bool{CDS: p.clusters, LDS: p.listeners} {
		if of != got.Type {
			continue
		}
		if !p.delta {
			clear(has)
		}
		for name := range got.Resources {
			has[name] = true
		}
		for _, name := range got.Removed {
			delete(has, name)
		}
	}
}

func has(names ...string) OmegaMatcher {
	want := map[string]bool{}
	for _, n := range names {
		want[n] = true
	}
	return Equal(want)
}

// nothing checks that no push comes.
func (p *peer) nothing() {
	GinkgoHelper()
	select {
	case got := <-p.pushes:
		Fail("a push came: " + got.String())
	case <-time.After(quiet):
	}
}

// start goes through what a fresh Envoy does until it has all of a routed
// proxy; clusters are those with endpoints.
func (p *peer) start(clusters ...string) (last map[string]push) {
	GinkgoHelper()
	last = map[string]push{}
	p.subscribe(CDS)
	last[CDS] = p.next(CDS)
	p.subscribe(EDS, clusters...)
	last[EDS] = p.next(EDS)
	p.ack(last[EDS])
	p.ack(last[CDS])
	p.subscribe(LDS)
	last[LDS] = p.next(LDS)
	p.ack(last[LDS])
	p.subscribe(RDS, "table")
	last[RDS] = p.next(RDS)
	p.ack(last[RDS])
	return last
}

// holds is what Envoy says it has of the type when it connects again.
func (p *peer) holds(last push) map[string]string {
	if p.delta {
		return last.Resources
	}
	return map[string]string{"": last.Version}
}

func unmarshal[M proto.Message](a *anypb.Any, into M) M {
	GinkgoHelper()
	Expect(a.UnmarshalTo(into)).To(Succeed())
	return into
}

// settle acknowledges clusters until those are left.
func (p *peer) settle(clusters ...string) {
	GinkgoHelper()
	for match, _ := has(clusters...).Match(p.clusters); !match; match, _ = has(clusters...).Match(p.clusters) {
		p.ack(p.next(CDS))
	}
}

func containsAny(s string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(s, p) })
}
