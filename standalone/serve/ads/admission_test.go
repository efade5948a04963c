package ads_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

// numbered are names that no configuration has.
func numbered(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("n%d", i)
	}
	return names
}

var _ = Describe("a stream that asks for too much", func() {
	for _, protocol := range []ads.Protocol{ads.Delta, ads.StateOfTheWorld} {
		Context("over "+string(protocol), func() {
			var h *host
			BeforeEach(func() { h = newHost() })
			set := func(others ...string) {
				GinkgoHelper()
				Expect(h.Set(web, routed("a", others...))).To(Succeed())
			}

			It("is served what its configuration has, and is remembered some names for later", func() {
				set()
				p := h.connect(protocol, web)
				p.subscribe(CDS)
				clusters := p.next(CDS)
				p.subscribe(EDS, append(numbered(100_000), "a")...)
				endpoints := p.next(EDS)
				Expect(endpoints.names()).To(ConsistOf("a"))
				p.ack(endpoints)
				p.ack(clusters)

				set("n1", "n4095", "n4096", "n99999")
				var later push
				for later = range p.pushes { // clusters come as well
					if later.Type == EDS {
						break
					}
				}
				Expect(later.names()).To(ContainElements("n1", "n4095"))
				if protocol == ads.Delta { // the other repeats its names with each answer
					Expect(later.names()).NotTo(Or(ContainElement("n4096"), ContainElement("n99999")))
				}
			})

			It("ends with a node id that is no data plane's, or with ever new types", func() {
				p := h.connect(protocol, strings.Repeat("x", 1025), true)
				p.subscribe(CDS)
				_, err := p.recv()
				Expect(status.Code(err)).To(Equal(codes.InvalidArgument))
				Expect(err).To(MatchError(ContainSubstring("node.id has 1025 bytes")))
				Expect(h.Statuses()).To(BeEmpty())

				p = h.connect(protocol, web, true)
				for i := range 21 {
					p.subscribe(fmt.Sprintf("type.googleapis.com/t%d", i))
				}
				_, err = p.recv()
				Expect(status.Code(err)).To(Equal(codes.InvalidArgument))
				Expect(err).To(MatchError(ContainSubstring("types that are not served")))
			})
		})
	}
})

// BenchmarkHostileStream measures how long a change takes to reach one stream
// while another sends requests of 100,000 names as fast as they are read, and how
// far the heap grows meanwhile.
func BenchmarkHostileStream(b *testing.B) {
	for _, hostile := range []bool{false, true} {
		b.Run(fmt.Sprintf("hostile=%t", hostile), func(b *testing.B) {
			s := ads.New(ads.Options{Log: slog.New(slog.DiscardHandler)})
			server, l := grpc.NewServer(ads.ServerOptions()...), bufconn.Listen(1<<16)
			s.Register(server)
			served := make(chan struct{})
			go func() { defer close(served); _ = server.Serve(l) }()
			ctx, cancel := context.WithCancel(context.Background())
			var attack sync.WaitGroup
			defer func() { cancel(); attack.Wait(); server.Stop(); <-served }()
			open := func() discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient {
				conn, err := grpc.NewClient("passthrough:///host", grpc.WithTransportCredentials(insecure.NewCredentials()),
					grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = conn.Close() })
				stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
				if err != nil {
					b.Fatal(err)
				}
				return stream
			}
			runtime.GC()
			var before runtime.MemStats
			runtime.ReadMemStats(&before)
			if hostile {
				stream, names := open(), numbered(100_000)
				attack.Go(func() {
					for i := 0; ; i++ {
						typeURL := []string{CDS, EDS, LDS, RDS}[i%4]
						if stream.Send(&discovery.DeltaDiscoveryRequest{Node: &core.Node{Id: "default.hostile"}, TypeUrl: typeURL, ResourceNamesSubscribe: names}) != nil {
							return
						}
					}
				})
			}
			stream := open()
			if err := stream.Send(&discovery.DeltaDiscoveryRequest{Node: &core.Node{Id: web}, TypeUrl: CDS}); err != nil {
				b.Fatal(err)
			}
			var slowest time.Duration
			var heap uint64
			for i := 0; b.Loop(); i++ {
				begun := time.Now()
				if err := s.Set(web, proxy(edsWith("a", 1, int64(i+1)))); err != nil {
					b.Fatal(err)
				}
				answer, err := stream.Recv()
				if err != nil {
					b.Fatal(err)
				}
				slowest = max(slowest, time.Since(begun))
				if err := stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: answer.GetTypeUrl(), ResponseNonce: answer.GetNonce()}); err != nil {
					b.Fatal(err)
				}
				var now runtime.MemStats
				runtime.ReadMemStats(&now)
				heap = max(heap, now.HeapInuse)
			}
			b.ReportMetric(float64(slowest.Microseconds())/1000, "ms-slowest")
			b.ReportMetric(float64(int64(heap)-int64(before.HeapInuse))/(1<<20), "MiB-heap-growth")
		})
	}
}
