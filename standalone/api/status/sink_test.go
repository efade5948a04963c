package status

import (
	"fmt"
	"math"
	"net"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	metrics "github.com/envoyproxy/go-control-plane/envoy/service/metrics/v3"
)

var _ = Describe("what Envoys send", func() {
	var w *world
	BeforeEach(func() {
		w = newWorld()
		w.use(web, v1, v2, mirrored(50))
		w.pass(time.Second)
		w.connect()
	})

	It("counts from the start of an Envoy that is younger than the host", func() {
		e := w.envoy()
		e.requests(10, 5)
		e.flushAfter(2 * time.Second)
		Expect(w.total()).To(Equal(Counts{Requests: 10, Copies: 5}))
		e.requests(1, 1)
		e.flushAfter(2 * time.Second)
		Expect(w.total()).To(Equal(Counts{Requests: 11, Copies: 6}))
	})

	It("counts from now on where the Envoy is older than the host", func() {
		e := w.envoy()
		e.started = w.clock.Add(-time.Hour)
		e.requests(1000, 500)
		e.flushAfter(2 * time.Second)
		Expect(w.mirror().Total).To(BeNil())
		e.requests(10, 4)
		e.flushAfter(2 * time.Second)
		Expect(w.total()).To(Equal(Counts{Requests: 10, Copies: 4}))
	})

	It("goes on where the connection was lost, with what was counted meanwhile", func() {
		e := w.envoy()
		e.requests(10, 5)
		e.flushAfter(2 * time.Second)
		e.end()
		e.requests(10, 5)
		e.stream()
		e.flushAfter(40 * time.Second)
		Expect(w.total()).To(Equal(Counts{Requests: 20, Copies: 10}))
	})

	It("goes on where the lost connection has not ended yet", func() {
		e := w.envoy()
		e.requests(10, 5)
		e.flushAfter(2 * time.Second)
		stale := e.feed
		e.stream()
		e.requests(1, 1)
		e.flushAfter(2 * time.Second)
		stale.leave()
		e.requests(1, 1)
		e.flushAfter(2 * time.Second)
		Expect(w.total()).To(Equal(Counts{Requests: 12, Copies: 7}))
	})

	It("adds up what Envoys count that come one after the other", func() {
		e := w.envoy()
		e.requests(10, 5)
		e.flushAfter(20 * time.Second)
		e.end()
		next := w.envoy()
		next.requests(20, 9)
		next.flushAfter(2 * time.Second)
		Expect(w.total()).To(Equal(Counts{Requests: 30, Copies: 14}))
	})

	It("tells an Envoy from one that started just before it", func() {
		e := w.envoy()
		for range 3 {
			e.requests(10, 5)
			e.flushAfter(500 * time.Millisecond)
		}
		e.end()
		next := w.envoy()
		next.requests(40, 20)
		next.flushAfter(500 * time.Millisecond)
		Expect(w.total()).To(Equal(Counts{Requests: 70, Copies: 35}))
	})

	It("adds up what two Envoys count at once", func() {
		e := w.envoy()
		w.pass(10 * time.Second)
		other := w.envoy()
		e.requests(10, 5)
		other.requests(20, 10)
		e.flushAfter(time.Second)
		other.flushAfter(time.Second)
		e.requests(1, 1)
		e.flushAfter(time.Second)
		other.flushAfter(time.Second)
		Expect(w.total()).To(Equal(Counts{Requests: 31, Copies: 16}))
		Expect(w.mirror().Window.Seconds).To(BeNumerically("<=", 14))
	})

	It("forgets Envoys that have left, but for the last", func() {
		for range 10 {
			e := w.envoy()
			e.flushAfter(5 * time.Second)
			e.end()
		}
		Expect(w.byNode["default.web"].envoys).To(HaveLen(maxDeparted))
	})

	It("counts a counter that begins anew, as those of a cluster that was replaced", func() {
		e := w.envoy()
		e.requests(10, 5)
		e.flushAfter(2 * time.Second)
		e.counters = map[string]float64{}
		e.requests(3, 2)
		e.flushAfter(2 * time.Second)
		Expect(w.total()).To(Equal(Counts{Requests: 13, Copies: 7}))
		e.counters = map[string]float64{}
		e.flushAfter(2 * time.Second)
		e.requests(4, 4)
		e.flushAfter(2 * time.Second)
		Expect(w.total()).To(Equal(Counts{Requests: 17, Copies: 11}))
	})

	It("does not count again what Envoy goes on with when a mirror comes back", func() {
		e := w.envoy()
		e.requests(10, 5)
		e.flushAfter(2 * time.Second)
		w.use(web, v1, v2, mirrored(0))
		e.flushAfter(2 * time.Second)
		w.use(web, v1, v2, mirrored(50))
		e.requests(2, 1)
		e.flushAfter(2 * time.Second)
		Expect(w.total()).To(Equal(Counts{Requests: 12, Copies: 6}))
		// Envoy drops the stats in the end, and so does the host.
		w.use(web, v1, v2, mirrored(0))
		e.counters = map[string]float64{}
		e.flushAfter(2 * time.Second)
		Expect(e.feed.envoy.series).To(BeEmpty())
	})

	Describe("in several messages", func() {
		var e *sim
		BeforeEach(func() {
			w.perMessage = 3
			e = w.envoy()
			e.requests(10, 5)
			w.pass(2 * time.Second)
		})

		It("counts when it has all of them", func() {
			all := e.messages(3)
			Expect(len(all)).To(BeNumerically(">", 2))
			for _, m := range all[:len(all)-1] {
				Expect(e.feed.take(m)).To(Succeed())
				Expect(w.mirror().Total).To(BeNil())
			}
			Expect(e.feed.take(all[len(all)-1])).To(Succeed())
			Expect(w.total()).To(Equal(Counts{Requests: 10, Copies: 5}))
		})

		It("counts with the next flush where the last message was a full one", func() {
			for i := 0; len(e.families())%3 != 0; i++ {
				e.add(fmt.Sprint("filler.", i), 1)
			}
			all := e.messages(3)
			for _, m := range all {
				Expect(e.feed.take(m)).To(Succeed())
			}
			Expect(w.mirror().Total).To(BeNil())
			e.requests(1, 1)
			w.pass(2 * time.Second)
			Expect(e.feed.take(e.messages(3)[0])).To(Succeed())
			Expect(w.total()).To(Equal(Counts{Requests: 10, Copies: 5}))
		})

		It("does not count the part of a flush that came before the connection was lost", func() {
			all := e.messages(3)
			Expect(e.feed.take(all[0])).To(Succeed())
			e.end()
			e.stream()
			e.requests(1, 1)
			w.pass(2 * time.Second)
			for _, m := range e.messages(3) {
				Expect(e.feed.take(m)).To(Succeed())
			}
			Expect(w.total()).To(Equal(Counts{Requests: 11, Copies: 6}))
		})

		It("waits for the next flush where the data plane is added in the middle of one", func() {
			dataplane := w.known["web"].Key()
			w.Removed(dataplane)
			all := e.messages(3)
			Expect(e.feed.take(all[0])).To(Succeed())
			w.use(web, v1, v2, mirrored(50))
			for _, m := range all[1:] {
				Expect(e.feed.take(m)).To(Succeed())
			}
			Expect(w.mirror().Total).To(BeNil())
			w.pass(2 * time.Second)
			for _, m := range e.messages(3) {
				Expect(e.feed.take(m)).To(Succeed())
			}
			Expect(w.total().Requests).To(BeEquivalentTo(10))
		})
	})

	It("is of no use while there is no such data plane, or none any more", func() {
		w.use(v1, v2)
		e := w.envoy()
		e.requests(1, 1)
		e.flushAfter(time.Second)
		w.use(web, v1, v2, mirrored(50))
		e.flushAfter(time.Second)
		Expect(w.total()).To(Equal(Counts{Requests: 1, Copies: 1}))
		w.use(v1, v2)
		e.flushAfter(time.Second)
		e.end()
		Expect(w.byNode).NotTo(HaveKey("default.web"))
	})

	It("has to say whose it is", func() {
		f := &feed{status: w.Status}
		err := f.take(asMessage(&metrics.StreamMetricsMessage{}))
		Expect(status.Code(err)).To(Equal(codes.InvalidArgument))
		Expect(err).To(MatchError(ContainSubstring("identifier.node.id")))
	})

	It("comes over gRPC, and a guard on the way can tell whose it is", func(ctx SpecContext) {
		nodes := make(chan string, 100)
		server := grpc.NewServer(grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			return handler(srv, guarded{stream, func(m any) {
				// As standalone/serve/secure does.
				id := m.(interface {
					GetIdentifier() *metrics.StreamMetricsMessage_Identifier
				}).GetIdentifier()
				nodes <- id.GetNode().GetId()
			}})
		}))
		w.register(server)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		DeferCleanup(func() {
			server.Stop()
			Eventually(served).Should(Receive())
		})
		conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(conn.Close)

		stream, err := metrics.NewMetricsServiceClient(conn).StreamMetrics(ctx)
		Expect(err).NotTo(HaveOccurred())
		e := w.envoy()
		e.requests(10, 5)
		w.pass(time.Second)
		for _, m := range e.messages(4) {
			full := &metrics.StreamMetricsMessage{}
			Expect(proto.Unmarshal(m.raw(), full)).To(Succeed())
			Expect(stream.Send(full)).To(Succeed())
		}
		_, err = stream.CloseAndRecv()
		Expect(err).NotTo(HaveOccurred())
		Expect(nodes).To(Receive(Equal("default.web")))
		Expect(nodes).To(Receive(BeEmpty()))
		Expect(w.total().Requests).To(BeEquivalentTo(10))
		Eventually(func() bool {
			p := w.proxy("default.web")
			p.mu.Lock()
			defer p.mu.Unlock()
			return len(p.envoys) == 1 && p.envoys[0].left
		}).Should(BeTrue())
	})

	It("is refused where it is malformed, and never panics", func() {
		e := w.envoy()
		e.requests(10, 5)
		e.times[onRoute+"upstream_rq_time"] = []float64{1, 2}
		w.pass(time.Second)
		e.identified = true
		raw := e.messages(100)[0].raw()
		first := asMessage(&metrics.StreamMetricsMessage{Identifier: &metrics.StreamMetricsMessage_Identifier{Node: &core.Node{Id: e.node}}})
		refused := 0
		for i := range len(raw) {
			for _, broken := range [][]byte{raw[:i], with(raw, i, 0xff), with(raw, i, raw[i]^1)} {
				m := &message{}
				m.ProtoReflect().SetUnknown(broken)
				f := &feed{status: w.Status}
				Expect(f.take(first)).To(Succeed())
				if err := f.take(m); err != nil {
					Expect(status.Code(err)).To(Equal(codes.InvalidArgument))
					refused++
				}
				f.leave()
			}
		}
		Expect(refused).To(BeNumerically(">", len(raw)))
	})

	DescribeTable("is taken for nothing where it is no number that can be", func(value float64) {
		e := w.envoy()
		e.requests(10, 5)
		e.counters[onRoute+"upstream_rq_5xx"] = value
		e.times[onRoute+"upstream_rq_time"] = []float64{value, value}
		e.flushAfter(2 * time.Second)
		Expect(w.total()).To(Equal(Counts{Requests: 10, Copies: 5}))
		Expect(w.mirror().Window.PrimaryLatency).To(Equal(&Latency{Count: 2}))
	},
		Entry("none", math.NaN()),
		Entry("less than nothing", -1.0),
		Entry("without bounds", math.Inf(1)),
		Entry("too many", 1e300),
	)

	It("is read as the generated code reads it", func() {
		e := w.envoy()
		e.requests(10, 5)
		e.times[onRoute+"upstream_rq_time"] = []float64{1, 2, 30}
		m := e.messages(100)[0]
		var full metrics.StreamMetricsMessage
		Expect(proto.Unmarshal(m.raw(), &full)).To(Succeed())
		Expect(m.GetIdentifier()).To(HaveField("Node.Id", "default.web"))
		Expect(proto.Equal(m.GetIdentifier(), full.GetIdentifier())).To(BeTrue())
		Expect(m.time()).To(Equal(full.GetEnvoyMetrics()[0].GetMetric()[0].GetTimestampMs()))

		var read []stat
		count, err := m.stats(func([]byte) bool { return true }, func(s stat) { read = append(read, s) })
		Expect(err).NotTo(HaveOccurred())
		Expect(count).To(Equal(len(full.GetEnvoyMetrics())))
		for i, family := range full.GetEnvoyMetrics() {
			metric := family.GetMetric()[0]
			Expect(string(read[i].name)).To(Equal(family.GetName()))
			Expect(read[i].time).To(Equal(metric.GetTimestampMs()))
			Expect(read[i].value).To(Equal(metric.GetCounter().GetValue() + metric.GetGauge().GetValue()))
			if metric.GetSummary() == nil {
				Expect(read[i].summary).To(BeNil())
				continue
			}
			Expect(read[i].summary.count).To(Equal(metric.GetSummary().GetSampleCount()))
			Expect(read[i].summary.sum).To(Equal(metric.GetSummary().GetSampleSum()))
			for j, q := range metric.GetSummary().GetQuantile() {
				Expect(read[i].summary.at[j]).To(BeEquivalentTo(q.GetValue()))
			}
		}
		Expect(asMessage(&metrics.StreamMetricsMessage{}).GetIdentifier()).To(BeNil())
		broken := &message{}
		broken.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, messageIdentifier, protowire.BytesType), []byte{0xff}))
		Expect(broken.GetIdentifier()).To(BeNil())
	})
})

// guarded shows what is received.
type guarded struct {
	grpc.ServerStream
	see func(any)
}

func (g guarded) RecvMsg(m any) error {
	err := g.ServerStream.RecvMsg(m)
	if err == nil {
		g.see(m)
	}
	return err
}

// with is b with another byte at i.
func with(b []byte, i int, value byte) []byte {
	out := append([]byte(nil), b...)
	out[i] = value
	return out
}
