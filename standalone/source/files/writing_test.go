package files

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
)

var _ = Describe("a file that is being written", func() {
	// head is valid alone, as a policy is without its last lines.
	head, tail := service("a", "two"), "---\n"+service("b", "two")
	var path string

	BeforeEach(func() {
		path = filepath.Join(GinkgoT().TempDir(), "a.yaml")
		Expect(os.WriteFile(path, []byte(service("a", "one")), 0o644)).To(Succeed())
	})

	write := func(f *os.File, text string) {
		GinkgoHelper()
		_, err := f.WriteString(text)
		Expect(err).NotTo(HaveOccurred())
	}
	truncated := func() *os.File {
		GinkgoHelper()
		f, err := os.Create(path)
		Expect(err).NotTo(HaveOccurred())
		return f
	}
	replace := func(content string) {
		GinkgoHelper()
		next := filepath.Join(filepath.Dir(path), ".next")
		Expect(os.WriteFile(next, []byte(content), 0o644)).To(Succeed())
		Expect(os.Rename(next, path)).To(Succeed())
	}
	// halfNever is that what was there before, or the whole, was in use always.
	halfNever := func(f *follower) {
		GinkgoHelper()
		f.comesTo("a=two", "b=two")
		f.always(Or(Equal([]string{"a=one"}), Equal([]string{"a=two", "b=two"})))
	}

	It("is not used while its writer pauses with the file open, however long the quiet time is over", func() {
		f := follow(filepath.Dir(path))
		open := truncated()
		write(open, head)
		Consistently(f.latest, 2*settledLate).Should(Equal([]string{"a=one"}))
		write(open, tail)
		Expect(open.Close()).To(Succeed())
		halfNever(f)
	})

	It("is not used while its writer pauses between two parts, each with the file closed", func() {
		f := follow(filepath.Dir(path))
		Expect(os.WriteFile(path, []byte(head), 0o644)).To(Succeed())
		Consistently(f.latest, settled/2).Should(Equal([]string{"a=one"}))
		open, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		Expect(err).NotTo(HaveOccurred())
		write(open, tail)
		Expect(open.Close()).To(Succeed())
		halfNever(f)
	})

	It("is not used when it is a new file, either", func() {
		f := follow(filepath.Dir(path))
		Expect(os.Remove(path)).To(Succeed())
		open := truncated()
		write(open, head)
		Consistently(f.latest, settledLate).Should(Equal([]string{"a=one"}))
		write(open, tail)
		Expect(open.Close()).To(Succeed())
		halfNever(f)
	})

	It("is waited for at the start", func() {
		open := truncated()
		write(open, head)
		opened := make(chan []*api.Resource, 1)
		go func() {
			defer GinkgoRecover()
			source, err := Open(context.Background(), []string{path}, Options{Check: mesh.Validate, Log: slog.New(slog.DiscardHandler)})
			Expect(err).NotTo(HaveOccurred())
			opened <- source.Resources()
			Expect(source.Close()).To(Succeed())
		}()
		Consistently(opened, 2*settledLate).ShouldNot(Receive())
		write(open, tail)
		Expect(open.Close()).To(Succeed())
		Eventually(opened).Should(Receive(HaveLen(2)))
	})

	It("is not waited for when whoever waits gives up", func() {
		open := truncated()
		defer func() { _ = open.Close() }()
		write(open, head)
		ctx, cancel := context.WithTimeout(context.Background(), settled/5)
		defer cancel()
		_, err := Open(ctx, []string{path}, Options{Check: mesh.Validate})
		Expect(err).To(MatchError(context.DeadlineExceeded))
	})

	It("is used when its writer has left it alone for long and never closes it", func() {
		f := follow(filepath.Dir(path))
		open := truncated()
		defer func() { _ = open.Close() }()
		begun := time.Now()
		write(open, head)
		f.comesTo("a=two")
		Expect(time.Since(begun)).To(BeNumerically(">=", heldOpen))
	})

	It("is used at once when a whole one is renamed to its place meanwhile", func() {
		f := follow(filepath.Dir(path))
		open := truncated()
		defer func() { _ = open.Close() }()
		write(open, head)
		Consistently(f.latest, settled/5).Should(Equal([]string{"a=one"}))
		replace(head + tail)
		// Its writer still has the old file open, for longer than this.
		Eventually(f.latest, heldOpen/2).Should(Equal([]string{"a=two", "b=two"}))
		halfNever(f)
	})

	It("is reported when that never ends", func() {
		f := follow(filepath.Dir(path))
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for n := 0; ; n++ {
				_ = os.WriteFile(path, []byte(service("a", "two")+strings.Repeat("#\n", n%7)), 0o644)
				select {
				case <-stop:
					return
				case <-time.After(settled / 10):
				}
			}
		}()
		Eventually(f.problems, 2*tooLong).WithArguments(path).Should(ContainSubstring("has been written to for more than 10s"))
		Eventually(f.log).Should(gbytes.Say("what it held before stays in use.*a.yaml"))
		Expect(f.latest()).To(Equal([]string{"a=one"}))
		close(stop)
		Eventually(stopped).Should(BeClosed())
		f.comesTo("a=two")
		Expect(f.problems(path)).To(BeEmpty())
	})
})

var _ = Describe("a file with nothing in it", func() {
	DescribeTable("ends its resources", func(content string) {
		dir := GinkgoT().TempDir()
		path := filepath.Join(dir, "a.yaml")
		Expect(os.WriteFile(path, []byte(service("a", "one")), 0o644)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(dir, "b.yaml"), []byte(service("b", "one")), 0o644)).To(Succeed())
		f := follow(dir)
		Expect(os.WriteFile(path, []byte(content), 0o644)).To(Succeed())
		f.comesTo("b=one")
		Eventually(f.log).Should(gbytes.Say("nothing in it any more.*a.yaml"))
		Expect(f.source.Status()).To(ContainElement(Status{Path: path}))

		By("and is no obstacle to a start")
		aged(dir)
		source, err := Open(context.Background(), []string{dir}, Options{Check: mesh.Validate})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(source.Close)
		Expect(source.Resources()).To(HaveLen(1))
	},
		Entry("as it is empty", ""),
		Entry("as all of it is commented out", "# type: ExternalService\n# name: a\n"),
		Entry("as it has only separators", "---\n---\n"),
		Entry("as it has only blanks", " \n\n"),
	)
})
