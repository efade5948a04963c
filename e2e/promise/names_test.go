package promise_test

import (
	"net"
	"sync/atomic"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	cares "github.com/envoyproxy/go-control-plane/envoy/extensions/network/dns_resolver/cares/v3"
	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
)

// names is how a name server answers; nil is never.
type names func(header dnsmessage.Header, question dnsmessage.Question) *dnsmessage.Message

// refusing answers every question with a code.
func refusing(code dnsmessage.RCode) names {
	return func(h dnsmessage.Header, q dnsmessage.Question) *dnsmessage.Message {
		return &dnsmessage.Message{
			Header:    dnsmessage.Header{ID: h.ID, Response: true, RecursionAvailable: true, RCode: code},
			Questions: []dnsmessage.Question{q},
		}
	}
}

// slow says after a while that every name is this machine's.
func slow(h dnsmessage.Header, q dnsmessage.Question) *dnsmessage.Message {
	time.Sleep(3 * time.Second)
	m := refusing(dnsmessage.RCodeSuccess)(h, q)
	if q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 5},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	return m
}

// serve starts a name server on a free port of this machine; nil names make one
// that reads questions and answers none. It ends with the test. asked counts the
// questions.
func (n names) serve(t world.T) (address *net.UDPAddr, asked *atomic.Int64) {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	asked = &atomic.Int64{}
	go func() {
		buffer := make([]byte, 4096)
		for {
			size, from, err := conn.ReadFromUDP(buffer)
			if err != nil {
				return
			}
			asked.Add(1)
			var m dnsmessage.Message
			if n == nil || m.Unpack(buffer[:size]) != nil || len(m.Questions) != 1 {
				continue
			}
			go func() {
				if answer, err := n(m.Header, m.Questions[0]).Pack(); err == nil {
					_, _ = conn.WriteToUDP(answer, from)
				}
			}()
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr), asked
}

// resolveAt makes an Envoy ask that name server alone.
func resolveAt(t world.T, server *net.UDPAddr) func(*bootstrapv3.Bootstrap) {
	t.Helper()
	config, err := anypb.New(&cares.CaresDnsResolverConfig{
		Resolvers: []*core.Address{{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
			Address: server.IP.String(), PortSpecifier: &core.SocketAddress_PortValue{PortValue: uint32(server.Port)},
		}}}},
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return func(b *bootstrapv3.Bootstrap) {
		b.TypedDnsResolverConfig = &core.TypedExtensionConfig{Name: "envoy.network.dns_resolver.cares", TypedConfig: config}
	}
}
