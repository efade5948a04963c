package envoy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/envoy"
)

const token = "0123456789abcdef0123456789abcdef"

// secured is all that can be shown to a host, in files of dir: host.crt and
// host.key are those of a host called localhost, other.crt and other.key of
// another.
func secured(dir string) envoy.Security {
	GinkgoHelper()
	ca, err := backend.NewCA()
	Expect(err).NotTo(HaveOccurred())
	file := func(name string, content []byte) string {
		GinkgoHelper()
		path := filepath.Join(dir, name)
		Expect(os.WriteFile(path, content, 0o600)).To(Succeed())
		return path
	}
	for name, host := range map[string]string{"host": "localhost", "web": "web.internal", "other": "other.internal"} {
		cert, key, err := ca.Issue(host)
		Expect(err).NotTo(HaveOccurred())
		file(name+".crt", cert)
		file(name+".key", key)
	}
	return envoy.Security{
		CAFile:   file("ca.crt", ca.PEM()),
		CertFile: filepath.Join(dir, "web.crt"), KeyFile: filepath.Join(dir, "web.key"),
		TokenFile: file("token", []byte("# mine\n"+token+" default/web\n")),
	}
}

var _ = Describe("the security of the connection to the host", func() {
	DescribeTable("has to go together", func(s envoy.Security, address string, messages ...string) {
		err := s.Check(address)
		if len(messages) == 0 {
			Expect(err).NotTo(HaveOccurred())
		}
		for _, m := range messages {
			Expect(err).To(MatchError(ContainSubstring(m)))
		}
	},
		Entry("nothing", envoy.Security{}, "127.0.0.1:5678"),
		Entry("nothing, elsewhere", envoy.Security{}, "host.internal:5678"),
		Entry("TLS", envoy.Security{CAFile: "ca"}, "host.internal:5678"),
		Entry("everything", envoy.Security{CAFile: "ca", CertFile: "c", KeyFile: "k", TokenFile: "t"}, "host.internal:5678"),
		Entry("a token on this machine", envoy.Security{TokenFile: "t"}, "127.0.0.1:5678"),
		Entry("a token in plain text", envoy.Security{TokenFile: "t"}, "host.internal:5678", "--xds-token-file needs --xds-ca-file"),
		Entry("a certificate in plain text, without its key", envoy.Security{CertFile: "c"}, "127.0.0.1:5678",
			"--xds-cert-file and --xds-key-file go together", "--xds-cert-file needs --xds-ca-file"),
		Entry("a key alone", envoy.Security{CAFile: "ca", KeyFile: "k"}, "127.0.0.1:5678", "go together"),
	)

	Context("of a host that asks for all of it", func() {
		var dir, address string
		var s envoy.Security
		var log *gbytes.Buffer

		BeforeEach(func() {
			dir = GinkgoT().TempDir()
			s = secured(dir)
			log = gbytes.NewBuffer()
			pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "host.crt"), filepath.Join(dir, "host.key"))
			Expect(err).NotTo(HaveOccurred())
			authorities := x509.NewCertPool()
			pem, err := os.ReadFile(s.CAFile)
			Expect(err).NotTo(HaveOccurred())
			Expect(authorities.AppendCertsFromPEM(pem)).To(BeTrue())
			l, err := net.Listen("tcp", "127.0.0.1:0")
			Expect(err).NotTo(HaveOccurred())
			address = fmt.Sprintf("localhost:%d", l.Addr().(*net.TCPAddr).Port)
			server := grpc.NewServer(
				grpc.Creds(credentials.NewTLS(&tls.Config{
					Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authorities,
				})),
				grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
					if shown := metadata.ValueFromIncomingContext(ctx, "authorization"); len(shown) != 1 || shown[0] != "Bearer "+token {
						return nil, status.Error(codes.Unauthenticated, "no token")
					}
					return next(ctx, request)
				}))
			api.RegisterBootstrapServiceServer(server, bootstraps{})
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = server.Serve(l)
			}()
			DeferCleanup(func() {
				server.Stop()
				Eventually(done).Should(BeClosed())
			})
		})
		fetch := func(ctx context.Context) (*api.GetBootstrapResponse, error) {
			return envoy.Fetch(ctx, address, s, "shop", "web", slog.New(slog.NewTextHandler(log, nil)))
		}
		// waits says that fetch does, and why.
		waits := func(reason string) {
			GinkgoHelper()
			ctx, cancel := context.WithCancel(context.Background())
			errs := make(chan error, 1)
			go func() {
				_, err := fetch(ctx)
				errs <- err
			}()
			Eventually(log).WithTimeout(5 * time.Second).Should(gbytes.Say("waiting for the host at " + address + ", where something listens.*" + reason))
			cancel()
			Eventually(errs).WithTimeout(5 * time.Second).Should(Receive(MatchError(context.Canceled)))
		}

		It("gets a bootstrap", func(ctx SpecContext) {
			answer, err := fetch(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(answer.GetNodeId()).To(Equal("shop.web"))
			Expect(log.Contents()).To(BeEmpty())
		})

		It("is told that its token is wrong", func(ctx SpecContext) {
			s.TokenFile = ""
			_, err := fetch(ctx)
			Expect(err).To(MatchError("the host at " + address + ": no token"))
		})

		It("waits for a host that it does not trust", func() {
			s.CAFile = secured(GinkgoT().TempDir()).CAFile
			waits("certificate signed by unknown authority")
		})

		It("waits for a host that does not trust it", func() {
			s.CertFile, s.KeyFile = "", ""
			// The host says so, but its word may be overtaken by the end of the
			// connection.
			waits("--xds-cert-file")
		})

		It("waits for a host by the name that it has", func() {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			Expect(err).NotTo(HaveOccurred())
			address = fmt.Sprintf("localhost:%d", l.Addr().(*net.TCPAddr).Port)
			pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "other.crt"), filepath.Join(dir, "other.key"))
			Expect(err).NotTo(HaveOccurred())
			server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&pair)))
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = server.Serve(l)
			}()
			defer func() {
				server.Stop()
				<-done
			}()
			waits("certificate is valid for other.internal, not localhost")
		})

		DescribeTable("takes a file that is mended while it waits", func(broken func(ca *backend.CA) map[string][]byte) {
			good := map[string][]byte{}
			stranger, err := backend.NewCA()
			Expect(err).NotTo(HaveOccurred())
			for file, content := range broken(stranger) {
				was, err := os.ReadFile(filepath.Join(dir, file))
				Expect(err).NotTo(HaveOccurred())
				good[file] = was
				Expect(os.WriteFile(filepath.Join(dir, file), content, 0o600)).To(Succeed())
			}
			ctx, cancel := context.WithCancel(context.Background())
			DeferCleanup(cancel)
			errs := make(chan error, 1)
			go func() {
				_, err := fetch(ctx)
				errs <- err
			}()
			Eventually(log).WithTimeout(5 * time.Second).Should(gbytes.Say("waiting for the host at " + address + ", where something listens"))
			Consistently(errs).WithTimeout(time.Second).ShouldNot(Receive())
			for file, content := range good {
				Expect(os.WriteFile(filepath.Join(dir, file), content, 0o600)).To(Succeed())
			}
			Eventually(errs).WithTimeout(10 * time.Second).Should(Receive(Not(HaveOccurred())))
			Expect(log).To(gbytes.Say("read again"))
		},
			Entry("of authorities", func(ca *backend.CA) map[string][]byte { return map[string][]byte{"ca.crt": ca.PEM()} }),
			Entry("of its certificate and key", func(ca *backend.CA) map[string][]byte {
				cert, key, err := ca.Issue("web.internal")
				Expect(err).NotTo(HaveOccurred())
				return map[string][]byte{"web.crt": cert, "web.key": key}
			}),
		)

		It("needs its files", func(ctx SpecContext) {
			for _, file := range []*string{&s.CAFile, &s.CertFile, &s.KeyFile, &s.TokenFile} {
				good := *file
				*file = filepath.Join(dir, "none")
				_, err := fetch(ctx)
				Expect(err).To(MatchError(os.ErrNotExist))
				Expect(envoy.WriteSecrets(dir, address, s)).To(MatchError(os.ErrNotExist))
				*file = good
			}
		})
	})

	It("gets to Envoy when it can be written again", func() {
		dir, s := GinkgoT().TempDir(), secured(GinkgoT().TempDir())
		secrets := filepath.Join(dir, "secrets")
		Expect(os.Mkdir(secrets, 0o700)).To(Succeed())
		log := gbytes.NewBuffer()
		ctx, cancel := context.WithCancel(context.Background())
		errs := make(chan error, 1)
		go func() {
			errs <- envoy.FollowSecrets(ctx, secrets, "localhost:5678", s, slog.New(slog.NewTextHandler(log, nil)))
		}()
		shown := func() (string, error) {
			content, err := os.ReadFile(filepath.Join(secrets, "xds-token.json"))
			return string(content), err
		}
		Eventually(shown).Should(ContainSubstring(base64.StdEncoding.EncodeToString([]byte("Bearer " + token))))

		// Root, as whom tests may run, writes everywhere but to what is not there.
		Expect(os.Rename(secrets, secrets+".away")).To(Succeed())
		const next = "fedcba9876543210fedcba9876543210"
		Expect(os.WriteFile(s.TokenFile, []byte(next), 0o600)).To(Succeed())
		Eventually(log).WithTimeout(5 * time.Second).Should(gbytes.Say("level=ERROR .*the token that Envoy shows to the host.*cannot write a secret for Envoy"))
		Expect(os.Rename(secrets+".away", secrets)).To(Succeed())
		Eventually(shown).WithTimeout(5 * time.Second).Should(ContainSubstring(base64.StdEncoding.EncodeToString([]byte("Bearer " + next))))
		cancel()
		Eventually(errs).Should(Receive(Not(HaveOccurred())))
	})
})
