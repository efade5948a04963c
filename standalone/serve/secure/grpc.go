package secure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	metrics "github.com/envoyproxy/go-control-plane/envoy/service/metrics/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

const (
	// handshakeTimeout of xDS connections.
	handshakeTimeout = 5 * time.Second
	// maxMessage is the most bytes of one message from a proxy.
	maxMessage = 4 << 20
)

// XDS wraps the listener of xDS in limits; TLS comes with ServerOptions. With the
// listener its connections are closed.
func (g *Guard) XDS(l net.Listener) net.Listener { return abrupt{g.limit(l, "xDS", "xds")} }

// ServerOptions are those of a gRPC server that lets to its services what may
// pass. They leave keepalive to others.
func (g *Guard) ServerOptions() []grpc.ServerOption {
	transport := insecure.NewCredentials()
	if g.certificate != nil {
		transport = credentials.NewTLS(g.xdsTLS())
	}
	return []grpc.ServerOption{
		grpc.Creds(&tracked{TransportCredentials: transport, connections: g.proxies}),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.InTapHandle(g.tap),
		grpc.ChainUnaryInterceptor(g.unary),
		grpc.ChainStreamInterceptor(g.stream),
	}
}

// xdsTLS asks for a certificate that the authorities of this moment have signed.
func (g *Guard) xdsTLS() *tls.Config {
	config := g.tlsConfig()
	if g.clientCA == nil {
		return config
	}
	// A resumed session would not show its certificate to new authorities.
	config.SessionTicketsDisabled = true
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := g.tlsConfig()
		now.SessionTicketsDisabled = true
		now.ClientAuth, now.ClientCAs = tls.RequireAndVerifyClientCert, g.clientCA.Value()
		return now, nil
	}
	return config
}

// tracked credentials remember the connections they have let in.
type tracked struct {
	credentials.TransportCredentials
	connections *connections
}

func (t *tracked) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := t.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	var certificates []*x509.Certificate
	if shown, ok := info.(credentials.TLSInfo); ok {
		certificates = shown.State.PeerCertificates
	}
	c := t.connections.add(conn, certificates)
	c.accepted, _ = raw.(*counted)
	return c, trackedInfo{AuthInfo: info, connection: c}, nil
}

func (t *tracked) Clone() credentials.TransportCredentials {
	return &tracked{TransportCredentials: t.TransportCredentials.Clone(), connections: t.connections}
}

type trackedInfo struct {
	credentials.AuthInfo
	connection *connection
}

// reconsider closes the connections whose certificate or token is not good any
// more, or good for another data plane than before.
func (g *Guard) reconsider() {
	closed := g.proxies.closeUnless(func(certificates []*x509.Certificate, tokens map[digest]Proxy) bool {
		if g.clientCA != nil && !verified(certificates, g.clientCA.Value()) {
			return false
		}
		if g.xdsTokens != nil {
			for token, was := range tokens {
				// By the node: a name is that of a line, which may move.
				if now, ok := g.xdsTokens.Value().lookup(token); !ok || now.Node != was.Node {
					return false
				}
			}
		}
		return true
	})
	if closed > 0 {
		g.log.Warn("closed connections of proxies whose token or certificate is not good any more, or for another data plane; their Envoys keep what they have", "connections", closed)
	}
}

func verified(certificates []*x509.Certificate, authorities *x509.CertPool) bool {
	if len(certificates) == 0 {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range certificates[1:] {
		between.AddCert(c)
	}
	_, err := certificates[0].Verify(x509.VerifyOptions{
		Roots: authorities, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}

type proxyKey struct{}

// tap lets in who may call, before anything of the call's messages is read: an
// interceptor would come after the whole of a unary one.
func (g *Guard) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	proxy, err := g.proxy(ctx, info.FullMethodName)
	if err != nil {
		return ctx, err
	}
	if from, ok := peer.FromContext(ctx); ok {
		if info, _ := from.AuthInfo.(trackedInfo); info.connection != nil && info.connection.accepted != nil {
			info.connection.accepted.proved()
		}
	}
	return context.WithValue(ctx, proxyKey{}, proxy), nil
}

func (g *Guard) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	proxy, ok := ctx.Value(proxyKey{}).(Proxy)
	if !ok {
		return nil, errUntapped
	}
	if err := g.allow(ctx, proxy, info.FullMethod, request); err != nil {
		return nil, err
	}
	return next(ctx, request)
}

func (g *Guard) stream(service any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	proxy, ok := s.Context().Value(proxyKey{}).(Proxy)
	if !ok {
		return errUntapped
	}
	if proxy.Node == "" {
		return next(service, s)
	}
	one := &bound{ServerStream: s, check: func(message any) error { return g.allow(s.Context(), proxy, info.FullMethod, message) }}
	err := next(service, one)
	if refused := one.refused.Load(); refused != nil {
		return *refused // and not what the service made of it
	}
	return err
}

// errUntapped would be a mistake in this package: tap comes before everything.
var errUntapped = status.Error(codes.Internal, "nobody has asked who calls")

// bound is a stream of a proxy that may speak for one data plane.
type bound struct {
	grpc.ServerStream
	check   func(message any) error
	refused atomic.Pointer[error]
}

// RecvMsg ends the stream with the first message that may not be.
func (b *bound) RecvMsg(m any) error {
	if err := b.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	err := b.check(m)
	if err != nil {
		b.refused.Store(&err)
	}
	return err
}

// proxy returns who calls.
func (g *Guard) proxy(ctx context.Context, method string) (Proxy, error) {
	from, _ := peer.FromContext(ctx)
	info, _ := from.AuthInfo.(trackedInfo)
	switch {
	case g.clientCA != nil:
		if info.connection == nil || len(info.connection.certificates) == 0 {
			return Proxy{}, g.refused(ctx, method, codes.Unauthenticated, "xDS takes a client certificate here")
		}
		proxy, err := ProxyOf(info.connection.certificates[0])
		if err != nil {
			return Proxy{}, g.refused(ctx, method, codes.Unauthenticated, err.Error())
		}
		return proxy, nil
	case g.xdsTokens != nil:
		return g.proxyByToken(ctx, method, from, info)
	default:
		return Proxy{}, nil
	}
}

func (g *Guard) proxyByToken(ctx context.Context, method string, from *peer.Peer, info trackedInfo) (Proxy, error) {
	token, ok := bearer(metadata.ValueFromIncomingContext(ctx, "authorization"))
	if !ok {
		return Proxy{}, g.refused(ctx, method, codes.Unauthenticated, "xDS takes a token here; see --xds-token-file of kuma-mirror proxy")
	}
	if proxy, known := g.xdsTokens.Value().Lookup(token); known {
		if info.connection != nil {
			info.connection.shown(digestOf(token), proxy)
		}
		return proxy, nil
	}
	if g.xdsGuesses.fail(addressOf(from.Addr).Addr()) > 0 {
		return Proxy{}, g.refused(ctx, method, codes.ResourceExhausted, "the token is unknown, as were too many from this address")
	}
	return Proxy{}, g.refused(ctx, method, codes.Unauthenticated, "the token is none that this host knows")
}

// allow checks which data plane a message speaks for.
func (g *Guard) allow(ctx context.Context, proxy Proxy, method string, message any) error {
	if proxy.Node == "" {
		return nil
	}
	node, known := nodeOf(message)
	if known && (node == proxy.Node || node == "") {
		return nil
	}
	return g.refused(ctx, method, codes.PermissionDenied, fmt.Sprintf("%s is good for the node %q only, not for %.256q", proxy.Name, proxy.Node, node))
}

// nodeOf returns which node a message speaks for; "" for one that follows
// another on its stream. known is false for messages this package does not know.
func nodeOf(message any) (node string, known bool) {
	switch m := message.(type) {
	case *api.GetBootstrapRequest:
		meshName := m.GetMesh()
		if meshName == "" {
			meshName = api.DefaultMesh
		}
		return nodeID(meshName, m.GetDataplane()), true
	case interface { // StreamMetricsMessage, and what is read in its place
		GetIdentifier() *metrics.StreamMetricsMessage_Identifier
	}:
		return m.GetIdentifier().GetNode().GetId(), true
	case interface{ GetNode() *core.Node }: // state of the world and delta
		return m.GetNode().GetId(), true
	default:
		return "", false
	}
}

func (g *Guard) refused(ctx context.Context, method string, code codes.Code, why string) error {
	from := "unknown"
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		from = p.Addr.String()
	}
	g.onRefusal("xds", code.String())
	g.refusals.add("refused a proxy", why, "method", method, "from", from)
	return status.Error(code, why)
}
