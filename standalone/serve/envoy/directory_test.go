package envoy

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// keep is a process with a directory and an Envoy, which waits to be killed.
func keep() int {
	d, err := newDirectory()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	envoy := exec.Command(os.Args[0])
	envoy.Env = append(os.Environ(), fake+"=run")
	envoy.ExtraFiles = []*os.File{d.lock}
	err = envoy.Start()
	fmt.Println(d.path, envoy.Process.Pid, err)
	select {}
}

var _ = Describe("the directory with what Envoy is started with", func() {
	var temp string
	BeforeEach(func() {
		temp = GinkgoT().TempDir()
		GinkgoT().Setenv("TMPDIR", temp)
	})
	next := func() {
		GinkgoHelper()
		d, err := newDirectory()
		Expect(err).NotTo(HaveOccurred())
		Expect(d.path).To(BeADirectory())
		d.remove()
		Expect(d.path).NotTo(BeADirectory())
	}

	It("is removed by the next start when its process and Envoy have been killed, and not before", func() {
		process := exec.Command(os.Args[0])
		process.Env = append(os.Environ(), fake+"=keeper")
		out, err := process.StdoutPipe()
		Expect(err).NotTo(HaveOccurred())
		Expect(process.Start()).To(Succeed())
		lines := bufio.NewReader(out)
		_, err = lines.ReadString('\n') // that it is up
		Expect(err).NotTo(HaveOccurred())
		line, err := lines.ReadString('\n')
		Expect(err).NotTo(HaveOccurred())
		var path, failed string
		var envoy int
		_, err = fmt.Sscan(line, &path, &envoy, &failed)
		Expect(err).NotTo(HaveOccurred(), line)
		Expect(filepath.Dir(path)).To(Equal(temp))
		DeferCleanup(func() { _ = syscall.Kill(envoy, syscall.SIGKILL) })
		key := filepath.Join(path, "key")
		Expect(os.WriteFile(key, []byte("secret"), 0o600)).To(Succeed())

		next()
		Expect(key).To(BeAnExistingFile(), "its process lives")
		Expect(process.Process.Kill()).To(Succeed())
		_, _ = process.Process.Wait()
		next()
		Expect(key).To(BeAnExistingFile(), "its Envoy lives")
		Expect(syscall.Kill(envoy, syscall.SIGKILL)).To(Succeed())
		Eventually(func() string { next(); return path }).ShouldNot(BeADirectory(), "nobody lives")
	})

	DescribeTable("is left alone where it may be somebody else's", func(mode os.FileMode, name string) {
		path := filepath.Join(temp, "kuma-mirror-1")
		Expect(os.Mkdir(path, mode)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(path, name), nil, 0o600)).To(Succeed())
		target := GinkgoT().TempDir()
		Expect(os.WriteFile(filepath.Join(target, lockName), nil, 0o600)).To(Succeed())
		Expect(os.Chmod(target, 0o700)).To(Succeed())
		Expect(os.Symlink(target, filepath.Join(temp, "kuma-mirror-2"))).To(Succeed())
		next()
		Expect(filepath.Join(path, name)).To(BeAnExistingFile())
		Expect(filepath.Join(target, lockName)).To(BeAnExistingFile(), "what a link names")
	},
		Entry("others may enter it", os.FileMode(0o755), lockName),
		Entry("it has no lock", os.FileMode(0o700), "other"),
	)
})
