package promise_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
)

var _ = Describe("a mirror whose shadow has no address", func() {
	for _, version := range envoytest.Versions() {
		DescribeTable("is waiting, with what became of the lookups, until there is one (Envoy "+version+")", func(ctx SpecContext, n names, reason string) {
			w := world.New(GinkgoTB())
			w.HTTP("v1")
			shadow := world.StartHTTP(GinkgoTB(), "collector")
			at := func(name string) {
				w.Write("collector.yaml", external(fmt.Sprintf("%s:%d", name, shadow.Port()), "")["collector.yaml"])
			}
			at("collector.example")
			w.Route("destination: {kuma.io/service: backend, version: v1}\n" + toCollector)
			var mirrors *status.Status
			w.Host(func(h *host.Host) { mirrors = status.New(h) })
			server, _ := n.serve(GinkgoTB())
			w.Envoy(ctx, envoytest.Binary(version), "web", ads.Delta, resolveAt(GinkgoTB(), server))
			is := func(state status.State, reason string) {
				GinkgoHelper()
				Eventually(ctx, mirrors.Snapshot).WithTimeout(30 * time.Second).WithPolling(100 * time.Millisecond).Should(
					ConsistOf(And(HaveField("State", state), HaveField("Reason", MatchRegexp(reason)))))
			}
			reason = "^Envoy has no address of collector.example: " + reason + "$"
			is(status.Waiting, reason)
			Expect(w.Get(ctx, "/").Backend).To(Equal("v1"))
			is(status.Waiting, reason)

			at("127.0.0.1")
			is(status.Active, "^$")
			Eventually(ctx, func() *backend.Request { return world.Got(shadow, w.Get(ctx, "/").ID) }).ShouldNot(BeNil(), "the mirror copies")
			at("collector.example")
			is(status.Waiting, "^Envoy has no address of collector.example: ")
		},
			Entry("of a name server that does not answer", names(nil), "of 1 DNS lookups 0 were answered, 0 failed and 1 had no answer yet", SpecTimeout(2*time.Minute)),
			Entry("of a name that does not exist", refusing(dnsmessage.RCodeNameError), `of (\d+) DNS lookups (\d+) were answered, 0 failed and \d had no answer yet`, SpecTimeout(2*time.Minute)),
			Entry("of a name server that fails", refusing(dnsmessage.RCodeServerFailure), `of (\d+) DNS lookups 0 were answered, [1-9]\d* failed and \d had no answer yet`, SpecTimeout(2*time.Minute)),
		)
	}
})
