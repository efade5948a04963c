package envoytest_test

import (
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/internal/envoybin"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
)

var _ = Describe("the Envoys to test with", func() {
	It("are the pinned ones unless the environment names others", func() {
		GinkgoT().Setenv(envoytest.EnvoysVariable, "")
		Expect(envoytest.Versions()).To(Equal(envoybin.Versions()))
	})

	It("are those that the environment names, in its order", func() {
		program, err := os.Executable()
		Expect(err).NotTo(HaveOccurred())
		GinkgoT().Setenv(envoytest.EnvoysVariable, "2.0.0="+program+":1.9.9=/missing/envoy")

		Expect(envoytest.Versions()).To(Equal([]string{"2.0.0", "1.9.9"}))
		Expect(envoytest.Find("2.0.0")).To(Equal(program))
		_, err = envoytest.Find("1.9.9")
		Expect(err).To(MatchError(ContainSubstring("/missing/envoy")))
		_, err = envoytest.Find("3.0.0")
		Expect(err).To(MatchError(ContainSubstring("no Envoy 3.0.0")))
	})

	It("are named as VERSION=PATH", func() {
		GinkgoT().Setenv(envoytest.EnvoysVariable, "/some/envoy")
		_, err := envoytest.Find("1.38.2")
		Expect(err).To(MatchError(ContainSubstring("VERSION=PATH")))
	})

	It("are found in the repository around the working directory, or the error says how to get them", func() {
		GinkgoT().Setenv(envoytest.EnvoysVariable, "")
		root := GinkgoT().TempDir()
		inside := filepath.Join(root, "some", "package")
		Expect(os.MkdirAll(inside, 0o755)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(root, "go.mod"), nil, 0o644)).To(Succeed())
		GinkgoT().Chdir(inside)

		_, err := envoytest.Find(envoybin.Version)
		Expect(err).To(MatchError(ContainSubstring("run 'make envoys'")))

		binary := envoybin.Path(root, envoybin.Version)
		Expect(os.MkdirAll(filepath.Dir(binary), 0o755)).To(Succeed())
		Expect(os.WriteFile(binary, nil, 0o755)).To(Succeed())
		found, err := envoytest.Find(envoybin.Version)
		Expect(err).NotTo(HaveOccurred())
		Expect(os.SameFile(stat(found), stat(binary))).To(BeTrue())
	})
})

func stat(path string) os.FileInfo {
	GinkgoHelper()
	info, err := os.Stat(path)
	Expect(err).NotTo(HaveOccurred())
	return info
}

var _ = Describe("FreePorts", func() {
	It("gives every caller ports of its own", func() {
		seen := map[uint32]bool{}
		for range 20 {
			for _, port := range envoytest.FreePorts(5) {
				Expect(seen[port]).To(BeFalse(), "port %d was given twice", port)
				seen[port] = true
			}
		}
	})
})
