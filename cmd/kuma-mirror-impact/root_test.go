package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/internal/impact"
)

type ran struct {
	code           int
	stdout, stderr string
}

// laboratory runs the program with these arguments.
func laboratory(ctx context.Context, args ...string) ran {
	var stdout, stderr bytes.Buffer
	root := newRootCommand()
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetArgs(args)
	code := run(ctx, root)
	return ran{code: code, stdout: stdout.String(), stderr: stderr.String()}
}

var _ = Describe("the laboratory", func() {
	DescribeTable("says what is wrong with the command line, and what there is",
		func(ctx SpecContext, message string, args ...string) {
			args = append(args, "--envoy", "true") // any program: it is not started
			got := laboratory(ctx, args...)
			Expect(got.code).To(Equal(exitUsage), got.stderr)
			Expect(got.stderr).To(ContainSubstring(message))
		},
		Entry("a shadow", `no shadow "nice"; there are healthy, refused`, "--shadow", "nice"),
		Entry("a load", `no load "put"; there are get, post-10k`, "--load", "put"),
		Entry("a protocol", `no protocol "http3"`, "--protocol", "http3"),
		Entry("protections", `--protections is "maybe"; it is on, off or both`, "--protections", "maybe"),
		Entry("an output", `--output is "xml"; it is table, json or yaml`, "-o", "xml"),
		Entry("a rate", "--per-second", "rate", "--per-second", "0"),
		Entry("a soak", "--duration", "soak", "--duration", "1s"),
	)

	It("fails without the Envoy it is told to run", func(ctx SpecContext) {
		got := laboratory(ctx, "--envoy", "/does/not/exist")
		Expect(got.code).To(Equal(exitFailed))
		Expect(got.stderr).To(ContainSubstring("--envoy"))
	})

	It("draws a results file and writes its tables, on standard output or into a document", func(ctx SpecContext) {
		dir := GinkgoT().TempDir()
		file := filepath.Join(dir, "results.json")
		r := &impact.Results{Cells: []impact.Cell{{
			Shadow: "never-reads", Load: "upload", Protocol: impact.HTTP1, Requests: 2, Failed: 1, Hung: true, Upload: &impact.Upload{},
		}}}
		Expect(r.Write(file)).To(Succeed())
		chart := laboratory(ctx, "chart", file)
		Expect(chart.code).To(Equal(exitOK))
		Expect(chart.stdout).To(And(HavePrefix("<svg "), ContainSubstring(">hangs<")))
		matrix := laboratory(ctx, "matrix", file)
		Expect(matrix.code).To(Equal(exitOK))
		const row = "| never-reads: accepts and never reads | 1, **–** | hangs | **–** |"
		Expect(matrix.stdout).To(ContainSubstring(row))

		document := filepath.Join(dir, "impact.md")
		text := "before\n"
		for _, section := range impact.Report(r) {
			text += "<!-- impact " + section.Name + " -->\nold\n<!-- end of impact " + section.Name + " -->\n"
		}
		Expect(os.WriteFile(document, []byte(text), 0o600)).To(Succeed())
		written := laboratory(ctx, "matrix", "--write", document, file, file)
		Expect(written.code).To(Equal(exitOK), written.stderr)
		Expect(written.stdout).To(BeEmpty())
		Expect(os.ReadFile(document)).To(And(HavePrefix("before\n"), ContainSubstring(row), Not(ContainSubstring("old"))))

		Expect(os.WriteFile(document, []byte("no marks\n"), 0o600)).To(Succeed())
		refused := laboratory(ctx, "matrix", "--write", document, file)
		Expect(refused.code).To(Equal(exitFailed))
		Expect(refused.stderr).To(ContainSubstring(`impact.md: the document has no "<!-- impact answer -->"`))
	})

	It("completes the names of shadows and loads", func(ctx SpecContext) {
		Expect(laboratory(ctx, "__complete", "--shadow", "").stdout).To(ContainSubstring("\nnever-reads\n"))
		Expect(laboratory(ctx, "__complete", "--load", "").stdout).To(HavePrefix("get\npost-10k\n"))
		Expect(laboratory(ctx, "__complete", "rate", "--protections", "").stdout).To(HavePrefix("on\noff\nboth\n"))
	})

	It("lists the shadows and the loads in its help", func(ctx SpecContext) {
		got := laboratory(ctx, "--help")
		Expect(got.code).To(Equal(exitOK))
		for _, s := range impact.Shadows() {
			Expect(got.stdout).To(ContainSubstring("  " + s.Name + " "))
		}
	})
})
