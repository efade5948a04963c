package security_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

// seen is how long a change of a file may take to be seen: it is looked at each
// second.
const seen = 10 * time.Second

var _ = Describe("certificates and tokens that are replaced", func() {
	for _, version := range envoytest.Versions() {
		// envoy starts the Envoy of web, which keeps running to the end.
		envoy := func(h *host, flags ...string) *gexec.Session {
			GinkgoHelper()
			proxy := launch(append([]string{
				"proxy", "--dataplane", "web", "--xds-address", "localhost" + h.xds[len("127.0.0.1"):],
				"--xds-ca-file", h.path("ca.crt"), "--envoy", envoytest.Binary(version), "--drain-time", "0s",
			}, flags...)...)
			Eventually(proxy.Err).WithTimeout(20 * time.Second).Should(gbytes.Say("Envoy is ready"))
			Eventually(h.Err).Should(gbytes.Say("Envoy connected.*default.web"))
			return proxy
		}
		ended := func(proxy *gexec.Session) {
			GinkgoHelper()
			Expect(proxy.Err).NotTo(gbytes.Say("Envoy is ready"), "it was not started again")
			proxy.Terminate()
			Eventually(proxy).Should(gexec.Exit(0))
		}

		It("need no restart, of certificates and authorities on both sides (Envoy "+version+")", func() {
			h := prepare()
			h.run(loopback, h.tls(), h.clientCA())
			show := func(ca *backend.CA) {
				GinkgoHelper()
				cert, key, err := ca.Issue("web.internal")
				Expect(err).NotTo(HaveOccurred())
				// The one is not the other's for a moment, as with most tools.
				h.write("web.crt", string(cert))
				h.write("web.key", string(key))
			}
			show(h.proxies)
			proxy := envoy(h, "--xds-cert-file", h.path("web.crt"), "--xds-key-file", h.path("web.key"))

			hosts, err := backend.NewCA()
			Expect(err).NotTo(HaveOccurred())
			proxies, err := backend.NewCA()
			Expect(err).NotTo(HaveOccurred())
			By("trusting the next authorities beside those of now")
			h.write("ca.crt", string(h.hosts.PEM())+string(hosts.PEM()))
			h.write("proxies.crt", string(h.proxies.PEM())+string(proxies.PEM()))
			Eventually(proxy.Err).WithTimeout(seen).Should(gbytes.Say("read again: the authorities of the host's certificate"))
			Eventually(h.Err).WithTimeout(seen).Should(gbytes.Say("read again: the authorities of proxies' certificates"))
			By("showing the next certificates")
			cert, key, err := hosts.Issue("localhost")
			Expect(err).NotTo(HaveOccurred())
			h.write("host.crt", string(cert))
			h.write("host.key", string(key))
			show(proxies)
			Eventually(proxy.Err).WithTimeout(seen).Should(gbytes.Say("read again: the certificate that Envoy shows"))
			Eventually(h.Err).WithTimeout(seen).Should(gbytes.Say("read again: the certificate of the host"))
			Expect(h.Err).NotTo(gbytes.Say("Envoy disconnected"), "connections go on")
			By("trusting the next authorities alone")
			h.write("ca.crt", string(hosts.PEM()))
			Eventually(proxy.Err).WithTimeout(seen).Should(gbytes.Say("read again: the authorities of the host's certificate"))
			h.write("proxies.crt", string(proxies.PEM()))
			Eventually(h.Err).WithTimeout(seen).Should(gbytes.Say("(?s)Envoy disconnected.*Envoy connected"))
			ended(proxy)
		})

		It("need no restart, of tokens (Envoy "+version+")", func() {
			h := prepare()
			h.run(loopback, h.tls(), h.xdsTokens())
			h.write("web-token", webToken)
			proxy := envoy(h, "--xds-token-file", h.path("web-token"))
			const next = "next-0123456789abcdef0123456789"

			h.write("xds-tokens", webToken+" default/web\n"+next+" default/web\n")
			Eventually(h.Err).WithTimeout(seen).Should(gbytes.Say("read again: the tokens of proxies"))
			h.write("web-token", next)
			Eventually(proxy.Err).WithTimeout(seen).Should(gbytes.Say("read again: the token that Envoy shows"))
			Expect(h.Err).NotTo(gbytes.Say("Envoy disconnected"))
			h.write("xds-tokens", next+" default/web\n")
			Eventually(h.Err).WithTimeout(seen).Should(gbytes.Say("(?s)Envoy disconnected.*Envoy connected"))
			ended(proxy)
			for _, log := range []*gbytes.Buffer{h.Err, proxy.Err, h.Out, proxy.Out} {
				Expect(string(log.Contents())).NotTo(Or(ContainSubstring(webToken), ContainSubstring(next)))
			}
		})
	}

	It("leave what was good in use when they are bad", func() {
		h := prepare()
		h.run(loopback, h.tls(), h.tokens(), h.clientCA())
		cert := certificate(h.proxies, nil, "web")
		works := func() {
			GinkgoHelper()
			Expect(h.ask(request{path: "/meshes", token: readerToken})).To(Equal(yes))
			Expect(h.connect(proxy{cert: cert}, "web")).To(Equal(yes))
		}
		for _, name := range []string{"host.crt", "api-tokens", "proxies.crt"} {
			h.write(name, "bad")
		}
		for range 3 {
			Eventually(h.Err).WithTimeout(seen).Should(gbytes.Say("level=ERROR msg=\"cannot be used; what was read before stays in use"))
		}
		works()
		h.write("api-tokens", readerToken)
		Eventually(h.Err).WithTimeout(seen).Should(gbytes.Say("read again: the tokens of the API"))
		works() // as an admin now
	})
})
