package host

import (
	"context"
	"net"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

// notes are what an observer has been told.
type notes struct {
	host *Host
	mu   sync.Mutex
	said []string
}

func (n *notes) add(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.said = append(n.said, what)
}

func (n *notes) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.said...)
}

func (n *notes) Updated(resources []*api.Resource) { n.add("updated") }

func (n *notes) Generated(g Generated) {
	n.host.Proxy(g.Dataplane.Key()) // may be called from here
	what := "generated " + g.Dataplane.Meta.Name
	if g.Err != nil {
		what += " with an error"
	} else if len(g.Report) > 0 && g.Resources.IsMirror(g.Report[0].Cluster) {
		what += " with a mirror"
	}
	n.add(what)
}

func (n *notes) Removed(dataplane api.Key) { n.add("removed " + dataplane.Name) }

func (n *notes) Event(e ads.Event) { n.add(string(e.Kind) + " " + e.Node) }

var _ = Describe("an observer", func() {
	It("is told what happens, in order, and services come beside xDS", func(ctx SpecContext) {
		source := memory{sets: make(chan []*api.Resource), fails: make(chan error)}
		host := New(Options{Source: source})
		seen := &notes{host: host}
		host.Observe(seen)
		registered := false
		host.AddService(func(grpc.ServiceRegistrar) { registered = true })
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		serving, end := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- host.Serve(serving, listener) }()
		DeferCleanup(func() {
			end()
			Eventually(ended).WithTimeout(5 * time.Second).Should(Receive(BeNil()))
			Expect(registered).To(BeTrue())
		})

		source.sets <- parse(client + backend)
		source.sets <- parse(client + backend + mirrored)
		broken := parse(client + backend)
		broken[0].Spec.(*api.Dataplane).Networking.Outbound[0].Tags["version"] = "\xff" // no protobuf text
		source.sets <- broken
		source.sets <- parse(backend)
		Eventually(seen.all).WithTimeout(5 * time.Second).Should(Equal([]string{
			"updated", "generated backend", "generated client",
			"updated", "generated client with a mirror",
			"updated", "generated client with an error",
			"updated", "removed client",
		}))

		conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(conn.Close)
		stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(stream.Send(&discovery.DeltaDiscoveryRequest{Node: &core.Node{Id: "default.backend"}, TypeUrl: resource.ClusterType})).To(Succeed())
		Eventually(seen.all).WithTimeout(5 * time.Second).Should(ContainElement("connected default.backend"))
		Eventually(func() bool {
			return host.Proxy(api.Key{Kind: api.KindDataplane, Mesh: "default", Name: "backend"}).Connected
		}).WithTimeout(5 * time.Second).Should(BeTrue())

		rs, _, err := host.Generate(ctx, api.Key{Kind: api.KindDataplane, Mesh: "default", Name: "backend"})
		Expect(err).NotTo(HaveOccurred())
		Expect(rs.Listeners()).To(HaveLen(0), "its application listens itself")
		_, _, err = host.Generate(ctx, api.Key{Kind: api.KindDataplane, Mesh: "default", Name: "client"})
		Expect(err).To(MatchError(generate.ErrNoDataplane))
	})
})
