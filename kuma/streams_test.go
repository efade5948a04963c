package kuma

import (
	"errors"
	"time"

	core_xds "github.com/kumahq/kuma/v2/pkg/core/xds"
	util_xds "github.com/kumahq/kuma/v2/pkg/util/xds"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/types/known/structpb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

var _ = Describe("the streams of proxies", func() {
	var s *streams
	var gone chan proxyKey
	var mirrorRefused func(proxyKey, util_xds.Request) bool
	client := api.Key{Kind: api.KindDataplane, Mesh: "default", Name: "client.namespace"}
	BeforeEach(func() {
		gone = make(chan proxyKey, 10)
		mirrorRefused = func(proxyKey, util_xds.Request) bool { return false }
		s = newStreams(nil, func(key proxyKey, r util_xds.Request) bool { return mirrorRefused(key, r) }, func(key proxyKey) { gone <- key })
		s.linger = 0
	})
	first, later := request{node: "default.client.namespace"}, request{}

	It("tell of a proxy that is gone", func() {
		Expect(s.OnStreamRequest(1, first)).To(Succeed())
		Expect(s.OnStreamRequest(1, later)).To(Succeed())
		Consistently(gone, "50ms").ShouldNot(Receive())
		s.OnStreamClosed(1)
		Eventually(gone).Should(Receive(Equal(client)))
	})

	It("of delta xDS do, too, with numbers of their own", func() {
		Expect(s.OnStreamDeltaRequest(1, first)).To(Succeed())
		s.OnStreamClosed(1)
		Consistently(gone, "50ms").ShouldNot(Receive())
		s.OnDeltaStreamClosed(1)
		Eventually(gone).Should(Receive(Equal(client)))
	})

	It("do not tell of one that has another", func() {
		Expect(s.OnStreamRequest(1, first)).To(Succeed())
		Expect(s.OnStreamRequest(2, first)).To(Succeed())
		s.OnStreamClosed(1)
		Consistently(gone, "50ms").ShouldNot(Receive())
	})

	It("do not tell of one that is back at once", func() {
		s.linger = 100 * time.Millisecond
		Expect(s.OnStreamRequest(1, first)).To(Succeed())
		s.OnStreamClosed(1)
		Expect(s.OnStreamRequest(2, first)).To(Succeed())
		Consistently(gone, "300ms").ShouldNot(Receive())
	})

	It("end where a mirror was refused, so that the proxy is computed anew", func() {
		mirrorRefused = func(key proxyKey, r util_xds.Request) bool { return key == client && r.HasErrors() }
		Expect(s.OnStreamRequest(1, first)).To(Succeed())
		Expect(s.OnStreamRequest(1, nack{message: "why"})).To(MatchError(errMirrorRefused))
		Expect(s.OnStreamDeltaRequest(1, nack{message: "why"})).To(Succeed(), "a stream of nobody")
		Expect(s.OnStreamDeltaRequest(1, first)).To(Succeed())
		Expect(s.OnStreamDeltaRequest(1, nack{message: "why"})).To(MatchError(errMirrorRefused))
	})

	It("go on where the proxy registers itself, whose Dataplane kuma-cp would delete", func() {
		heard := 0
		mirrorRefused = func(_ proxyKey, r util_xds.Request) bool { heard++; return r.HasErrors() }
		itself := first
		itself.metadata = &structpb.Struct{Fields: map[string]*structpb.Value{core_xds.FieldDataplaneDataplaneResource: structpb.NewStringValue("{}")}}
		Expect(s.OnStreamRequest(1, itself)).To(Succeed())
		Expect(s.OnStreamRequest(1, nack{message: "why"})).To(Succeed())
		Expect(heard).To(Equal(2))
	})

	It("are only listened to", func() {
		Expect(s.OnStreamRequest(1, later)).To(Succeed(), "a stream of nobody")
		Expect(s.OnStreamRequest(1, request{node: "nonsense"})).To(Succeed())
		s.OnStreamClosed(1)
		s.OnStreamClosed(2)
		Consistently(gone, "50ms").ShouldNot(Receive())
	})

	It("leave to others what they hear", func() {
		s = newStreams(&refuses{}, mirrorRefused, func(proxyKey) {})
		Expect(s.OnStreamRequest(1, first)).To(MatchError("no"))
	})
})

// request says whose stream it is, if anything.
type request struct {
	util_xds.DeltaDiscoveryRequest
	node     string
	metadata *structpb.Struct
}

func (r request) Metadata() *structpb.Struct { return r.metadata }

func (r request) NodeId() string { return r.node }
func (request) HasErrors() bool  { return false }

// nack is what an Envoy answers to resources that it refuses.
type nack struct {
	util_xds.DeltaDiscoveryRequest
	typeURL, message string
}

func (nack) NodeId() string       { return "" }
func (nack) HasErrors() bool      { return true }
func (n nack) GetTypeUrl() string { return n.typeURL }
func (n nack) ErrorMsg() string   { return n.message }

type refuses struct{ util_xds.NoopCallbacks }

func (*refuses) OnStreamRequest(core_xds.StreamID, util_xds.DiscoveryRequest) error {
	return errors.New("no")
}
