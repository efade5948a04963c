package status

import (
	"errors"
	"io"

	metrics "github.com/envoyproxy/go-control-plane/envoy/service/metrics/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

// register makes r take the stats of Envoys: envoy.service.metrics.v3, with
// messages that are not taken apart.
func (s *Status) register(r grpc.ServiceRegistrar) {
	r.RegisterService(&grpc.ServiceDesc{
		ServiceName: metrics.MetricsService_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName:    metrics.MetricsService_ServiceDesc.Streams[0].StreamName,
			ClientStreams: true,
			Handler:       func(_ any, stream grpc.ServerStream) error { return s.receive(stream) },
		}},
	}, nil)
}

// receive takes the stats of one Envoy until it, or its connection, ends.
func (s *Status) receive(stream grpc.ServerStream) error {
	f := &feed{status: s}
	defer f.leave()
	for {
		var m message
		if err := stream.RecvMsg(&m); errors.Is(err, io.EOF) {
			return stream.SendMsg(&metrics.StreamMetricsResponse{})
		} else if err != nil {
			return err
		}
		if err := f.take(&m); err != nil {
			return err
		}
	}
}

// feed is the stream of one Envoy. An Envoy sends all of its stats at once, as
// of one time, in one message or several: that is a flush.
type feed struct {
	status *Status
	node   string
	proxy  *proxy // nil while there is no such data plane
	// time of the flush at hand, by Envoy's clock.
	time int64
	// envoy is nil until a flush begins while there is a proxy.
	envoy *envoyStats
	// whole says that the flush at hand has been counted.
	whole bool
}

// take takes in a message.
func (f *feed) take(m *message) error {
	if id := m.GetIdentifier(); id != nil {
		f.node = id.GetNode().GetId()
	}
	if len(f.node) > ads.MaxNodeID {
		return status.Errorf(codes.InvalidArgument, "identifier.node.id has %d bytes; at most %d are taken", len(f.node), ads.MaxNodeID)
	}
	if f.node == "" {
		return status.Error(codes.InvalidArgument, "the first message of a stream must have an identifier.node.id")
	}
	at, err := m.time()
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	begins := at != f.time
	f.time = at
	if p := f.status.proxy(f.node); p != f.proxy {
		f.leave()
		f.proxy, f.envoy = p, nil
	}
	if f.proxy == nil || f.envoy == nil && !begins {
		return nil
	}
	f.proxy.mu.Lock()
	defer f.proxy.mu.Unlock()
	if begins {
		if f.envoy != nil && !f.whole {
			f.finish()
		}
		if f.envoy == nil {
			f.envoy = &envoyStats{series: map[string]*series{}}
		}
		f.envoy.begin(f.proxy.wanted)
		f.whole = false
	}
	count, err := m.stats(f.envoy.wants, f.envoy.add)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	// A message that is full may have others after it.
	if count < f.status.perMessage {
		f.finish()
	}
	return nil
}

// finish counts the flush, of which all is there.
func (f *feed) finish() {
	f.whole = true
	now := f.status.now()
	f.proxy.count(f.envoy, now, f.status)
	f.proxy.evaluate(now, f.status.host)
}

// leave keeps what the Envoy has counted for when it comes back.
func (f *feed) leave() {
	if f.proxy == nil || f.envoy == nil {
		return
	}
	f.proxy.mu.Lock()
	defer f.proxy.mu.Unlock()
	f.proxy.left(f.envoy)
}
