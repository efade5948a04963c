package envoy

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("the last lines of the output", func() {
	It("are the last complete ones and what has begun, and everything is passed on", func() {
		var all strings.Builder
		t := &tail{next: &all, keep: 2}
		for _, part := range []string{"one\ntw", "o\n", "three\n", "fo"} {
			n, err := t.Write([]byte(part))
			Expect(n, err).To(Equal(len(part)))
		}
		Expect(t.String()).To(Equal("  two\n  three\n  fo"))
		Expect(all.String()).To(Equal("one\ntwo\nthree\nfo"))
	})

	It("are cut where a line is very long", func() {
		t := &tail{next: &strings.Builder{}, keep: 2}
		for range 3 {
			_, err := t.Write([]byte(strings.Repeat("x", maxLine)))
			Expect(err).NotTo(HaveOccurred())
		}
		Expect(t.String()).To(HaveLen(maxLine + 2))
	})
})
