package promise_test

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

// patience is how much longer the primary may wait on a busy machine. Where a
// mirror holds it up, that is close to a minute, or for good.
const patience = 5 * time.Second

const toCollector = "mirror: {destination: {kuma.io/service: collector}}\n"

// external is the collector, an ExternalService at an address.
func external(address, more string) map[string]string {
	return map[string]string{"collector.yaml": fmt.Sprintf(`
type: ExternalService
name: collector
tags: {kuma.io/service: collector, kuma.io/protocol: http}
networking:
  address: %s
%s`, address, more)}
}

// faults by what is wrong.
func faults() map[string]fault {
	garbage, err := filepath.Abs("suite_test.go")
	if err != nil {
		panic(err)
	}
	unresolved := external("collector.example:80", "")
	return map[string]fault{
		"the shadow's name server does not answer": {mirror: toCollector, files: unresolved, named: true},
		"the shadow's name does not exist":         {mirror: toCollector, files: unresolved, named: true, names: refusing(dnsmessage.RCodeNameError)},
		"the shadow's name server fails":           {mirror: toCollector, files: unresolved, named: true, names: refusing(dnsmessage.RCodeServerFailure)},
		"the shadow's name server is slow":         {mirror: toCollector, files: unresolved, named: true, names: slow},
		"Envoy refuses the mirror policy": {mirror: `mirror:
  destination: {kuma.io/service: backend, version: v1}
  requestHeaders: {add: [{name: x, value: "%START_TIME(%n)%"}]}
`, refused: true},
		"Envoy has no CA file of the shadow": {mirror: toCollector, refused: true, files: external("127.0.0.1:80",
			"  tls: {enabled: true, serverName: a.example, caCert: {file: /nowhere/ca.pem}}")},
		"Envoy's CA file of the shadow has no certificate": {mirror: toCollector, refused: true, files: external("127.0.0.1:80",
			"  tls: {enabled: true, serverName: a.example, caCert: {file: "+garbage+"}}")},
		"Envoy has no key file of the shadow": {mirror: toCollector, refused: true, files: external("127.0.0.1:80",
			"  tls: {enabled: true, serverName: a.example, clientCert: {file: /nowhere/cert.pem}, clientKey: {file: /nowhere/key.pem}}")},
		"Envoy's key file of the shadow has no key": {mirror: toCollector, refused: true, files: external("127.0.0.1:80",
			"  tls: {enabled: true, serverName: a.example, clientCert: {file: "+garbage+"}, clientKey: {file: "+garbage+"}}")},
	}
}

var _ = Describe("the primary", func() {
	for _, version := range envoytest.Versions() {
		for _, protocol := range []ads.Protocol{ads.Delta, ads.StateOfTheWorld} {
			Context(fmt.Sprintf("of Envoy %s over %s", version, protocol), func() {
				for name, f := range faults() {
					It("changes and starts as without a mirror where "+name, func(ctx SpecContext) {
						without := run(ctx, GinkgoTB(), version, protocol, fault{})
						got := run(ctx, GinkgoTB(), version, protocol, f)
						if f.refused {
							Expect(got.states).To(HaveEach(HaveField("State", status.NACK)))
							Expect(got.states).To(HaveEach(HaveField("Reason", ContainSubstring("Envoy refuses this mirror"))))
						}
						Expect(got.questions > 0).To(Equal(f.named), "Envoys ask for the shadow's name")
						Expect(got.failed).To(BeEmpty())
						Expect(got.change).To(BeNumerically("<", without.change+patience), "a change in the edit that adds the mirror")
						Expect(got.other).To(BeNumerically("<", without.other+patience), "a later change of another outbound")
						Expect(got.restart).To(BeNumerically("<", without.restart+patience), "the start of an Envoy")
					}, SpecTimeout(2*time.Minute))
				}
			})
		}
	}

	It("gets its mirror when a file that Envoy missed is there", func(ctx SpecContext) {
		w := world.New(GinkgoTB())
		primary := w.HTTP("v1")
		ca, err := backend.NewCA()
		Expect(err).NotTo(HaveOccurred())
		certificate, key, err := ca.Issue("collector.example")
		Expect(err).NotTo(HaveOccurred())
		pair, err := tls.X509KeyPair(certificate, key)
		Expect(err).NotTo(HaveOccurred())
		shadow := world.StartHTTP(GinkgoTB(), "collector", func(o *backend.Options) {
			o.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
		})
		file := filepath.Join(GinkgoT().TempDir(), "ca.pem")
		w.Write("collector.yaml", external(fmt.Sprintf("127.0.0.1:%d", shadow.Port()),
			fmt.Sprintf("  tls: {enabled: true, serverName: collector.example, caCert: {file: %s}}", file))["collector.yaml"])
		w.Route("destination: {kuma.io/service: backend, version: v1}\n" + toCollector)
		w.Start(ctx, envoytest.Binary(envoytest.Versions()[0]))
		first := w.Get(ctx, "/")
		Expect(world.Got(primary, first.ID)).NotTo(BeNil())

		Expect(os.WriteFile(file, ca.PEM(), 0o600)).To(Succeed())
		Eventually(ctx, func() *backend.Request { return world.Got(shadow, w.Get(ctx, "/").ID) }).
			WithTimeout(2*ads.DefaultRetry).WithPolling(100*time.Millisecond).ShouldNot(BeNil(), "the mirror is tried again by itself")
		Expect(world.Got(shadow, first.ID)).To(BeNil())
	}, SpecTimeout(2*time.Minute))
})
