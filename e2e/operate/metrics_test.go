package operate_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
)

const mirrored = `
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: backend, version: v2}, percentage: 50, name: shadow}
`

var _ = Describe("the metrics of a host that mirrors", func() {
	It("are true, well-formed, bounded, and all that dashboard and alerts ask for", func(ctx SpecContext) {
		port := envoytest.FreePorts(1)[0]
		primary, shadow := world.StartHTTP(GinkgoT(), "v1"), world.StartHTTP(GinkgoT(), "v2")
		h := start(map[string]string{
			"web.yaml": world.Caller("web", port),
			"v1.yaml":  world.Instance("v1", "backend", "v1", "http", primary.Port()),
			"v2.yaml":  world.Instance("v2", "backend", "v2", "http", shadow.Port()),
		})
		h.do(ctx, world.Route("web", mirrored), "apply", "-f", "-")
		proxy := launch("proxy", "--dataplane", "web", "--xds-address", h.xds, "--xds-ca-file", h.path("ca.crt"), "--xds-token-file", h.path("web.token"),
			"--envoy", envoytest.Default(), "--drain-time", "0s")
		Eventually(proxy.Err).Should(gbytes.Say("Envoy is ready"))
		code, _ := h.get(ctx, "/metrics", "wrong-"+token)
		Expect(code).To(Equal(http.StatusUnauthorized))

		client := world.NewClient(GinkgoT(), fmt.Sprintf("http://127.0.0.1:%d", port), true)
		Eventually(ctx, func() error {
			_, err := client.Send(ctx, world.Request{Path: "/first"})
			return err
		}).Should(Succeed())
		send := func(n int) {
			for range n {
				_, err := client.Send(ctx, world.Request{Path: "/then"})
				Expect(err).NotTo(HaveOccurred())
			}
		}

		By("being what the backends have counted")
		send(200)
		mirror := []string{"mesh=default", "dataplane=web", "outbound=backend", "policy=web", "path=conf.mirror", "mirror=shadow"}
		counted := func(percentage float64) {
			Eventually(ctx, func(g Gomega) {
				m, _ := h.scrape(ctx)
				g.Expect(m.sum("kuma_mirror_active", mirror...)).To(BeEquivalentTo(1))
				g.Expect(m.sum("kuma_mirror_configured_ratio", mirror...)).To(BeEquivalentTo(percentage / 100))
				g.Expect(m.sum("kuma_mirror_proxies", "state=in_sync")).To(BeEquivalentTo(1))
				g.Expect(m.sum("kuma_mirror_route_requests_total", mirror...)).To(BeEquivalentTo(primary.Count()))
				g.Expect(m.sum("kuma_mirror_copies_total", mirror...)).To(BeEquivalentTo(shadow.Count()))
			}).Should(Succeed())
		}
		counted(50)
		Expect(shadow.Count()).To(BeNumerically("~", 100, 50))

		h.do(ctx, world.Route("web", strings.Replace(mirrored, "50", "100", 1)), "apply", "-f", "-")
		Eventually(ctx, func(g Gomega) {
			// Percentiles are of the time after the change.
			send(5)
			m, _ := h.scrape(ctx)
			g.Expect(m).To(HaveKey("kuma_mirror_shadow_duration_seconds"))
			g.Expect(m.sum("kuma_mirror_xds_push_duration_seconds")).To(BeNumerically(">=", 1))
		}).Should(Succeed())
		counted(100)

		m, text := h.scrape(ctx)
		Expect(m.sum("kuma_mirror_resources", "kind=Dataplane", "source=file")).To(BeEquivalentTo(3))
		Expect(m.sum("kuma_mirror_resources", "kind=TrafficRoute", "source=api")).To(BeEquivalentTo(1))
		Expect(m.sum("kuma_mirror_store_writes_total", "result=ok")).To(BeNumerically(">=", 2))
		Expect(m.sum("kuma_mirror_refusals_total", "listener=api", "reason=Unknown token")).To(BeEquivalentTo(1))
		Expect(m.sum("kuma_mirror_api_requests_total", "route=/apply", "method=POST", "code=200")).To(BeEquivalentTo(2))
		Expect(m.sum("kuma_mirror_files")).To(BeEquivalentTo(3))

		By("following the conventions of Prometheus")
		problems, err := promlint.New(strings.NewReader(text)).Lint()
		Expect(err).NotTo(HaveOccurred())
		Expect(problems).To(BeEmpty())

		By("having a metric for each query")
		queries := readDashboard(Default).queries()
		for _, r := range readAlerts(Default) {
			queries = append(queries, query{"alert " + r.Alert, r.Expr})
		}
		Expect(len(queries)).To(BeNumerically(">", 40))
		series := m.series()
		for _, q := range queries {
			asked, err := selectors(q.expr)
			Expect(err).NotTo(HaveOccurred(), q.where)
			Expect(asked).NotTo(BeEmpty(), q.where)
			for _, s := range asked {
				if s.name == "up" { // Prometheus' own
					continue
				}
				Expect(series).To(HaveKey(s.name), q.where)
				for _, label := range s.labels {
					if label != "job" {
						Expect(series[s.name]).To(HaveKey(label), "%s: label of %s", q.where, s.name)
					}
				}
			}
		}

		By("not growing with what strangers ask for")
		before := len(strings.Split(text, "\n"))
		for i := range 30 {
			h.get(ctx, fmt.Sprint("/nothing/", i), token)
			h.get(ctx, fmt.Sprintf("/meshes/nothing-%d/dataplanes/x", i), token)
		}
		_, text = h.scrape(ctx)
		// Two routes and their histograms.
		Expect(len(strings.Split(text, "\n"))).To(BeNumerically("<=", before+40))
		Expect(text).NotTo(ContainSubstring("nothing"))
	})
})

var _ = Describe("the dashboard", func() {
	It("has a data source to choose, and panels that stand side by side", func() {
		d := readDashboard(Default)
		Expect(d.SchemaVersion).To(BeNumerically(">=", 38), "Grafana 10")
		Expect(d.UID).To(Equal("kuma-mirror"))
		Expect(d.Templating.List[0].Name).To(Equal("datasource"))
		Expect(d.Templating.List[0].Type).To(Equal("datasource"))
		ids := map[int]bool{}
		taken := map[[2]int]string{}
		for _, p := range d.Panels {
			Expect(ids).NotTo(HaveKey(p.ID), p.Title)
			ids[p.ID] = true
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					place := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					Expect(taken).NotTo(HaveKey(place), "%s is over %s", p.Title, taken[place])
					Expect(place[0]).To(BeNumerically("<", 24), p.Title)
					taken[place] = p.Title
				}
			}
			if p.Type == "row" {
				continue
			}
			Expect(p.Targets).NotTo(BeEmpty(), p.Title)
			for _, t := range p.Targets {
				Expect(t.Datasource.UID).To(Equal("${datasource}"), p.Title)
			}
		}
	})
})

var _ = Describe("the alerts", func() {
	It("say how bad it is, for how long, and what to do", func() {
		manual, err := os.ReadFile(filepath.Join(root, "docs", "operate.md"))
		Expect(err).NotTo(HaveOccurred())
		anchors := map[string]bool{}
		for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(manual), -1) {
			anchor := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(heading[1]), "")
			anchors[strings.ReplaceAll(anchor, " ", "-")] = true
		}
		names := map[string]bool{}
		for _, r := range readAlerts(Default) {
			Expect(r.Alert).To(HavePrefix("KumaMirror"))
			Expect(names).NotTo(HaveKey(r.Alert))
			names[r.Alert] = true
			Expect(r.For).To(BeNumerically(">", 0), r.Alert)
			Expect(r.Labels["severity"]).To(BeElementOf("critical", "warning", "info"), r.Alert)
			Expect(r.Annotations).To(And(HaveKey("summary"), HaveKey("description")), r.Alert)
			page, anchor, _ := strings.Cut(r.Annotations["runbook_url"], "#")
			Expect(page).To(Equal("https://github.com/kuma-mirror/kuma-mirror/blob/main/docs/operate.md"), r.Alert)
			Expect(anchors).To(HaveKey(anchor), r.Alert)
		}
		Expect(len(names)).To(BeNumerically(">=", 8))
	})
})
