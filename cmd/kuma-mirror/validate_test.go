package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// ran is what a command left behind.
type ran struct {
	code           int
	stdout, stderr string
}

// runAlone runs one command as if it were the program, with stdin.
func runAlone(ctx context.Context, cmd *cobra.Command, stdin string, args ...string) ran {
	var stdout, stderr bytes.Buffer
	cmd.SilenceErrors, cmd.SilenceUsage = true, true // as the root does
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	cmd.SetArgs(args)
	code := run(ctx, cmd)
	return ran{code: code, stdout: stdout.String(), stderr: stderr.String()}
}

const webAndBackend = `
type: Dataplane
name: web
networking:
  address: 127.0.0.1
  gateway: {tags: {kuma.io/service: web}}
  outbound: [{port: 10001, tags: {kuma.io/service: backend}}]
  admin: {port: 9901}
---
type: Dataplane
name: backend
networking:
  address: 127.0.0.1
  inbound: [{port: 8080, tags: {kuma.io/service: backend, kuma.io/protocol: http}}]
`

// warned has a shadow that nobody serves.
const warned = webAndBackend + `---
type: TrafficRoute
name: mirrored
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: backend}}]
conf:
  destination: {kuma.io/service: backend}
  mirror: {destination: {kuma.io/service: nowhere}, percentage: 50}
`

const broken = webAndBackend + `---
type: TrafficRoute
name: broken
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: backend}}]
conf:
  destination: {kuma.io/service: backend}
  mirror: {destination: {version: v2}, percentage: 101}
`

var _ = Describe("kuma-mirror validate", func() {
	validate := func(ctx SpecContext, stdin string, args ...string) ran {
		return runAlone(ctx, newValidateCommand(), stdin, args...)
	}

	It("says that all is well, on stdout", func(ctx SpecContext) {
		Expect(validate(ctx, webAndBackend, "-f", "-")).To(Equal(ran{
			code:   exitOK,
			stdout: "Valid: 0 errors, 0 warnings in 2 resources\n",
		}))
	})

	It("gives every error at once, under its resource, and fails", func(ctx SpecContext) {
		r := validate(ctx, broken, "-f", "-")
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stderr).To(BeEmpty())
		Expect(r.stdout).To(MatchRegexp(`^Errors
  -#3: TrafficRoute "broken" in mesh "default"
    conf\.mirror\.destination: .*
    conf\.mirror\.percentage: .*

2 errors, 0 warnings in 3 resources
$`))
	})

	It("gives warnings, and does not fail for them unless it is strict", func(ctx SpecContext) {
		r := validate(ctx, warned, "-f", "-")
		Expect(r.code).To(Equal(exitOK))
		Expect(r.stdout).To(Equal(`Warnings
  -#3: TrafficRoute "mirrored" in mesh "default"
    conf.mirror.destination: no data plane and no ExternalService serves "nowhere"

Valid: 0 errors, 1 warning in 3 resources
`))
		strict := validate(ctx, warned, "-f", "-", "--strict")
		Expect(strict.code).To(Equal(exitFailed))
		Expect(strict.stdout).To(Equal(r.stdout))
	})

	DescribeTable("is read by programs, too",
		func(ctx SpecContext, format string, unmarshal func([]byte, any) error) {
			r := validate(ctx, broken, "-f", "-", "-o", format)
			Expect(r.code).To(Equal(exitFailed))
			var v struct {
				Resources        int
				Errors, Warnings []struct{ Source, Object, Path, Message string }
			}
			Expect(unmarshal([]byte(r.stdout), &v)).To(Succeed())
			Expect(v.Resources).To(Equal(3))
			Expect(v.Warnings).To(And(BeEmpty(), Not(BeNil())), "a list even where it is empty")
			Expect(v.Errors).To(HaveLen(2))
			Expect(v.Errors[1].Source).To(Equal("-#3"))
			Expect(v.Errors[1].Object).To(Equal(`TrafficRoute "broken" in mesh "default"`))
			Expect(v.Errors[1].Path).To(Equal("conf.mirror.percentage"))
			Expect(v.Errors[1].Message).NotTo(BeEmpty())
		},
		Entry("as JSON", "json", json.Unmarshal),
		Entry("as YAML", "yaml", func(data []byte, into any) error { return yaml.Unmarshal(data, into) }),
	)

	It("reads files and directories together, and tells what it cannot read with the rest", func(ctx SpecContext) {
		dir := GinkgoT().TempDir()
		Expect(os.WriteFile(filepath.Join(dir, "web.yaml"), []byte(webAndBackend), 0o600)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(dir, "bad.yaml"), []byte("type: Dataplane\nname: x\nnetwork: {}\n"), 0o600)).To(Succeed())
		missing := filepath.Join(dir, "missing.yaml")

		r := validate(ctx, "", "-f", dir, "-f", missing)
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stdout).To(ContainSubstring(filepath.Join(dir, "bad.yaml")))
		Expect(r.stdout).To(ContainSubstring("network"))
		Expect(r.stdout).To(ContainSubstring(missing + "\n    no such file or directory\n"))
		Expect(r.stdout).To(HaveSuffix("3 errors, 0 warnings in 3 resources\n"))
	})

	It("tells each error once, though reading and checking both find it", func(ctx SpecContext) {
		r := validate(ctx, webAndBackend+"---"+webAndBackend, "-f", "-")
		Expect(strings.Count(r.stdout, `"web" in mesh`)).To(Equal(1))
		Expect(r.stdout).To(HaveSuffix("2 errors, 0 warnings in 4 resources\n"))
	})

	DescribeTable("tells a wrong command line from wrong resources",
		func(ctx SpecContext, want string, args ...string) {
			r := validate(ctx, "", args...)
			Expect(r.code).To(Equal(exitUsage))
			Expect(r.stderr).To(ContainSubstring(want))
			Expect(r.stdout).To(BeEmpty())
		},
		Entry("no file", `required flag(s) "file" not set`),
		Entry("an unknown format", `--output "xml": must be one of [table json yaml]`, "-f", "-", "-o", "xml"),
		Entry("an argument", `unknown command "x"`, "x", "-f", "-"),
	)

	It("has no colours where there is no terminal", func() {
		file, err := os.CreateTemp(GinkgoT().TempDir(), "")
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(file.Close)
		Expect(painter(file)(red, "x")).To(Equal("x"))
		Expect(painter(&bytes.Buffer{})(red, "x")).To(Equal("x"))
	})

	It("asks for no data planes where it is given none", func(ctx SpecContext) {
		route := warned[strings.Index(warned, "type: TrafficRoute"):]
		Expect(validate(ctx, route, "-f", "-", "--strict")).To(Equal(ran{
			code:   exitOK,
			stdout: "Valid: 0 errors, 0 warnings in 1 resource\n",
		}))
	})

	DescribeTable("ends on a signal while it waits for its input",
		func(signal syscall.Signal, want string) {
			cmd := exec.Command(os.Args[0], "validate", "-f", "-")
			cmd.Env = append(os.Environ(), asProgram+"=1")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdin, err := cmd.StdinPipe()
			Expect(err).NotTo(HaveOccurred())
			Expect(cmd.Start()).To(Succeed())
			ended := make(chan error, 1)
			DeferCleanup(func() { _ = cmd.Process.Kill() })
			// More than a pipe holds: when it is written, validate is reading.
			_, err = stdin.Write(bytes.Repeat([]byte("# more to come\n"), 10_000))
			Expect(err).NotTo(HaveOccurred())

			Expect(cmd.Process.Signal(signal)).To(Succeed())
			go func() { ended <- cmd.Wait() }()
			Eventually(ended).WithTimeout(5 * time.Second).Should(Receive())
			Expect(cmd.ProcessState.ExitCode()).To(Equal(exitFailed))
			Expect(stderr.String()).To(Equal(want))
		},
		Entry("Ctrl-C", syscall.SIGINT, "Error: interrupt signal received\n"),
		Entry("SIGTERM", syscall.SIGTERM, "Error: terminated signal received\n"),
	)

	It("ends when it is told to", func(ctx SpecContext) {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		Expect(runAlone(ended, newValidateCommand(), webAndBackend, "-f", "-").code).To(Equal(exitFailed))
	})
})
