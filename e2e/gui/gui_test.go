package gui_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
)

// checks are what is wrong with the page as it is shown: names that a screen
// reader lacks, contrast below 4.5:1 (WCAG AA), and more width than there is.
const checks = `(() => {
  const wrong = [];
  for (const e of document.querySelectorAll("a, button, input, [role=img], [role=region], summary")) {
    const name = e.getAttribute("aria-label") || e.textContent.trim() || (e.labels && e.labels.length && e.labels[0].textContent);
    if (!name) wrong.push("no name: " + e.outerHTML);
  }
  if (!document.documentElement.lang) wrong.push("no language");
  if (document.querySelectorAll("h1").length !== 1 || document.querySelectorAll("main").length !== 1) wrong.push("not one h1 and main");
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  if (new Set(ids).size !== ids.length) wrong.push("an id twice");
  const light = (color) => {
    const c = color.match(/[\d.]+/g).map(Number);
    if (c.length > 3 && c[3] === 0) return null;
    const l = c.slice(0, 3).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2];
  };
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || !e.getClientRects().length) continue;
    if (e.closest("title")) continue;
    let back = null;
    for (let at = e; at && back === null; at = at.parentElement) back = light(getComputedStyle(at).backgroundColor);
    const style = getComputedStyle(e);
    const text = light(e instanceof SVGElement ? style.fill : style.color);
    if (back === null || text === null) continue;
    const ratio = (Math.max(back, text) + 0.05) / (Math.min(back, text) + 0.05);
    if (ratio < 4.5) wrong.push("contrast " + ratio.toFixed(2) + ": " + e.outerHTML.slice(0, 120));
  }
  if (document.documentElement.scrollWidth > innerWidth) wrong.push("wider than the window: " + document.documentElement.scrollWidth);
  return wrong;
})()`

// accessible checks the page in both schemes and at both widths.
func accessible(ctx context.Context) {
	GinkgoHelper()
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{380, 1920} {
			look(ctx, scheme, width, 900)
			Expect(eval[[]string](ctx, checks)).To(BeEmpty(), "%s at %d px", scheme, width)
		}
	}
}

// look sets the colour scheme and the size of the window.
func look(ctx context.Context, scheme string, width, height int64) {
	GinkgoHelper()
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	Expect(err).NotTo(HaveOccurred())
	run(ctx, chromedp.EmulateViewport(width, height))
}

// picture writes one to the folder $SCREENSHOTS, if it is set.
func picture(ctx context.Context, name string) {
	GinkgoHelper()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		return
	}
	look(ctx, "light", 1200, 640)
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(filepath.Join(folder, name), png, 0o644)).To(Succeed())
}

var _ = Describe("The web page", func() {
	It("shows what mirrors do, live, and lets nobody in without a token", func(ctx SpecContext) {
		w, url := serve(ctx)
		page := browser()

		By("asking for a token")
		login(page, url, reader)
		Expect(eval[string](page, "document.cookie")).To(BeEmpty(), "no script sees the token")
		stored, err := chromedp.Call(page, network.GetCookies, network.GetCookiesParams{})
		Expect(err).NotTo(HaveOccurred())
		cookies := stored.Cookies
		Expect(cookies).To(HaveLen(1))
		Expect(cookies[0].HTTPOnly).To(BeTrue())
		Expect(cookies[0].SameSite).To(Equal(network.CookieSameSiteStrict))
		Expect(eval[string](page, "document.body.innerText")).To(ContainSubstring("bob"))

		By("showing both mirrors, and how they do, without a reload")
		Expect(eval[bool](page, "window.marked = true")).To(BeTrue())
		client := world.NewClient(GinkgoT(), w.URL, true)
		Eventually(ctx, func(g Gomega) {
			for _, path := range []string{"/", "/broken"} {
				_, err := client.Send(ctx, world.Request{Path: path})
				g.Expect(err).NotTo(HaveOccurred())
			}
			text := eval[string](page, "document.getElementById('mirrors').innerText")
			g.Expect(text).To(And(ContainSubstring("active"), ContainSubstring("unreachable"), MatchRegexp(`\d %\t`)))
		}).Should(Succeed())
		Expect(eval[bool](page, "window.marked")).To(BeTrue(), "it was loaded anew")
		accessible(page)
		picture(page, "gui-mirrors.png")

		By("drawing the graph, with the mirror that fails")
		run(page, chromedp.Navigate(url+"/graph"), chromedp.WaitVisible(chromedp.CSS("svg.graph")))
		Expect(eval[int](page, "document.querySelectorAll('path.copy').length")).To(Equal(2))
		Expect(eval[int](page, "document.querySelectorAll('path.copy.bad').length")).To(Equal(1))
		Expect(eval[int](page, "document.querySelectorAll('path.request').length")).To(Equal(1))
		Expect(eval[string](page, "getComputedStyle(document.querySelector('path.copy')).strokeDasharray")).NotTo(Equal("none"))
		accessible(page)
		picture(page, "gui-graph.png")

		By("opening a mirror by keyboard")
		run(page, chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("tbody a")), chromedp.Focus(chromedp.CSS("tbody a")), chromedp.KeyEvent("\r"),
			chromedp.WaitVisible(chromedp.CSS("#state")))
		Expect(eval[string](page, "document.body.innerText")).To(And(ContainSubstring("Connection failure"), ContainSubstring("What Envoy is given")))
		Expect(eval[int](page, "document.querySelectorAll('.charts svg').length")).To(Equal(4))
		run(page, chromedp.Focus(chromedp.CSS("summary")), chromedp.KeyEvent("\r"))
		Expect(eval[string](page, "document.querySelector('details[open] pre').innerText")).To(ContainSubstring("requestMirrorPolicies"))
		accessible(page)
		Expect(eval[bool](page, "document.querySelector('details').open = false; scrollTo(0, 0); true")).To(BeTrue())
		picture(page, "gui-mirror.png")

		By("logging out")
		run(page, chromedp.Click(chromedp.CSS("header button")), chromedp.WaitVisible(chromedp.CSS("#token")))
		accessible(page)
		run(page, chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("#token")))
	}, SpecTimeout(60e9))

	It("refuses bad tokens, other origins and scripts in names", func(ctx SpecContext) {
		w, url := serve(ctx)
		page := browser()
		run(page, chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("#token")), chromedp.SendKeys(chromedp.CSS("#token"), "no-such-token-here\r"),
			chromedp.WaitVisible(chromedp.CSS("[role=alert]")))
		Expect(eval[string](page, "document.querySelector('[role=alert]').innerText")).To(ContainSubstring("not known"))

		for _, path := range []string{"", "/graph", "/mirror", "/none"} {
			Expect(answer(ctx, "GET", url+path, nil).StatusCode).To(Equal(http.StatusSeeOther), path)
		}
		foreign := http.Header{"Sec-Fetch-Site": {"cross-site"}, "Content-Type": {"application/x-www-form-urlencoded"}}
		Expect(answer(ctx, "POST", url+"/login", foreign).StatusCode).To(Equal(http.StatusForbidden))
		Expect(answer(ctx, "POST", url+"/logout", foreign).StatusCode).To(Equal(http.StatusForbidden))
		// The cookie opens nothing but the page.
		cookie := http.Header{"Cookie": {"kuma-mirror-token=" + admin}}
		Expect(answer(ctx, "GET", strings.TrimSuffix(url, "/gui")+"/mirrors", cookie).StatusCode).To(Equal(http.StatusUnauthorized))
		Expect(answer(ctx, "GET", url, cookie).StatusCode).To(Equal(http.StatusOK))

		w.Route("http:\n- {match: {path: {prefix: '/<script>alert(1)</script>'}}, destination: {kuma.io/service: backend, version: v1}, " +
			"mirror: {destination: {kuma.io/service: backend, version: v2}}}\ndestination: {kuma.io/service: backend, version: v1}\n")
		login(page, url, admin)
		Eventually(ctx, func(g Gomega) {
			run(page, chromedp.Reload())
			g.Expect(eval[string](page, "document.body.innerText")).To(ContainSubstring("<script>alert(1)</script>"))
		}).Should(Succeed())
		Expect(eval[bool](page, `(() => { const s = document.createElement("script"); s.textContent = "window.hurt = 1"; document.body.append(s); return window.hurt === undefined })()`)).To(BeTrue(), "the policy lets an inline script run")
	}, SpecTimeout(60e9))
})

// answer is what a program gets, without following it elsewhere.
func answer(ctx context.Context, method, url string, header http.Header) *http.Response {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	Expect(err).NotTo(HaveOccurred())
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	Expect(err).NotTo(HaveOccurred(), fmt.Sprintf("%s %s", method, url))
	Expect(response.Body.Close()).To(Succeed())
	return response
}
