package main

import (
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
)

var _ = Describe("kuma-mirror render", func() {
	render := func(ctx SpecContext, stdin string, args ...string) ran {
		return runAlone(ctx, newRenderCommand(), stdin, args...)
	}
	parsed := func(asJSON []byte) *bootstrapv3.Bootstrap {
		GinkgoHelper()
		b := &bootstrapv3.Bootstrap{}
		Expect(protojson.Unmarshal(asJSON, b)).To(Succeed())
		return b
	}

	It("writes a complete configuration that a plain Envoy takes", func(ctx SpecContext) {
		r := render(ctx, warned, "-f", "-", "--dataplane", "web")
		Expect(r.code).To(Equal(exitOK))
		Expect(r.stderr).To(BeEmpty())
		Expect(envoytest.Validate(ctx, envoytest.Default(), []byte(r.stdout))).To(Succeed())

		asJSON, err := yaml.YAMLToJSON([]byte(r.stdout))
		Expect(err).NotTo(HaveOccurred())
		b := parsed(asJSON)
		Expect(b.GetNode().GetId()).To(Equal("default.web"))
		Expect(b.GetAdmin().GetAddress().GetSocketAddress().GetPortValue()).To(BeEquivalentTo(9901))
		Expect(b.GetStaticResources().GetListeners()).To(HaveLen(1))
		Expect(b.GetStaticResources().GetClusters()).To(HaveLen(2), "the primary's and the mirror's")
		Expect(r.stdout).To(ContainSubstring("requestMirrorPolicies:"))

		inJSON := render(ctx, warned, "-f", "-", "--dataplane", "web", "-o", "json")
		Expect(proto.Equal(parsed([]byte(inJSON.stdout)), b)).To(BeTrue())
	})

	It("tells of mirrors that are left out, beside the configuration", func(ctx SpecContext) {
		r := render(ctx, strings.ReplaceAll(warned, "kuma.io/protocol: http", "kuma.io/protocol: tcp"), "-f", "-", "--dataplane", "web")
		Expect(r.code).To(Equal(exitOK))
		Expect(r.stdout).To(ContainSubstring("staticResources:"))
		Expect(r.stderr).To(MatchRegexp(`^Warning: .*TrafficRoute "mirrored".*not http`))
	})

	It("gives every error of the resources and writes nothing", func(ctx SpecContext) {
		r := render(ctx, broken, "-f", "-", "--dataplane", "web")
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stdout).To(BeEmpty())
		Expect(r.stderr).To(MatchRegexp(`^-#3: TrafficRoute "broken" in mesh "default": conf\.mirror\.destination: .*
-#3: TrafficRoute "broken" in mesh "default": conf\.mirror\.percentage: .*
Error: nothing is rendered: 2 errors in the resources
$`))
	})

	DescribeTable("names the data planes there are where it does not know one",
		func(ctx SpecContext, stdin, want string, args ...string) {
			r := render(ctx, stdin, append(args, "-f", "-")...)
			Expect(r.code).To(Equal(exitFailed))
			Expect(r.stdout).To(BeEmpty())
			Expect(r.stderr).To(Equal("Error: " + want + "\n"))
		},
		Entry("by its name", webAndBackend, `there is no Dataplane "x" in mesh "default"; those there are: backend (mesh default), web (mesh default)`,
			"--dataplane", "x"),
		Entry("in that mesh", webAndBackend, `there is no Dataplane "web" in mesh "demo"; those there are: backend (mesh default), web (mesh default)`,
			"--dataplane", "web", "--mesh", "demo"),
		Entry("as there is none", "{type: Mesh, name: m}", `there is no Dataplane "web" in mesh "default": the resources hold no Dataplane at all`,
			"--dataplane", "web"),
	)

	DescribeTable("tells a wrong command line from wrong resources",
		func(ctx SpecContext, want string, args ...string) {
			r := render(ctx, "", args...)
			Expect(r.code).To(Equal(exitUsage))
			Expect(r.stderr).To(ContainSubstring(want))
			Expect(r.stdout).To(BeEmpty())
		},
		Entry("nothing given", `required flag(s) "dataplane", "file" not set`),
		Entry("an unknown format", `--output "table": must be one of [yaml json]`, "-f", "-", "--dataplane", "web", "-o", "table"),
	)
})
