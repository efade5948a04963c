package mirroring_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

// external is an ExternalService on this machine; section is that on TLS, or
// nothing.
func external(protocol string, port uint32, section string) string {
	return fmt.Sprintf(`
type: ExternalService
name: collector
tags: {kuma.io/service: collector, kuma.io/protocol: %s}
networking:
  address: localhost:%d
%s`, protocol, port, section)
}

// verified is TLS with a server name and a CA.
func verified(ca *backend.CA) string {
	return `  tls:
    enabled: true
    serverName: collector.example
    caCert:
      inlineString: |
        ` + strings.ReplaceAll(strings.TrimSpace(string(ca.PEM())), "\n", "\n        ") + "\n"
}

var _ = onEachEnvoy("an ExternalService as shadow", func(open func(context.Context, *world.World) *scene) {
	var (
		w       *world.World
		primary *backend.HTTP
		ca      *backend.CA
	)

	BeforeEach(func() {
		w = world.New(GinkgoT())
		primary = w.HTTP("v1")
		var err error
		ca, err = backend.NewCA()
		Expect(err).NotTo(HaveOccurred())
	})
	// tlsShadow has a certificate for collector.example, whoever it is asked for.
	tlsShadow := func() *backend.HTTP {
		GinkgoHelper()
		certificate, key, err := ca.Issue("collector.example")
		Expect(err).NotTo(HaveOccurred())
		pair, err := tls.X509KeyPair(certificate, key)
		Expect(err).NotTo(HaveOccurred())
		return world.StartHTTP(GinkgoT(), "collector", func(o *backend.Options) {
			o.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
		})
	}
	route := func(more string) {
		GinkgoHelper()
		w.Route(fmt.Sprintf(`
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: collector}, name: shadow%s}
`, more))
	}

	DescribeTable("gets copies over TLS, by its server name and with its own host", func(ctx SpecContext, protocol, expected string) {
		shadow := tlsShadow()
		w.Write("collector.yaml", external(protocol, shadow.Port(), verified(ca)))
		route("")
		open(ctx, w)
		answer := w.Send(ctx, world.Request{Method: "POST", Path: "/in", Body: "some", Host: "inside.example"})
		Expect(answer.Backend).To(Equal("v1"))
		Expect(world.Got(primary, answer.ID).Host).To(Equal("inside.example"))
		mirrored := copyOf(shadow, answer.ID)
		Expect(mirrored.ServerName).To(Equal("collector.example"))
		Expect(mirrored.Host).To(Equal(fmt.Sprintf("localhost:%d", shadow.Port())))
		Expect(mirrored.Proto).To(Equal(expected))
		Expect(mirrored.Path).To(Equal("/in"))
		Expect(string(mirrored.Body)).To(Equal("some"))
	},
		Entry("HTTP/1.1", "http", "HTTP/1.1"),
		Entry("HTTP/2", "http2", "HTTP/2.0"),
	)

	It("gets the host that the mirror says", func(ctx SpecContext) {
		shadow := tlsShadow()
		w.Write("collector.yaml", external("http", shadow.Port(), verified(ca)))
		route(", host: {value: collector.example}")
		open(ctx, w)
		Expect(copyOf(shadow, w.Get(ctx, "/").ID).Host).To(Equal("collector.example"))
	})

	It("gets copies without TLS", func(ctx SpecContext) {
		shadow := world.StartHTTP(GinkgoT(), "collector")
		w.Write("collector.yaml", external("http", shadow.Port(), ""))
		route("")
		open(ctx, w)
		mirrored := copyOf(shadow, w.Get(ctx, "/").ID)
		Expect(mirrored.Host).To(Equal(fmt.Sprintf("localhost:%d", shadow.Port())))
		Expect(mirrored.ServerName).To(BeEmpty())
	})

	DescribeTable("that is not who it should be gets nothing, and the primary does not notice",
		func(ctx SpecContext, counter string, section func() string) {
			shadow := tlsShadow()
			w.Write("collector.yaml", external("http", shadow.Port(), section()))
			route("")
			s := open(ctx, w)
			for range 20 {
				answer := w.Send(ctx, world.Request{Method: "POST", Body: "some"})
				Expect(answer.Backend).To(Equal("v1"))
			}
			s.stat(ctx, counter, BeNumerically(">", 0))
			Consistently(shadow.Count).Should(BeZero())
		},
		Entry("signed by another CA", "cluster.shadow.ssl.fail_verify_error", func() string {
			other, err := backend.NewCA()
			Expect(err).NotTo(HaveOccurred())
			return verified(other)
		}),
		Entry("of another name", "cluster.shadow.ssl.fail_verify_san", func() string {
			return strings.Replace(verified(ca), "collector.example", "other.example", 1)
		}),
		Entry("spoken to without TLS, which it wants", "cluster.shadow.upstream_rq_400", func() string { return "" }),
	)
})
