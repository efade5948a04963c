package changes_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/envoy"
)

// copied waits for a copy of what is sent from now on.
func copied(traffic *world.Traffic, shadow *backend.HTTP) {
	GinkgoHelper()
	before := len(traffic.Exchanges())
	Eventually(func() bool {
		ids := world.IDs(shadow)
		for _, e := range traffic.Exchanges()[before:] {
			if ids[e.ID] > 0 {
				return true
			}
		}
		return false
	}).Should(BeTrue(), "copies arrive")
}

var _ = Describe("a file", func() {
	var (
		w       *world.World
		shadow  *backend.HTTP
		traffic *world.Traffic
	)

	// begin starts a host that has web's requests copied from v1 to v3.
	BeforeEach(func(ctx SpecContext) {
		w = world.New(GinkgoT())
		w.HTTP("v1")
		w.HTTP("v2")
		shadow = w.HTTP("v3")
		w.Route(conf(0, "v1", "v3"))
		w.Start(ctx, envoytest.Default())
		traffic = w.Traffic()
		effective(traffic, 0)
	})

	DescribeTable("that is bad is reported, and what runs goes on until it is good again", func(content, problem string) {
		w.Write("route.yaml", content)
		Eventually(w.Log).Should(gbytes.Say(`a file is refused; what it held before stays in use.*route.yaml.*` + problem))
		Expect(traffic.All(at(0))).To(BeTrue())
		copied(traffic, shadow)

		// The others go on.
		before := len(traffic.Exchanges())
		other := world.StartHTTP(GinkgoT(), "other")
		w.Write("other.yaml", world.Instance("other", "backend", "v1", "http", other.Port()))
		Eventually(func() bool {
			for _, e := range traffic.Exchanges()[before:] {
				if e.Err == nil && e.Answer.Backend == "other" {
					return true
				}
			}
			return false
		}).Should(BeTrue())

		w.Route(conf(1, "v2", ""))
		effective(traffic, 1)
		Expect(w.Log).To(gbytes.Say("a file is in use again"))
		traffic.Stop()
		Expect(traffic.Failed()).To(BeEmpty())
	},
		Entry("no YAML", "type: TrafficRoute\n  name: [", "yaml"),
		Entry("not valid", strings.Replace(world.Route("web", conf(1, "v2", "v3")), "name: v3", "name: v3, percentage: 101", 1), "percentage"),
		Entry("of unknown fields", strings.Replace(world.Route("web", conf(1, "v2", "v3")), "mirror:", "miror:", 1), "miror"),
		Entry("with a key twice", world.Route("web", conf(1, "v2", ""))+"name: again\n", "name"),
		Entry("with a resource that another file has", world.Route("web", conf(1, "v2", ""))+"---\n"+world.Caller("v1", 1), "v1"),
	)

	DescribeTable("with the TrafficRoute takes the mirror with it, and brings it back", func(end func()) {
		end()
		Eventually(traffic.All).WithArguments(func(a *world.Answer) bool { return a.Header.Get(revisionHeader) == "" }).Should(BeTrue())
		// What was sent by the old route has arrived; what is copied none is.
		id := ""
		for _, e := range traffic.Exchanges() {
			if e.Err == nil && e.Answer.Header.Get(revisionHeader) == "0" {
				id = e.ID
			}
		}
		Eventually(func() map[string]int { return world.IDs(shadow) }).Should(HaveKey(id))

		w.Route(conf(1, "v1", "v3"))
		effective(traffic, 1)
		copied(traffic, shadow)
		traffic.Stop()
		Expect(traffic.Failed()).To(BeEmpty())
		for _, e := range traffic.Exchanges() {
			if e.Answer.Header.Get(revisionHeader) == "" {
				Expect(world.Got(shadow, e.ID) != nil).To(Equal(e.Answer.Backend == "v3"), "only what v3 answered itself")
			}
		}
	},
		Entry("when it is deleted", func() { w.Remove("route.yaml") }),
		Entry("when all of it is commented out", func() {
			w.Write("route.yaml", "#"+strings.ReplaceAll(world.Route("web", conf(0, "v1", "v3")), "\n", "\n#"))
		}),
	)

	It("that is written in place, with a pause before its last lines, is in use as a whole or not at all", func() {
		// Without its last line it is valid, and copies everything.
		text := world.Route("web", fmt.Sprintf(`
split: [{weight: 100, destination: {kuma.io/service: backend, version: v2}}]
http:
- match: {path: {prefix: /}}
  modify: {responseHeaders: {add: [{name: %s, value: "1"}]}}
  split: [{weight: 100, destination: {kuma.io/service: backend, version: v2}}]
  mirror:
    destination: {kuma.io/service: backend, version: v3}
    percentage: 0
`, revisionHeader))
		half, rest, cut := strings.Cut(text, "percentage")
		Expect(cut).To(BeTrue())
		file, err := os.OpenFile(filepath.Join(w.Dir, "route.yaml"), os.O_WRONLY|os.O_TRUNC, 0)
		Expect(err).NotTo(HaveOccurred())
		_, err = file.WriteString(half)
		Expect(err).NotTo(HaveOccurred())
		Consistently(traffic.All, "2s").WithArguments(at(0)).Should(BeTrue(), "the old one is in use while its file is open")
		_, err = file.WriteString("percentage" + rest)
		Expect(err).NotTo(HaveOccurred())
		Expect(file.Close()).To(Succeed())
		effective(traffic, 1)
		traffic.Stop()
		Expect(traffic.Failed()).To(BeEmpty())
		for _, e := range traffic.Exchanges() {
			if at(1)(e.Answer) {
				Expect(world.Got(shadow, e.ID)).To(BeNil(), "no copy by half of the policy")
			}
		}
	})

	It("with a new data plane is served to its Envoy, and changes nothing for others", func(ctx SpecContext) {
		port := envoytest.FreePorts(1)[0]
		_, err := envoy.Fetch(ctx, w.XDSAddress, envoy.Security{}, "default", "app", slog.New(slog.DiscardHandler))
		Expect(err).To(MatchError(ContainSubstring(`no data plane "app"`)))
		w.Write("app.yaml", world.Caller("app", port)+"---\n"+world.Route("app", conf(7, "v2", "")))
		Eventually(func() error {
			_, err := envoy.Fetch(ctx, w.XDSAddress, envoy.Security{}, "default", "app", slog.New(slog.DiscardHandler))
			return err
		}).Should(Succeed())
		w.Envoy(ctx, envoytest.Default(), "app", ads.Delta)
		answer, err := world.NewClient(GinkgoT(), fmt.Sprintf("http://127.0.0.1:%d", port), false).Send(ctx, world.Request{})
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.Backend).To(Equal("v2"))
		Expect(answer.Header.Get(revisionHeader)).To(Equal("7"))

		Expect(traffic.All(at(0))).To(BeTrue())
		traffic.Stop()
		Expect(traffic.Failed()).To(BeEmpty())
	})
})

var _ = Describe("a configuration that Envoy refuses", func() {
	for _, version := range envoytest.Versions() {
		for _, protocol := range []ads.Protocol{ads.Delta, ads.StateOfTheWorld} {
			It(fmt.Sprintf("is reported, hurts nobody, and is healed by another (Envoy %s, %s)", version, protocol), func(ctx SpecContext) {
				w := world.New(GinkgoT())
				w.HTTP("v1")
				w.HTTP("v2")
				shadow := w.HTTP("v3")
				w.Route(conf(0, "v1", "v3"))
				other := envoytest.FreePorts(1)[0]
				w.Write("app.yaml", world.Caller("app", other))
				w.Write("app-route.yaml", world.Route("app", conf(0, "v1", "")))
				h := w.Host()
				binary := envoytest.Binary(version)
				w.Envoy(ctx, binary, "web", protocol)
				w.Envoy(ctx, binary, "app", protocol)
				traffic := w.Traffic()
				effective(traffic, 0)
				client := world.NewClient(GinkgoT(), fmt.Sprintf("http://127.0.0.1:%d", other), true)
				app := func() (string, error) {
					answer, err := client.Send(ctx, world.Request{})
					if err != nil {
						return "", err
					}
					return answer.Header.Get(revisionHeader), nil
				}
				Expect(app()).To(Equal("0"))
				web := func() ads.ProxyStatus {
					for _, s := range h.Status() {
						if s.Dataplane.Name == "web" {
							return s.Proxy
						}
					}
					return ads.ProxyStatus{}
				}
				Eventually(func() bool { return web().InSync }).Should(BeTrue())

				// An address that this machine does not have (TEST-NET-1), and,
				// with it, what is good for the other.
				w.Write("web.yaml", world.Caller("web", w.Port)+
					fmt.Sprintf("  - {address: 192.0.2.1, port: %d, tags: {kuma.io/service: backend}}\n", w.Port))
				w.Write("app-route.yaml", world.Route("app", conf(1, "v2", "")))
				Eventually(w.Log).Should(gbytes.Say(`refused.*default\.web.*cannot bind '192\.0\.2\.1:\d+'`))
				Expect(web().Refused).NotTo(BeNil())
				Expect(web().Refused.Message).To(ContainSubstring("cannot bind '192.0.2.1:"))
				Expect(web().InSync).To(BeFalse())
				Eventually(app).Should(Equal("1"))
				Expect(traffic.All(at(0))).To(BeTrue())
				copied(traffic, shadow)

				// Removing the address heals it.
				w.Write("web.yaml", world.Caller("web", w.Port))
				Eventually(func() bool { return web().InSync }).Should(BeTrue())
				w.Route(conf(2, "v2", "v3"))
				effective(traffic, 2)
				copied(traffic, shadow)
				traffic.Stop()
				Expect(traffic.Failed()).To(BeEmpty())
			})
		}
	}
})

var _ = Describe("an endpoint", func() {
	var (
		w       *world.World
		e       *envoytest.Envoy
		traffic *world.Traffic
	)

	BeforeEach(func(ctx SpecContext) {
		w = world.New(GinkgoT())
		w.HTTP("v1")
		w.HTTP("v2")
		w.HTTP("v3")
		w.Route(conf(0, "v1", "v3"))
		e = w.Start(ctx, envoytest.Default())
		traffic = w.Traffic()
		effective(traffic, 0)
	})

	DescribeTable("that comes is used, and not when it goes; no request fails", func(version string) {
		second := world.StartHTTP(GinkgoT(), "second")
		w.Write("second.yaml", world.Instance("second", "backend", version, "http", second.Port()))
		Eventually(second.Count).Should(BeNumerically(">", 10))
		w.Remove("second.yaml")
		removed := len(traffic.Exchanges())
		// It would still answer; half of the requests would go there.
		Eventually(func() (its []string, _ error) {
			ids, since := world.IDs(second), traffic.Exchanges()[removed:]
			if len(since) < 40 {
				return nil, errors.New("too few requests to tell")
			}
			for _, exchange := range since[len(since)-40:] {
				if ids[exchange.ID] > 0 {
					its = append(its, exchange.ID)
				}
			}
			return its, nil
		}).Should(BeEmpty())
		Consistently(second.Count).Should(Equal(second.Count()))
		traffic.Stop()
		Expect(traffic.Failed()).To(BeEmpty())
	},
		Entry("of the primary", "v1"),
		Entry("of the shadow", "v3"),
	)

	It("of the shadow that is the last takes the copies with it, and the next brings them back; no request fails", func(ctx SpecContext) {
		w.Remove("v3.yaml")
		Eventually(ctx, e.Stat).WithArguments("cluster.v3.membership_total").Should(BeZero())
		Eventually(ctx, e.Stat).WithArguments("cluster.v3.upstream_cx_none_healthy").Should(BeNumerically(">", 10))
		second := world.StartHTTP(GinkgoT(), "second")
		w.Write("second.yaml", world.Instance("second", "backend", "v3", "http", second.Port()))
		copied(traffic, second)
		traffic.Stop()
		Expect(traffic.Failed()).To(BeEmpty())
	})
})
