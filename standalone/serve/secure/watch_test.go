package secure

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
)

// joined is what files hold, unless that has the word "bad".
func joined(contents [][]byte) (string, error) {
	var all []string
	for _, c := range contents {
		all = append(all, string(c))
	}
	text := strings.Join(all, "|")
	if strings.Contains(text, "bad") {
		return "", errors.New("it is bad")
	}
	return text, nil
}

var _ = Describe("a watched value", func() {
	var dir, first, second string
	var buffer *gbytes.Buffer
	var log *slog.Logger

	BeforeEach(func() {
		dir = GinkgoT().TempDir()
		first, second = filepath.Join(dir, "first"), filepath.Join(dir, "second")
		buffer = gbytes.NewBuffer()
		log = slog.New(slog.NewTextHandler(buffer, nil))
		write(first, "a")
		write(second, "b")
	})

	watched := func() *Watched[string] {
		GinkgoHelper()
		w, err := Watch("the value", []string{first, second}, joined)
		Expect(err).NotTo(HaveOccurred())
		return w
	}

	It("is what the files hold, and what they come to hold", func() {
		w := watched()
		Expect(w.Value()).To(Equal("a|b"))
		Expect(w.refresh(log)).To(BeFalse())
		write(second, "c")
		Expect(w.refresh(log)).To(BeTrue())
		Expect(w.Value()).To(Equal("a|c"))
		Expect(buffer).To(gbytes.Say(`level=INFO msg="read again: the value" files="` + first + ", " + second))
	})

	It("sees a symbolic link that is swapped, as Kubernetes does", func() {
		Expect(os.Mkdir(filepath.Join(dir, "v1"), 0o700)).To(Succeed())
		Expect(os.Mkdir(filepath.Join(dir, "v2"), 0o700)).To(Succeed())
		write(filepath.Join(dir, "v1", "token"), "old")
		write(filepath.Join(dir, "v2", "token"), "new")
		Expect(os.Symlink("v1", filepath.Join(dir, "data"))).To(Succeed())
		w, err := Watch("the value", []string{filepath.Join(dir, "data", "token")}, joined)
		Expect(err).NotTo(HaveOccurred())
		Expect(os.Symlink("v2", filepath.Join(dir, "next"))).To(Succeed())
		Expect(os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "data"))).To(Succeed())
		Expect(w.refresh(log)).To(BeTrue())
		Expect(w.Value()).To(Equal("new"))
	})

	It("stays when the files turn bad, and says so once, when that has lasted", func() {
		w := watched()
		write(first, "bad")
		Expect(w.refresh(log)).To(BeFalse())
		Expect(buffer.Contents()).To(BeEmpty(), "it may be in the middle of a write")
		for range 3 {
			Expect(w.refresh(log)).To(BeFalse())
		}
		Expect(w.Value()).To(Equal("a|b"))
		Expect(buffer).To(gbytes.Say("level=ERROR .*what was read before stays in use: the value.*it is bad"))
		Expect(buffer).NotTo(gbytes.Say("ERROR"))

		Expect(os.Remove(first)).To(Succeed())
		w.refresh(log)
		w.refresh(log)
		Expect(buffer).To(gbytes.Say("no such file"))
		Expect(w.Value()).To(Equal("a|b"))

		write(first, "a")
		Expect(w.refresh(log)).To(BeFalse())
		Expect(buffer).To(gbytes.Say("as it was before, and good: the value"))
		write(first, "bad")
		w.refresh(log)
		w.refresh(log)
		Expect(buffer).To(gbytes.Say("ERROR"))
		write(first, "z")
		Expect(w.refresh(log)).To(BeTrue())
		Expect(w.Value()).To(Equal("z|b"))
	})

	It("needs files to begin with", func() {
		_, err := Watch("the value", []string{first, filepath.Join(dir, "none")}, joined)
		Expect(err).To(MatchError(os.ErrNotExist))
		write(first, "bad")
		_, err = Watch("the value", []string{first, second}, joined)
		Expect(err).To(MatchError(first + " and " + second + ": it is bad"))
		write(first, strings.Repeat("x", maxFile+1))
		_, err = Watch("the value", []string{first}, joined)
		Expect(err).To(MatchError(ContainSubstring("has more than 1048576 bytes")))
	})

	It("follows the files by itself, and tells", func() {
		w := watched()
		ctx, cancel := context.WithCancel(context.Background())
		changed, done := make(chan string, 1), make(chan struct{})
		go func() {
			defer close(done)
			w.Run(ctx, log, func() error { changed <- w.Value(); return nil })
		}()
		write(first, "new")
		Eventually(changed).WithTimeout(5 * time.Second).Should(Receive(Equal("new|b")))
		Consistently(changed).WithTimeout(2*interval).ShouldNot(Receive(), "it is told once")
		cancel()
		Eventually(done).Should(BeClosed())
	})

	It("tells again, while what is told fails, and logs that once", func() {
		w := watched()
		ctx, cancel := context.WithCancel(context.Background())
		calls, done := make(chan string, 10), make(chan struct{})
		go func() {
			defer close(done)
			failures := 2
			w.Run(ctx, log, func() error {
				calls <- w.Value()
				if failures--; failures >= 0 {
					return errors.New("no space left")
				}
				return nil
			})
		}()
		write(first, "new")
		for range 3 {
			Eventually(calls).WithTimeout(5 * time.Second).Should(Receive(Equal("new|b")))
		}
		Eventually(buffer).Should(gbytes.Say("in use now: the value"))
		Expect(strings.Count(string(buffer.Contents()), "is not in use yet")).To(Equal(1))
		Expect(buffer.Contents()).To(ContainSubstring(`problem="no space left"`))
		cancel()
		Eventually(done).Should(BeClosed())
	})
})

func write(file, content string) {
	GinkgoHelper()
	Expect(os.WriteFile(file, []byte(content), 0o600)).To(Succeed())
}
