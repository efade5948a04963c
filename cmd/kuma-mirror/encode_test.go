package main

import (
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

const mirroredRoute = `type: TrafficRoute
mesh: default
name: mirrored
sources:
  - match:
      kuma.io/service: web
destinations:
  - match:
      kuma.io/service: backend
conf:
  destination:
    kuma.io/service: backend
  mirror:
    destination:
      kuma.io/service: shadow
    percentage: 90
`

const encodedRoute = `type: TrafficRoute
mesh: default
name: mirrored
sources:
  - match:
      kuma.io/service: web
destinations:
  - match:
      kuma.io/service: backend
conf:
  split:
    - weight: 100
      destination:
        kuma.io/service: backend
    - weight: 0
      destination:
        kuma.io/service: shadow
    - weight: 0
      destination:
        kuma.io/service: shadow
        mirror.kuma-mirror.io/carrier-fields: "1"
        mirror.kuma-mirror.io/carrier-primary: destination
        mirror.kuma-mirror.io/carrier-version: "1"
        mirror.kuma-mirror.io/percentage: "90"
`

// other is a resource of Kuma's that this program knows nothing of.
const other = `# the default
type: Mesh
name: default
mtls: {enabledBackend: ca-1, backends: [{name: ca-1, type: builtin}]}
`

var _ = Describe("kuma-mirror encode", func() {
	encode := func(ctx SpecContext, stdin string, args ...string) ran {
		return runAlone(ctx, newEncodeCommand(), stdin, args...)
	}

	It("writes the mirrors as split entries", func(ctx SpecContext) {
		Expect(encode(ctx, mirroredRoute, "-f", "-")).To(Equal(ran{stdout: encodedRoute}))
	})

	It("writes what it encoded as it is", func(ctx SpecContext) {
		Expect(encode(ctx, encodedRoute, "-f", "-")).To(Equal(ran{stdout: encodedRoute}))
	})

	It("writes documents without a mirror as they are, comments and all", func(ctx SpecContext) {
		plain := "type: TrafficRoute # not mirrored\nname: plain\nsources: [{match: {kuma.io/service: a}}]\n" +
			"destinations: [{match: {kuma.io/service: b}}]\nconf: {destination: {kuma.io/service: b}}\n"
		Expect(encode(ctx, "# only a comment\n---\n"+other+"---\n"+mirroredRoute+"--- # plain\n"+plain+"---\n", "-f", "-")).
			To(Equal(ran{stdout: "---\n" + other + "---\n" + encodedRoute + "--- # plain\n" + plain}))
	})

	It("keeps the Kubernetes form", func(ctx SpecContext) {
		out := encode(ctx, "", "-f", "../../examples/proposal-kubernetes.yaml")
		Expect(out.code).To(Equal(exitOK), out.stderr)
		resources, err := api.Parse("out", []byte(out.stdout))
		Expect(err).NotTo(HaveOccurred())
		Expect(resources[0].Form).To(Equal(api.Kubernetes))
		Expect(out.stdout).To(ContainSubstring(`mirror.kuma-mirror.io/percentage: "90"`))
		Expect(out.stdout).NotTo(ContainSubstring("mirror:"))
	})

	It("reads folders, and several paths", func(ctx SpecContext) {
		folder := GinkgoT().TempDir()
		Expect(os.WriteFile(filepath.Join(folder, "mesh.yaml"), []byte(other), 0o600)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(folder, "route.yaml"), []byte(mirroredRoute), 0o600)).To(Succeed())
		Expect(encode(ctx, "type: Mesh\nname: m", "-f", folder, "-f", "-")).
			To(Equal(ran{stdout: other + "---\n" + encodedRoute + "---\ntype: Mesh\nname: m\n"}))
	})

	It("writes JSON", func(ctx SpecContext) {
		out := encode(ctx, `{"type": "Mesh",	"name": "m"}`+"\n---\n"+mirroredRoute+"---\n"+other, "-f", "-", "-o", "json")
		Expect(out.code).To(Equal(exitOK), out.stderr)
		Expect(out.stdout).To(HavePrefix("{\n  \"type\": \"Mesh\",\n  \"name\": \"m\"\n}\n{\n  \"type\": \"TrafficRoute\","))
		Expect(out.stdout).To(ContainSubstring(`"mirror.kuma-mirror.io/percentage": "90"`))
		Expect(out.stdout).To(ContainSubstring(`"enabledBackend": "ca-1"`))
	})

	It("writes nothing where anything is wrong, and says all of it", func(ctx SpecContext) {
		folder := GinkgoT().TempDir()
		file := filepath.Join(folder, "a.yaml")
		Expect(os.WriteFile(file, []byte(other+"---\n"+strings.Replace(mirroredRoute, "90", "101", 1)+"---\n"+strings.Replace(mirroredRoute, "percentage", "percent", 1)), 0o600)).To(Succeed())
		reserved := strings.Replace(mirroredRoute, "kuma.io/service: shadow", "kuma.io/service: shadow\n      mirror.kuma-mirror.io/name: x", 1)

		out := encode(ctx, reserved, "-f", file, "-f", "-", "-f", filepath.Join(folder, "missing.yaml"))
		Expect(out.code).To(Equal(exitFailed))
		Expect(out.stdout).To(BeEmpty())
		Expect(strings.Split(strings.TrimSpace(out.stderr), "\n")).To(HaveExactElements(
			HavePrefix(`-: TrafficRoute "mirrored" in mesh "default": conf.mirror.destination["mirror.kuma-mirror.io/name"]: is reserved`),
			Equal(file+`#2: TrafficRoute "mirrored" in mesh "default": conf.mirror.percentage: is 101; must be 0 to 100`),
			HavePrefix(file+`#3: TrafficRoute "mirrored" in mesh "default": conf.mirror.percent: unknown field; allowed: `),
			Equal(filepath.Join(folder, "missing.yaml")+": no such file or directory"),
			Equal("Error: nothing is encoded: 4 errors in the resources"),
		))
		Expect(out.stderr).To(ContainSubstring("percentage, requestHeaders (line 38)"), "in the file, not in the document")
	})

	DescribeTable("does not take for something else",
		func(ctx SpecContext, input, message string) {
			out := encode(ctx, input, "-f", "-")
			Expect(out.code).To(Equal(exitFailed))
			Expect(out.stdout).To(BeEmpty())
			Expect(out.stderr).To(ContainSubstring(message))
		},
		Entry("nothing", "# nothing\n", "there is no resource in the input"),
		Entry("what has neither type nor kind", "name: a\n", "is no resource"),
		Entry("text", "hello\n", "must be a map"),
		Entry("broken YAML", "type: Mesh\n name: [\n", "not YAML"),
		Entry("a second document after dots", "type: Mesh\nname: m\n...\n"+mirroredRoute, "not YAML"),
		Entry("a stream of JSON", `{"type": "Mesh", "name": "m"}{"type": "TrafficRoute", "name": "r", "conf": {"miror": {}}}`, "conf.miror: unknown field"),
		Entry("a list", `{"total": 1, "items": [{"type": "TrafficRoute", "name": "r", "conf": {"miror": {}}}]}`, "conf.miror: unknown field"),
		Entry("a TrafficRoute with a key twice", "type: Mesh\ntype: TrafficRoute\n", "is given twice"),
	)

	It("has a wrong command line told", func(ctx SpecContext) {
		Expect(encode(ctx, "", "-f", "-", "-o", "table").code).To(Equal(exitUsage))
		Expect(encode(ctx, "", "-o", "yaml").stderr).To(ContainSubstring(`required flag(s) "file" not set`))
	})
})
