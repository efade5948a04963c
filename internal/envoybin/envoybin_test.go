package envoybin

import (
	"os"
	"path/filepath"
	"regexp"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("Find", func() {
	var (
		root    string
		program string
	)

	executable := func(path string) string {
		GinkgoHelper()
		Expect(os.MkdirAll(filepath.Dir(path), 0o755)).To(Succeed())
		Expect(os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755)).To(Succeed())
		return path
	}

	BeforeEach(func() {
		root = GinkgoT().TempDir()
		program = filepath.Join(root, "bin", "kuma-mirror")
		GinkgoT().Setenv("ENVOY", "")
		GinkgoT().Setenv("PATH", filepath.Join(root, "on-path"))
	})

	It("prefers the flag, then $ENVOY, then the pinned Envoy, then PATH", func() {
		onPath := executable(filepath.Join(root, "on-path", "envoy"))
		Expect(find("", program)).To(Equal(onPath))

		pinned := executable(Path(root, Version))
		Expect(find("", program)).To(Equal(pinned))

		env := executable(filepath.Join(root, "from-env"))
		GinkgoT().Setenv("ENVOY", env)
		Expect(find("", program)).To(Equal(env))

		flag := executable(filepath.Join(root, "from-flag"))
		Expect(find(flag, program)).To(Equal(flag))
	})

	It("takes a name on PATH for the flag", func() {
		onPath := executable(filepath.Join(root, "on-path", "my-envoy"))
		Expect(find("my-envoy", program)).To(Equal(onPath))
	})

	It("answers with an absolute path", func() {
		executable(filepath.Join(root, "here", "envoy"))
		GinkgoT().Chdir(root)
		Expect(find("./here/envoy", program)).To(HaveSuffix(filepath.Join(root, "here", "envoy")))
	})

	It("uses nothing else when the flag or $ENVOY names no program", func() {
		executable(Path(root, Version))

		_, err := find(filepath.Join(root, "missing"), program)
		Expect(err).To(MatchError(And(ContainSubstring("--envoy names"), ContainSubstring("missing"), ContainSubstring("no such file"))))

		GinkgoT().Setenv("ENVOY", root)
		_, err = find("", program)
		Expect(err).To(MatchError(And(ContainSubstring("$ENVOY names"), ContainSubstring(root), ContainSubstring("is a directory"))))
	})

	It("passes over a pinned Envoy that cannot be executed", func() {
		Expect(os.Chmod(executable(Path(root, Version)), 0o644)).To(Succeed())
		onPath := executable(filepath.Join(root, "on-path", "envoy"))
		Expect(find("", program)).To(Equal(onPath))
	})

	It("says where it looked and how to get one", func() {
		_, err := find("", program)
		Expect(err).To(MatchError(And(
			ContainSubstring(Path(root, Version)),
			ContainSubstring("'make envoy'"),
			ContainSubstring("--envoy"),
			ContainSubstring("ENVOY=/path/to/envoy"),
		)))
	})
})

var _ = Describe("the pinned versions", func() {
	It("are those of the requirements files", func() {
		files, err := filepath.Glob("../../build/envoy/requirements-*.txt")
		Expect(err).NotTo(HaveOccurred())
		var names []string
		for _, version := range Versions() {
			names = append(names, "../../build/envoy/requirements-"+version+".txt")
		}
		Expect(files).To(ConsistOf(names))
	})

	It("are those of the Makefile, the commands' own first", func() {
		makefile, err := os.ReadFile("../../Makefile")
		Expect(err).NotTo(HaveOccurred())
		line := regexp.MustCompile(`(?m)^ENVOY_VERSION := (.*)$`).FindSubmatch(makefile)
		Expect(line).NotTo(BeNil())
		Expect(string(line[1])).To(Equal(Version))
		Expect(Versions()[0]).To(Equal(Version))
	})
})
