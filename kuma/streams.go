package kuma

import (
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

// streams knows which proxies are connected to this kuma-cp. It only listens: it
// never fails a stream.
type streams struct {
	// MultiXDSCallbacks are those of others, who hear all of it, too.
	util_xds.MultiXDSCallbacks
	// gone is told of proxies without a stream.
	gone   func(proxyKey)
	linger time.Duration

	mu      sync.Mutex
	proxies map[stream]proxyKey
	open    map[proxyKey]int // streams of each
}

// stream is one of a proxy's; those of the two variants of xDS are numbered apart.
type stream struct {
	delta bool
	id    core_xds.StreamID
}

func newStreams(others util_xds.MultiXDSCallbacks, gone func(proxyKey)) *streams {
	if others == nil {
		others = &util_xds.NoopCallbacks{}
	}
	return &streams{MultiXDSCallbacks: others, gone: gone, linger: linger, proxies: map[stream]proxyKey{}, open: map[proxyKey]int{}}
}

// OnStreamRequest implements util_xds.MultiXDSCallbacks.
func (s *streams) OnStreamRequest(id core_xds.StreamID, request util_xds.DiscoveryRequest) error {
	s.opened(stream{id: id}, request)
	return s.MultiXDSCallbacks.OnStreamRequest(id, request)
}

// OnStreamDeltaRequest implements util_xds.MultiXDSCallbacks.
func (s *streams) OnStreamDeltaRequest(id core_xds.StreamID, request util_xds.DeltaDiscoveryRequest) error {
	s.opened(stream{delta: true, id: id}, request)
	return s.MultiXDSCallbacks.OnStreamDeltaRequest(id, request)
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

// opened takes down whose stream it is. Only the first request has to say.
func (s *streams) opened(id stream, request util_xds.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.proxies[id]; known {
		return
	}
	proxy, err := core_xds.ParseProxyIdFromString(request.NodeId())
	if err != nil {
		return // kuma-cp has told the proxy
	}
	name := proxy.ToResourceKey()
	key := proxyKey{Kind: api.KindDataplane, Mesh: name.Mesh, Name: name.Name}
	s.proxies[id] = key
	s.open[key]++
}

func (s *streams) closed(id stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, known := s.proxies[id]
	if !known {
		return
	}
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
