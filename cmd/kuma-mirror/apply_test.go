package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/kuma-mirror/kuma-mirror/standalone/build/plan"
)

// toV2 mirrors what web sends to backend.
const toV2 = `type: TrafficRoute
name: backend
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: backend}}]
conf:
  destination: {kuma.io/service: backend}
  mirror: {destination: {kuma.io/service: backend, version: v2}, percentage: 10}
`

var _ = Describe("kuma-mirror apply", func() {
	It("says of each resource what became of it", func(ctx SpecContext) {
		h := startAPI("")
		Expect(h.applied(ctx, webAndBackend+"---\n"+toV2)).To(Equal(`Dataplane "web" in mesh "default" created
Dataplane "backend" in mesh "default" created
TrafficRoute "backend" in mesh "default" created
`))
		Expect(h.applied(ctx, webAndBackend+"---\n"+strings.Replace(toV2, "10}", "20}", 1))).To(Equal(`Dataplane "web" in mesh "default" unchanged
Dataplane "backend" in mesh "default" unchanged
TrafficRoute "backend" in mesh "default" configured
`))
	})

	It("takes files and directories, both forms, and a mesh with what is in it", func(ctx SpecContext) {
		h := startAPI("")
		dir := GinkgoT().TempDir()
		Expect(os.WriteFile(filepath.Join(dir, "b.yaml"), []byte(`apiVersion: kuma.io/v1alpha1
kind: ExternalService
mesh: shop
metadata: {name: bank}
spec: {tags: {kuma.io/service: bank}, networking: {address: 'bank.example:80'}}
`), 0o600)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(dir, "a.json"), []byte(`{"type": "Mesh", "name": "shop"}`), 0o600)).To(Succeed())
		r := h.run(ctx, newApplyCommand(), "", "-f", dir, "-f", fileOf(toV2), "-o", "json")
		Expect(r.code).To(Equal(exitOK), r.stderr)
		Expect(r.stdout).To(MatchJSON(`[
			{"kind": "Mesh", "name": "shop", "result": "created"},
			{"kind": "ExternalService", "mesh": "shop", "name": "bank", "result": "created"},
			{"kind": "TrafficRoute", "mesh": "default", "name": "backend", "result": "created"}]`))
	})

	It("takes an encoded policy as it is", func(ctx SpecContext) {
		h := startAPI("")
		encoded := runAlone(ctx, newEncodeCommand(), toV2, "-f", "-")
		Expect(encoded.code).To(Equal(exitOK), encoded.stderr)
		Expect(encoded.stdout).NotTo(ContainSubstring("mirror:"))
		h.applied(ctx, encoded.stdout)
		r := h.run(ctx, newGetCommand(), "", "tr")
		Expect(r.stdout).To(ContainSubstring("10 % to backend (version=v2)"))
		Expect(h.exported(ctx)).To(ContainSubstring("mirror.kuma-mirror.io/"))
	})

	It("says all that is wrong at once, with files and fields, before anything is sent", func(ctx SpecContext) {
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { Fail("nothing is sent") }))
		DeferCleanup(server.Close)
		file := fileOf(broken + "---\ntype: Mesh\nname: Not A Name\n")
		r := runAlone(ctx, newApplyCommand(), "", "-f", file, "-f", "/does/not/exist", "--address", server.URL)
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stdout).To(BeEmpty())
		Expect(strings.Split(strings.TrimSpace(r.stderr), "\n")).To(ConsistOf(
			MatchRegexp("^/does/not/exist: .*no such file or directory$"),
			HavePrefix(file+`#3: TrafficRoute "broken" in mesh "default": conf.mirror.destination: `),
			HavePrefix(file+`#3: TrafficRoute "broken" in mesh "default": conf.mirror.percentage: `),
			HavePrefix(file+`#4: Mesh "Not A Name": name: `),
			Equal("Error: nothing is applied: 4 errors in the resources"),
		))
	})

	It("applies nothing where the host refuses one, and says where it is", func(ctx SpecContext) {
		h := startAPI("")
		before := h.exported(ctx)
		lost := fileOf("type: ExternalService\nmesh: nowhere\nname: bank\ntags: {kuma.io/service: bank}\nnetworking: {address: 'bank.example:80'}\n")
		r := h.run(ctx, newApplyCommand(), "", "-f", fileOf(toV2), "-f", lost)
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stdout).To(BeEmpty())
		Expect(r.stderr).To(ContainSubstring(lost + `: ExternalService "bank" in mesh "nowhere": mesh: there is no mesh "nowhere"`))
		Expect(h.exported(ctx)).To(Equal(before))
	})

	It("does not write over a file", func(ctx SpecContext) {
		h := startAPI(toV2)
		r := h.run(ctx, newApplyCommand(), strings.Replace(toV2, "10}", "20}", 1), "-f", "-")
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stderr).To(And(ContainSubstring("resources.yaml"), ContainSubstring(`TrafficRoute "backend" in mesh "default"`)))
	})

	Describe("--dry-run", func() {
		var h *apiHost
		const unmirrored = "type: TrafficRoute\nname: backend\nsources: [{match: {kuma.io/service: web}}]\ndestinations: [{match: {kuma.io/service: backend}}]\nconf: {destination: {kuma.io/service: backend}}\n"
		const second = `---
type: Dataplane
name: web-2
networking:
  address: 127.0.0.1
  gateway: {tags: {kuma.io/service: web}}
  outbound: [{port: 10001, tags: {kuma.io/service: backend}}]
`
		const late = "---\ntype: Dataplane\nname: late\nnetworking: {address: 127.0.0.1, gateway: {tags: {kuma.io/service: late}}, outbound: [{port: 10001, tags: {kuma.io/service: backend}}]}\n"

		BeforeEach(func(ctx SpecContext) {
			h = startAPI("")
			h.applied(ctx, webAndBackend+second+"---\n"+unmirrored)
		})

		It("shows what would change for whom, and changes nothing", func(ctx SpecContext) {
			h.applied(ctx, toV2)
			before := h.exported(ctx)
			r := h.run(ctx, newApplyCommand(), strings.Replace(toV2, "10}", "20}", 1)+late, "-f", "-", "--dry-run")
			Expect(r.code).To(Equal(exitOK), r.stderr)
			Expect(r.stderr).To(BeEmpty())
			golden("dry-run.txt", r.stdout)
			Expect(h.exported(ctx)).To(Equal(before))
		})

		It("shows what comes and goes as a whole", func(ctx SpecContext) {
			r := h.run(ctx, newApplyCommand(), toV2, "-f", "-", "--dry-run")
			Expect(r.stdout).To(ContainSubstring("\n--- /dev/null\n+++ cluster/backend-5b73b3f4adf20020_mirror\n@@ -0,0 +1,"))
			Expect(r.stdout).To(ContainSubstring("\n+          requestMirrorPolicies:\n+            - cluster: backend-5b73b3f4adf20020_mirror\n"))
		})

		It("does without the diff", func(ctx SpecContext) {
			r := h.run(ctx, newApplyCommand(), toV2, "-f", "-", "--dry-run", "--diff=false")
			Expect(r.stdout).To(Equal(`TrafficRoute "backend" in mesh "default" configured (dry run)

2 data planes alike: "web" in mesh "default", "web-2" in mesh "default"
  changed  route      outbound:backend
  added    cluster    backend-5b73b3f4adf20020_mirror
  added    endpoints  backend-5b73b3f4adf20020_mirror
  mirrors
    TrafficRoute "backend"  conf.mirror  outbound:127.0.0.1:10001  none -> 10 % to kuma.io/service=backend,version=v2

Warnings
  TrafficRoute "backend" in mesh "default"
    conf.mirror.destination: no ready instance has the tags kuma.io/service=backend,version=v2

2 data planes would get another configuration; nothing has been changed.
`))
		})

		It("says that nothing would change", func(ctx SpecContext) {
			r := h.run(ctx, newApplyCommand(), unmirrored, "-f", "-", "--dry-run")
			Expect(r.code).To(Equal(exitOK))
			Expect(r.stdout).To(Equal("TrafficRoute \"backend\" in mesh \"default\" unchanged (dry run)\n\n" +
				"No data plane's Envoy would get another configuration.\n"))
		})

		It("gives the plan as data", func(ctx SpecContext) {
			var fromJSON, fromYAML plan.Plan
			r := h.run(ctx, newApplyCommand(), toV2, "-f", "-", "--dry-run", "-o", "json")
			Expect(json.Unmarshal([]byte(r.stdout), &fromJSON)).To(Succeed())
			r = h.run(ctx, newApplyCommand(), toV2, "-f", "-", "--dry-run", "-o", "yaml")
			Expect(yaml.UnmarshalStrict([]byte(r.stdout), &fromYAML)).To(Succeed())
			Expect(fromYAML).To(Equal(fromJSON))
			Expect(fromJSON.Dataplanes).To(HaveLen(2))
			Expect(fromJSON.Diffs).To(HaveKeyWithValue(fromJSON.Dataplanes[1].Changes[0].Diff, ContainSubstring("+          requestMirrorPolicies:")))

			r = h.run(ctx, newApplyCommand(), toV2, "-f", "-", "--dry-run", "--diff=false", "-o", "json")
			Expect(r.stdout).To(And(ContainSubstring(`"diffs": {}`), Not(ContainSubstring(`"diff":`))))
		})

		It("refuses what apply refuses", func(ctx SpecContext) {
			r := h.run(ctx, newApplyCommand(), "type: ExternalService\nmesh: nowhere\nname: bank\ntags: {kuma.io/service: bank}\nnetworking: {address: 'bank.example:80'}\n", "-f", "-", "--dry-run")
			Expect(r.code).To(Equal(exitFailed))
			Expect(r.stderr).To(ContainSubstring(`there is no mesh "nowhere"`))
		})

		It("names a few of many data planes", func() {
			p := &plan.Plan{}
			for _, name := range strings.Split("abcdefgh", "") {
				p.Dataplanes = append(p.Dataplanes, plan.Dataplane{Mesh: "m", Name: name, Change: plan.Removed})
			}
			p.Dataplanes = append(p.Dataplanes, plan.Dataplane{Mesh: "m", Name: "z", Change: plan.Changed, Error: "too odd"})
			var out bytes.Buffer
			Expect((&dryRunFlags{}).write(&out, "table", p)).To(Succeed())
			Expect(out.String()).To(Equal(`
8 data planes alike: "a" in mesh "m", "b" in mesh "m", "c" in mesh "m", "d" in mesh "m", "e" in mesh "m" and 3 more, which go
  nothing

Data plane "z" in mesh "m"
  error its Envoy would keep what it has: too odd

9 data planes would get another configuration; nothing has been changed.
`))
		})

		It("has the colours that people know", func() {
			var out bytes.Buffer
			printDiff(&printer{w: &out}, func(colour, text string) string { return "<" + colour + ":" + text + ">" }, "--- a\n+++ b\n@@ -1 +1 @@\n same\n-old\n+new\n")
			Expect(out.String()).To(Equal("<31:--- a>\n<32:+++ b>\n<36:@@ -1 +1 @@>\n same\n<31:-old>\n<32:+new>\n\n"))
		})
	})
})

// golden compares with a file of testdata, or writes it.
func golden(name, got string) {
	GinkgoHelper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN_FILES") == "true" {
		Expect(os.WriteFile(path, []byte(got), 0o644)).To(Succeed())
	}
	want, err := os.ReadFile(path)
	Expect(err).NotTo(HaveOccurred(), "set UPDATE_GOLDEN_FILES=true, and read the diff")
	Expect(got).To(Equal(string(want)), "%s differs; if that is meant, set UPDATE_GOLDEN_FILES=true and read the diff", path)
}
