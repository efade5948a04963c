package main

import (
	"bytes"
	"errors"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("the log", func() {
	DescribeTable("holds no more of a text than it needs, wherever it comes from", func(format string) {
		var out bytes.Buffer
		log, _, err := (&logFlags{level: "info", format: format}).logger(&out)
		Expect(err).NotTo(HaveOccurred())
		long := strings.Repeat("x", 3<<20)
		log.With("proxy", long).Info(long, "path", long, "error", errors.New(long), "status", 200, "stack", "main.go:1")
		Expect(out.Len()).To(BeNumerically("<", 5*maxLogText))
		Expect(out.String()).To(And(ContainSubstring("x... (3145728 bytes)"), ContainSubstring("200"), ContainSubstring("main.go:1")))
		Expect(strings.Count(out.String(), "(3145728 bytes)")).To(Equal(4))
	},
		Entry(nil, "text"),
		Entry(nil, "json"),
	)
})
