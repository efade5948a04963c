package kuma

import (
	"errors"
	"sync"
	"time"

	core_xds "github.com/kumahq/kuma/v2/pkg/core/xds"
	util_xds "github.com/kumahq/kuma/v2/pkg/util/xds"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// linger is how long a proxy is remembered after its stream: kuma-cp says that a
// stream is closed before it stops computing for it, and a proxy that is back at
// once is no other.
const linger = 30 * time.Second

// streams knows which proxies are connected to this kuma-cp, and hears what their
// Envoys refuse. It fails a stream when a mirror is the reason.
type streams struct {
	// MultiXDSCallbacks are those of others, who hear all of it, too.
	util_xds.MultiXDSCallbacks
	// refused hears each request of a known proxy, and reports whether the
	// proxy's next configuration is another because of it.
	refused func(proxyKey, util_xds.Request) bool
	// gone is told of proxies without a stream.
	gone   func(proxyKey)
	linger time.Duration

	mu      sync.Mutex
	proxies map[stream]caller
	open    map[proxyKey]int // streams of each
}

// caller is who opened a stream.
type caller struct {
	proxyKey
	// registers is whether the proxy brought its own Dataplane, as kuma-dp
	// does with --dataplane-file. kuma-cp keeps such a stream from ending for
	// ten seconds, and then deletes the Dataplane until the proxy is back.
	registers bool
}

// stream is one of a proxy's; those of the two variants of xDS are numbered apart.
type stream struct {
	delta bool
	id    core_xds.StreamID
}

func newStreams(
	others util_xds.MultiXDSCallbacks, refused func(proxyKey, util_xds.Request) bool, gone func(proxyKey),
) *streams {
	if others == nil {
		others = &util_xds.NoopCallbacks{}
	}
	return &streams{MultiXDSCallbacks: others, refused: refused, gone: gone, linger: linger, proxies: map[stream]caller{}, open: map[proxyKey]int{}}
}

// OnStreamRequest implements util_xds.MultiXDSCallbacks.
func (s *streams) OnStreamRequest(id core_xds.StreamID, request util_xds.DiscoveryRequest) error {
	return errors.Join(s.MultiXDSCallbacks.OnStreamRequest(id, request), s.heard(stream{id: id}, request))
}

// OnStreamDeltaRequest implements util_xds.MultiXDSCallbacks.
func (s *streams) OnStreamDeltaRequest(id core_xds.StreamID, request util_xds.DeltaDiscoveryRequest) error {
	return errors.Join(s.MultiXDSCallbacks.OnStreamDeltaRequest(id, request), s.heard(stream{delta: true, id: id}, request))
}

// OnStreamClosed implements util_xds.MultiXDSCallbacks.
func (s *streams) OnStreamClosed(id core_xds.StreamID) {
	s.closed(stream{id: id})
	s.MultiXDSCallbacks.OnStreamClosed(id)
}

// OnDeltaStreamClosed implements util_xds.MultiXDSCallbacks.
func (s *streams) OnDeltaStreamClosed(id core_xds.StreamID) {
	s.closed(stream{delta: true, id: id})
	s.MultiXDSCallbacks.OnDeltaStreamClosed(id)
}

// heard ends the stream of a proxy whose Envoy refused a mirror. kuma-cp computes
// a proxy anew when its mesh changes or its stream begins, and there is no other
// way to ask for it: Envoy connects again within a second or so, and goes on with
// what it has until then. A proxy that registers itself waits for the mesh's next
// change instead: its Dataplane must not go because of a mirror.
func (s *streams) heard(id stream, request util_xds.Request) error {
	caller, known := s.opened(id, request)
	if known && s.refused(caller.proxyKey, request) && !caller.registers {
		return errMirrorRefused
	}
	return nil
}

// errMirrorRefused ends a stream.
var errMirrorRefused = errors.New("a mirror was refused; the next configuration has it left out")

// opened takes down whose stream it is. Only the first request has to say.
func (s *streams) opened(id stream, request util_xds.Request) (caller, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, known := s.proxies[id]; known {
		return c, true
	}
	proxy, err := core_xds.ParseProxyIdFromString(request.NodeId())
	if err != nil {
		return caller{}, false // kuma-cp has told the proxy
	}
	name := proxy.ToResourceKey()
	_, registers := request.Metadata().GetFields()[core_xds.FieldDataplaneDataplaneResource]
	c := caller{proxyKey{Kind: api.KindDataplane, Mesh: name.Mesh, Name: name.Name}, registers}
	s.proxies[id] = c
	s.open[c.proxyKey]++
	return c, true
}

func (s *streams) closed(id stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.proxies[id]
	if !known {
		return
	}
	key := c.proxyKey
	delete(s.proxies, id)
	if s.open[key]--; s.open[key] > 0 {
		return
	}
	delete(s.open, key)
	time.AfterFunc(s.linger, func() {
		if !s.connected(key) {
			s.gone(key)
		}
	})
}

func (s *streams) connected(key proxyKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[key] > 0
}
