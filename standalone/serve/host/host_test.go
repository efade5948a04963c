package host

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
)

// memory is a Source that is told what to hand over.
type memory struct {
	sets  chan []*api.Resource
	fails chan error
}

func (m memory) Run(ctx context.Context, update func([]*api.Resource)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-m.fails:
			return err
		case set := <-m.sets:
			update(set)
		}
	}
}

func parse(documents string) []*api.Resource {
	GinkgoHelper()
	resources, err := api.Parse("test", []byte(documents))
	Expect(err).NotTo(HaveOccurred())
	return resources
}

const (
	client = `
type: Dataplane
name: client
networking:
  address: 127.0.0.1
  inbound: [{port: 1, servicePort: 2, tags: {kuma.io/service: client}}]
  outbound: [{port: 10001, tags: {kuma.io/service: backend}}]
  admin: {port: 9902}
`
	backend = `
---
type: Dataplane
name: backend
networking:
  address: 127.0.0.1
  inbound: [{port: 3, tags: {kuma.io/service: backend, kuma.io/protocol: http}}]
`
	route = `
---
type: TrafficRoute
name: all
sources: [{match: {kuma.io/service: '*'}}]
destinations: [{match: {kuma.io/service: '*'}}]
conf:
  destination: {kuma.io/service: '*'}
`
	mirrored = `
---
type: TrafficRoute
name: all
sources: [{match: {kuma.io/service: client}}]
destinations: [{match: {kuma.io/service: '*'}}]
conf:
  destination: {kuma.io/service: '*'}
  mirror: {destination: {kuma.io/service: shadow}}
`
)

var _ = Describe("the host", func() {
	var source memory
	var host *Host
	var log *gbytes.Buffer
	var address string
	var end context.CancelFunc
	var ended chan error

	BeforeEach(func() {
		source = memory{sets: make(chan []*api.Resource), fails: make(chan error)}
		log = gbytes.NewBuffer()
		host = New(Options{Source: source, Log: slog.New(slog.NewTextHandler(log, nil))})
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		address = listener.Addr().String()
		var ctx context.Context
		ctx, end = context.WithCancel(context.Background())
		ended = make(chan error, 1)
		done := make(chan struct{})
		go func() {
			defer close(done)
			ended <- host.Serve(ctx, listener)
		}()
		DeferCleanup(func() {
			end()
			Eventually(done).WithTimeout(5 * time.Second).Should(BeClosed())
		})
	})

	dial := func() *grpc.ClientConn {
		GinkgoHelper()
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(conn.Close)
		return conn
	}
	bootstrap := func(mesh, dataplane string) (*api.GetBootstrapResponse, error) {
		GinkgoHelper()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return api.NewBootstrapServiceClient(dial()).GetBootstrap(ctx,
			&api.GetBootstrapRequest{Mesh: mesh, Dataplane: dataplane}, grpc.WaitForReady(true))
	}
	// listeners is the stream of an Envoy that asks for listeners and tells
	// the names it gets; it acknowledges everything.
	listeners := func(node string) <-chan []string {
		GinkgoHelper()
		ctx, cancel := context.WithCancel(context.Background())
		stream, err := discovery.NewAggregatedDiscoveryServiceClient(dial()).DeltaAggregatedResources(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(stream.Send(&discovery.DeltaDiscoveryRequest{
			Node: &core.Node{Id: node}, TypeUrl: resource.ListenerType,
		})).To(Succeed())
		names := make(chan []string, 100)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				r, err := stream.Recv()
				if err != nil {
					return
				}
				got := []string{}
				for _, l := range r.GetResources() {
					got = append(got, l.GetName())
				}
				names <- got
				if stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()}) != nil {
					return
				}
			}
		}()
		DeferCleanup(func() {
			cancel()
			Eventually(done).Should(BeClosed())
		})
		return names
	}

	It("serves a data plane what the resources say, and what they come to say", func() {
		source.sets <- parse(client + backend)
		names := listeners("default.client")
		Eventually(names).WithTimeout(5 * time.Second).Should(Receive(ConsistOf("outbound:127.0.0.1:10001", "inbound:127.0.0.1:1")))

		source.sets <- parse(client + backend) // nothing new
		source.sets <- parse(client + backend + route)
		source.sets <- append(parse(client+backend+route), parse("type: Mesh\nname: other")...)
		source.sets <- parse(`
type: Dataplane
name: client
networking:
  address: 127.0.0.1
  inbound: [{port: 1, servicePort: 2, tags: {kuma.io/service: client}}]
  outbound: [{port: 10002, tags: {kuma.io/service: backend}}]
` + backend)
		Eventually(names).WithTimeout(5 * time.Second).Should(Receive(ContainElement("outbound:127.0.0.1:10002")))
	})

	It("serves a data plane that is added later to an Envoy that asked before", func() {
		source.sets <- parse(backend)
		names := listeners("default.client")
		Eventually(log).WithTimeout(5 * time.Second).Should(gbytes.Say("asks for a data plane that is not there.*default.client"))
		_, err := bootstrap("", "client")
		Expect(status.Code(err)).To(Equal(codes.NotFound))

		source.sets <- parse(client + backend)
		Eventually(names).WithTimeout(5 * time.Second).Should(Receive(ContainElement("outbound:127.0.0.1:10001")))
		_, err = bootstrap("", "client")
		Expect(err).NotTo(HaveOccurred())
	})

	It("forgets a data plane that is removed", func() {
		source.sets <- parse(client + backend)
		source.sets <- parse(backend)
		Eventually(host.Status).Should(HaveLen(1))
		_, err := bootstrap("", "client")
		Expect(status.Code(err)).To(Equal(codes.NotFound))
		_, known := host.ads.Status("default.client")
		Expect(known).To(BeFalse())
	})

	It("keeps serving a data plane that cannot be generated any more, and all others", func() {
		source.sets <- parse(client + backend)
		broken := parse(client + backend)
		broken[0].Spec.(*api.Dataplane).Networking.Outbound[0].Tags["version"] = "\xff" // no protobuf text
		broken[1].Spec.(*api.Dataplane).Networking.Inbound[0].ServicePort = 4
		source.sets <- broken
		Eventually(func() error { return host.Status()[1].Err }).Should(HaveOccurred())
		Eventually(log).Should(gbytes.Say("cannot be served its new configuration.*client"))
		Eventually(listeners("default.client")).WithTimeout(5 * time.Second).Should(Receive(ContainElement("outbound:127.0.0.1:10001")))
		Eventually(listeners("default.backend")).WithTimeout(5 * time.Second).Should(Receive(ContainElement("inbound:127.0.0.1:3")))

		again := parse(client + backend)
		again[0].Spec.(*api.Dataplane).Networking.Outbound[0].Tags["version"] = "\xff"
		again[0].Spec.(*api.Dataplane).Networking.Admin.Port = 9903
		source.sets <- again
		source.sets <- parse(client + backend)
		Eventually(func() error { return host.Status()[1].Err }).ShouldNot(HaveOccurred())
		Expect(log).NotTo(gbytes.Say("cannot be served"), "the same error is told once")
	})

	It("keeps what became of the mirrors", func() {
		source.sets <- parse(client + backend + mirrored)
		source.sets <- parse(client + backend + mirrored)
		s := host.Status()[1]
		Expect(s.Dataplane).To(Equal(api.Key{Kind: api.KindDataplane, Mesh: "default", Name: "client"}))
		Expect(s.Report).To(HaveLen(1))
		Expect(s.Report[0].State).To(Equal(plugin.Injected))
		Expect(s.Proxy.Connected).To(BeFalse())
		listeners("default.client")
		Eventually(func() bool { return host.Status()[1].Proxy.Connected }).WithTimeout(5 * time.Second).Should(BeTrue())
	})

	It("tells a warning when it comes up, not at every change", func() {
		source.sets <- parse(client + backend + mirrored)
		Eventually(log).WithTimeout(5 * time.Second).Should(gbytes.Say(`WARN.*serves.*shadow`))
		source.sets <- parse(client + backend + mirrored + "---\ntype: Mesh\nname: other\n")
		Consistently(log, 100*time.Millisecond).ShouldNot(gbytes.Say("shadow"))
		source.sets <- parse(client + backend + route)
		source.sets <- parse(client + backend)
		Eventually(host.Status).Should(HaveLen(2))
	})

	Describe("as the source of bootstraps", func() {
		It("tells a proxy what it is", func() {
			source.sets <- parse(client + backend)
			answer, err := bootstrap("default", "client")
			Expect(err).NotTo(HaveOccurred())
			Expect(answer.GetNodeId()).To(Equal("default.client"))
			Expect(answer.GetNodeCluster()).To(Equal("client"))
			Expect(answer.GetAdminPort()).To(BeEquivalentTo(9902))
		})

		DescribeTable("names what there is in place of what is not", func(documents, mesh, name, message string) {
			source.sets <- parse(documents)
			_, err := bootstrap(mesh, name)
			Expect(status.Code(err)).To(Equal(codes.NotFound))
			Expect(status.Convert(err).Message()).To(Equal(message))
		},
			Entry("a name", client+backend, "", "clint", `there is no data plane "clint" in mesh "default"; it has backend, client`),
			Entry("a mesh", client, "shop", "client", `there is no data plane "client" in mesh "shop", which has none; meshes with data planes: default`),
			Entry("anything", "type: Mesh\nname: m", "m", "client", `there is no data plane "client" in mesh "m"; no mesh has any: add a Dataplane to the resources`),
		)
	})

	It("ends at once, whoever is connected", func() {
		source.sets <- parse(client + backend)
		Eventually(listeners("default.client")).WithTimeout(5 * time.Second).Should(Receive())
		end()
		Eventually(ended).WithTimeout(2 * time.Second).Should(Receive(BeNil()))
		_, err := net.Dial("tcp", address)
		Expect(err).To(HaveOccurred())
	})

	It("ends before it has anything to serve", func() {
		end()
		Eventually(ended).WithTimeout(2 * time.Second).Should(Receive(BeNil()))
		_, err := net.Dial("tcp", address)
		Expect(err).To(HaveOccurred())
	})

	DescribeTable("ends when its source does", func(failure error, message string) {
		source.sets <- parse(client)
		source.fails <- failure
		Eventually(ended).WithTimeout(2 * time.Second).Should(Receive(MatchError(message)))
	},
		Entry("with an error", errors.New("broken"), "broken"),
		Entry("without one", nil, "the source of the resources has ended"),
	)
})
