package status_test

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
)

var _ = onEachEnvoy("the state of a mirror", func(version string) {
	const path = "conf.mirror"
	const conf = `
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: backend, version: v2}}
`

	It("goes with what happens to it", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		w.HTTP("v1")
		w.Route(conf)
		s := serve(w, version)
		s.is(ctx, path, status.NotConnected, "kuma-mirror proxy --dataplane web")
		s.start(ctx)
		s.is(ctx, path, status.NoEndpoints, "version=v2")
		v2 := world.StartHTTP(GinkgoT(), "v2")
		w.Write("v2.yaml", world.Instance("v2", "backend", "v2", "http", v2.Port()))
		s.is(ctx, path, status.Active, "")
		w.Route(strings.Replace(conf, "}}", "}, percentage: 0}", 1))
		s.is(ctx, path, status.Off, "0")
		w.Write("web.yaml", world.Caller("wbe", w.Port))
		s.is(ctx, path, status.NoMatch, "governs no outbound")
	})

	It("is not-http on a TCP outbound", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		w.Write("v1.yaml", world.Instance("v1", "backend", "v1", "tcp", 1))
		w.Route(conf)
		s := open(ctx, w, version)
		s.is(ctx, path, status.NotHTTP, "kuma.io/protocol")
	})

	It("is nack where Envoy refuses the listener", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		w.HTTP("v1")
		w.HTTP("v2")
		w.Route(conf)
		// An address of nobody's: Envoy cannot listen there.
		w.Write("web.yaml", strings.Replace(world.Caller("web", w.Port), "{port:", "{address: 192.0.2.1, port:", 1))
		s := open(ctx, w, version)
		s.is(ctx, path, status.NACK, "cannot bind '192.0.2.1:")
		w.Write("web.yaml", world.Caller("web", w.Port))
		s.is(ctx, path, status.Active, "")
		Expect(s.mirror(Default, path).Since).NotTo(BeZero())
	})
})
