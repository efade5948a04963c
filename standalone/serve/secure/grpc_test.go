package secure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	metrics "github.com/envoyproxy/go-control-plane/envoy/service/metrics/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

// services answer whoever gets through.
type services struct {
	api.UnimplementedBootstrapServiceServer
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	metrics.UnimplementedMetricsServiceServer
}

func (services) GetBootstrap(context.Context, *api.GetBootstrapRequest) (*api.GetBootstrapResponse, error) {
	return &api.GetBootstrapResponse{}, nil
}

func (services) DeltaAggregatedResources(s discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	for {
		if _, err := s.Recv(); err != nil {
			return nil // as go-control-plane does
		}
		if err := s.Send(&discovery.DeltaDiscoveryResponse{}); err != nil {
			return err
		}
	}
}

func (services) StreamAggregatedResources(s discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	for {
		if _, err := s.Recv(); err != nil {
			return nil
		}
		if err := s.Send(&discovery.DiscoveryResponse{}); err != nil {
			return err
		}
	}
}

func (services) StreamMetrics(s metrics.MetricsService_StreamMetricsServer) error {
	if _, err := s.Recv(); err != nil {
		return err
	}
	return s.SendAndClose(&metrics.StreamMetricsResponse{})
}

var _ = Describe("the guard of xDS", func() {
	var g *Guard
	var log *gbytes.Buffer
	var address string
	var room *limited

	serve := func(change func(*Options)) {
		GinkgoHelper()
		g, log = guarded(change)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		address = l.Addr().String()
		server := grpc.NewServer(g.ServerOptions()...)
		api.RegisterBootstrapServiceServer(server, services{})
		discovery.RegisterAggregatedDiscoveryServiceServer(server, services{})
		metrics.RegisterMetricsServiceServer(server, services{})
		guarded := g.XDS(l)
		room = guarded.(abrupt).limited
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = server.Serve(guarded)
		}()
		DeferCleanup(func() {
			server.Stop()
			Eventually(done).Should(BeClosed())
		})
	}
	dial := func(c credentials.TransportCredentials) *grpc.ClientConn {
		GinkgoHelper()
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(c))
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { _ = conn.Close() })
		return conn
	}
	plain := insecure.NewCredentials()
	calling := func(token string) context.Context {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		DeferCleanup(cancel)
		if token != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
		}
		return ctx
	}
	bootstrap := func(conn *grpc.ClientConn, token, mesh, dataplane string) error {
		_, err := api.NewBootstrapServiceClient(conn).GetBootstrap(calling(token), &api.GetBootstrapRequest{Mesh: mesh, Dataplane: dataplane})
		return err
	}
	// delta opens a stream of a node and sends a second request after the
	// first, without the node, as Envoy does.
	delta := func(conn *grpc.ClientConn, token, node string) (discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient, error) {
		GinkgoHelper()
		stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(calling(token))
		if err != nil {
			return nil, err
		}
		for _, request := range []*discovery.DeltaDiscoveryRequest{{Node: &core.Node{Id: node}}, {}} {
			// What has been refused is told by Recv.
			_ = stream.Send(request)
			if _, err := stream.Recv(); err != nil {
				return stream, err
			}
		}
		return stream, nil
	}
	sotw := func(conn *grpc.ClientConn, token, node string) error {
		GinkgoHelper()
		stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(calling(token))
		if err != nil {
			return err
		}
		_ = stream.Send(&discovery.DiscoveryRequest{Node: &core.Node{Id: node}})
		_, err = stream.Recv()
		return err
	}
	report := func(conn *grpc.ClientConn, token, node string) error {
		GinkgoHelper()
		stream, err := metrics.NewMetricsServiceClient(conn).StreamMetrics(calling(token))
		if err != nil {
			return err
		}
		_ = stream.Send(&metrics.StreamMetricsMessage{Identifier: &metrics.StreamMetricsMessage_Identifier{Node: &core.Node{Id: node}}})
		_, err = stream.CloseAndRecv()
		return err
	}
	beCode := func(code codes.Code) OmegaMatcher { return WithTransform(status.Code, Equal(code)) }
	// everything is what a proxy may do, or not, as one data plane.
	everything := func(conn *grpc.ClientConn, token, mesh, dataplane string, code codes.Code) {
		GinkgoHelper()
		node := mesh + "." + dataplane
		Expect(bootstrap(conn, token, mesh, dataplane)).To(beCode(code))
		_, err := delta(conn, token, node)
		Expect(err).To(beCode(code))
		Expect(sotw(conn, token, node)).To(beCode(code))
		Expect(report(conn, token, node)).To(beCode(code))
	}

	It("asks for nothing where it is told nothing", func() {
		serve(func(*Options) {})
		everything(dial(plain), "", "default", "web", codes.OK)
	})

	Context("with tokens", func() {
		BeforeEach(func() {
			serve(func(o *Options) { o.XDSTokenFile = tokenFile(adminToken + "\n" + readerToken + " default/web\n") })
		})

		It("lets in who has one", func() {
			everything(dial(plain), adminToken, "default", "web", codes.OK)
			everything(dial(plain), adminToken, "shop", "till", codes.OK)
		})

		It("lets in nobody else, and bounds their tries", func() {
			conn := dial(plain)
			everything(conn, "", "default", "web", codes.Unauthenticated)
			for range badTokens {
				Expect(bootstrap(conn, "guess-guess-guess", "default", "web")).To(beCode(codes.Unauthenticated))
			}
			everything(conn, "guess-guess-guess", "default", "web", codes.ResourceExhausted)
			everything(conn, adminToken, "default", "web", codes.OK)
			Expect(string(log.Contents())).NotTo(Or(ContainSubstring("guess"), ContainSubstring(adminToken)))
		})

		It("lets in who has one where others hold all connections and show none", func() {
			room.mu.Lock()
			room.total = 4
			room.mu.Unlock()
			for range 4 {
				conn, err := net.Dial("tcp", address)
				Expect(err).NotTo(HaveOccurred())
				DeferCleanup(conn.Close)
			}
			held := func() (open, unproven int) {
				room.mu.Lock()
				defer room.mu.Unlock()
				return len(room.open), room.unproven.Len()
			}
			Eventually(func() int { _, unproven := held(); return unproven }).Should(Equal(4), "all are taken")
			room.mu.Lock()
			room.now = func() time.Time { return time.Now().Add(unprovenTime) }
			room.mu.Unlock()
			everything(dial(plain), adminToken, "default", "web", codes.OK)
			open, unproven := held()
			Expect(open).To(BeNumerically("<=", 4))
			Expect(unproven).To(Equal(open-1), "the proxy's is known")
		})

		It("reads nothing of who has none", func() {
			stream, err := dial(plain).NewStream(calling(""), &grpc.StreamDesc{ClientStreams: true}, api.BootstrapService_GetBootstrap_FullMethodName)
			Expect(err).NotTo(HaveOccurred())
			Expect(stream.RecvMsg(&api.GetBootstrapResponse{})).To(beCode(codes.Unauthenticated), "and it has sent nothing")
		})

		It("holds a token to its data plane", func() {
			everything(dial(plain), readerToken, "default", "web", codes.OK)
			everything(dial(plain), readerToken, "default", "api", codes.PermissionDenied)
			Expect(bootstrap(dial(plain), readerToken, "", "web")).To(Succeed(), "the default mesh")
			err := bootstrap(dial(plain), readerToken, "shop", "web")
			Expect(status.Convert(err).Message()).To(Equal(`default/web is good for the node "default.web" only, not for "shop.web"`))
			Expect(log).To(gbytes.Say("refused a proxy"))
		})

		It("cuts off who lives by a token that is taken away, and nobody else", func() {
			taken, kept := dial(plain), dial(plain)
			gone, err := delta(taken, readerToken, "default.web")
			Expect(err).NotTo(HaveOccurred())
			stays, err := delta(kept, adminToken, "default.web")
			Expect(err).NotTo(HaveOccurred())
			write(g.options.XDSTokenFile, adminToken+"\ncccccccccccccccc\n")
			Expect(g.xdsTokens.refresh(g.log)).To(BeTrue())
			g.reconsider()
			_, err = gone.Recv()
			Expect(err).To(HaveOccurred())
			Expect(log).To(gbytes.Say("closed connections .* connections=1"))
			Expect(stays.Send(&discovery.DeltaDiscoveryRequest{})).To(Succeed())
			_, err = stays.Recv()
			Expect(err).NotTo(HaveOccurred())
			Expect(bootstrap(taken, readerToken, "default", "web")).To(beCode(codes.Unauthenticated))
			Expect(bootstrap(taken, "cccccccccccccccc", "default", "web")).To(Succeed())
		})

		It("cuts off who lives by a token that is another data plane's now, and nobody else", func() {
			narrowed, kept := dial(plain), dial(plain)
			gone, err := delta(narrowed, adminToken, "shop.till")
			Expect(err).NotTo(HaveOccurred())
			stays, err := delta(kept, readerToken, "default.web")
			Expect(err).NotTo(HaveOccurred())

			write(g.options.XDSTokenFile, "# one line further down\n"+adminToken+"\n"+readerToken+" default/web\n")
			Expect(g.xdsTokens.refresh(g.log)).To(BeTrue())
			g.reconsider()
			Expect(log).NotTo(gbytes.Say("closed connections"))

			write(g.options.XDSTokenFile, adminToken+" default/web\n"+readerToken+" default/web\n")
			Expect(g.xdsTokens.refresh(g.log)).To(BeTrue())
			// Another stream of the connection already stands for the new one.
			Expect(bootstrap(narrowed, adminToken, "default", "web")).To(Succeed())
			g.reconsider()
			_, err = gone.Recv()
			Expect(err).To(HaveOccurred())
			Expect(log).To(gbytes.Say("closed connections .* connections=1"))
			Expect(stays.Send(&discovery.DeltaDiscoveryRequest{})).To(Succeed())
			_, err = stays.Recv()
			Expect(err).NotTo(HaveOccurred())
			Expect(bootstrap(narrowed, adminToken, "default", "web")).To(Succeed())
			Expect(bootstrap(narrowed, adminToken, "shop", "till")).To(beCode(codes.PermissionDenied))
		})
	})

	Context("with client certificates", func() {
		var hosts, proxies *backend.CA
		var dir, authorities string

		BeforeEach(func() {
			hosts, proxies = newCA(), newCA()
			dir = GinkgoT().TempDir()
			authorities = filepath.Join(dir, "proxies.crt")
			write(authorities, string(proxies.PEM()))
			cert, key := issue(hosts, nil, "localhost", "127.0.0.1")
			write(filepath.Join(dir, "host.crt"), string(cert))
			write(filepath.Join(dir, "host.key"), string(key))
			serve(func(o *Options) {
				o.CertFile, o.KeyFile, o.XDSClientCAFile = filepath.Join(dir, "host.crt"), filepath.Join(dir, "host.key"), authorities
			})
		})
		// showing trusts the host and shows a certificate of ca.
		showing := func(ca *backend.CA, change func(*x509.Certificate), names ...string) credentials.TransportCredentials {
			GinkgoHelper()
			config := &tls.Config{RootCAs: hosts.Pool()}
			if ca != nil {
				cert, key := issue(ca, change, names...)
				pair, err := tls.X509KeyPair(cert, key)
				Expect(err).NotTo(HaveOccurred())
				// Certificates would not be shown to a host that asks for others.
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
			}
			return credentials.NewTLS(config)
		}

		It("lets in who has one of its authorities", func() {
			conn := dial(showing(proxies, nil, "web"))
			everything(conn, "", "default", "web", codes.OK)
			everything(conn, "", "shop", "till", codes.OK)
		})

		DescribeTable("lets in nobody else", func(c func() credentials.TransportCredentials) {
			everything(dial(c()), adminToken, "default", "web", codes.Unavailable)
		},
			Entry("without one", func() credentials.TransportCredentials { return showing(nil, nil) }),
			Entry("of another authority", func() credentials.TransportCredentials { return showing(hosts, nil, "web") }),
			Entry("with one that has expired", func() credentials.TransportCredentials {
				return showing(proxies, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "web")
			}),
			Entry("with one that is not for clients", func() credentials.TransportCredentials {
				return showing(proxies, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, "web")
			}),
			Entry("in plain text", func() credentials.TransportCredentials { return plain }),
			Entry("in TLS 1.1", func() credentials.TransportCredentials {
				return credentials.NewTLS(&tls.Config{RootCAs: hosts.Pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
			}),
		)

		It("holds a certificate to its data plane", func() {
			conn := dial(showing(proxies, nil, "spiffe://example.com/mesh/shop/dataplane/till"))
			everything(conn, "", "shop", "till", codes.OK)
			everything(conn, "", "shop", "web", codes.PermissionDenied)
		})

		It("takes none whose data plane it cannot tell for sure", func() {
			conn := dial(showing(proxies, nil, "spiffe://example.com/mesh/shop/dataplane/till/"))
			everything(conn, "", "shop", "till", codes.Unauthenticated)
			Expect(status.Convert(bootstrap(conn, "", "shop", "till")).Message()).To(ContainSubstring("has to be of the form spiffe://"))
		})

		It("takes new authorities, and cuts off whom only old ones vouch for", func() {
			old := dial(showing(proxies, nil, "web"))
			stream, err := delta(old, "", "default.web")
			Expect(err).NotTo(HaveOccurred())
			next := newCA()
			write(authorities, string(proxies.PEM())+string(next.PEM()))
			Expect(g.clientCA.refresh(g.log)).To(BeTrue())
			g.reconsider()
			Expect(stream.Send(&discovery.DeltaDiscoveryRequest{})).To(Succeed())
			_, err = stream.Recv()
			Expect(err).NotTo(HaveOccurred())
			kept, err := delta(dial(showing(next, nil, "web")), "", "default.web")
			Expect(err).NotTo(HaveOccurred())

			write(authorities, string(next.PEM()))
			Expect(g.clientCA.refresh(g.log)).To(BeTrue())
			g.reconsider()
			_, err = stream.Recv()
			Expect(err).To(HaveOccurred())
			Expect(kept.Send(&discovery.DeltaDiscoveryRequest{})).To(Succeed())
			_, err = kept.Recv()
			Expect(err).NotTo(HaveOccurred())
			Expect(bootstrap(old, "", "default", "web")).To(beCode(codes.Unavailable))
		})

		It("shows a new certificate of its own without dropping anybody", func() {
			conn := dial(showing(proxies, nil, "web"))
			stream, err := delta(conn, "", "default.web")
			Expect(err).NotTo(HaveOccurred())
			cert, key := issue(hosts, nil, "127.0.0.1", "new.internal")
			write(filepath.Join(dir, "host.crt"), string(cert))
			Expect(g.certificate.refresh(g.log)).To(BeFalse(), "its key is not there yet")
			write(filepath.Join(dir, "host.key"), string(key))
			Expect(g.certificate.refresh(g.log)).To(BeTrue())
			Expect(stream.Send(&discovery.DeltaDiscoveryRequest{})).To(Succeed())
			_, err = stream.Recv()
			Expect(err).NotTo(HaveOccurred())
			pair, pairKey := issue(proxies, nil, "web")
			shown, err := tls.X509KeyPair(pair, pairKey)
			Expect(err).NotTo(HaveOccurred())
			Expect(bootstrap(dial(credentials.NewTLS(&tls.Config{
				RootCAs: hosts.Pool(), ServerName: "new.internal", Certificates: []tls.Certificate{shown},
			})), "", "default", "web")).To(Succeed())
			Expect(g.CertificateExpiry()).To(BeTemporally(">", time.Now()))
		})
	})

	It("forgets connections that have ended", func() {
		serve(func(o *Options) { o.XDSTokenFile = tokenFile(adminToken) })
		conn := dial(plain)
		Expect(bootstrap(conn, adminToken, "default", "web")).To(Succeed())
		known := func() int {
			g.proxies.mu.Lock()
			defer g.proxies.mu.Unlock()
			return len(g.proxies.open)
		}
		Expect(known()).To(Equal(1))
		Expect(conn.Close()).To(Succeed())
		Eventually(known).Should(BeZero())
	})
})

var _ = Describe("the guard's files", func() {
	It("have to be good at the start, and all that is wrong is said", func() {
		dir := GinkgoT().TempDir()
		write(filepath.Join(dir, "bad"), "x")
		bad := filepath.Join(dir, "bad")
		_, err := Open(Options{CertFile: bad, KeyFile: filepath.Join(dir, "none"), TokenFile: bad, XDSTokenFile: bad, XDSClientCAFile: bad})
		Expect(err).To(MatchError(And(
			ContainSubstring("none: no such file or directory"),
			ContainSubstring("bad: line 1: the token has 1 characters"),
			ContainSubstring("bad: has no certificate in PEM"))))
	})

	It("warn of what is about to expire", func() {
		ca := newCA()
		dir := GinkgoT().TempDir()
		for left, level := range map[time.Duration]string{2 * time.Hour: "", 10 * time.Minute: "WARN"} {
			cert, key := issue(ca, func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Now().Add(-8*time.Hour), time.Now().Add(left)
			}, "localhost")
			write(filepath.Join(dir, "crt"), string(cert))
			write(filepath.Join(dir, "key"), string(key))
			g, log := guarded(func(o *Options) { o.CertFile, o.KeyFile = filepath.Join(dir, "crt"), filepath.Join(dir, "key") })
			g.warnOfExpiry()
			if level == "" {
				Expect(log.Contents()).To(BeEmpty())
			} else {
				Expect(log).To(gbytes.Say("level=" + level + " .*expires soon and was not renewed"))
			}
		}
	})
})
