package v1alpha1_test

import (
	"runtime"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

var _ = Describe("the memory that reading takes", Serial, func() {
	allocated := func(f func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}

	DescribeTable("is bounded where an input is nothing but structure", func(unit string) {
		data := []byte(strings.Repeat(unit, api.MaxInputBytes/len(unit)))
		var err error
		Expect(allocated(func() { _, err = api.Parse("input", data) })).To(BeNumerically("<", 8*len(data)))
		Expect(err).To(MatchError(ContainSubstring("at most 750000 are read: divide it")))
	},
		Entry("entries of a list", "-\n"),
		Entry("entries in brackets", "[],"),
		Entry("lists in lists", "- "),
		Entry("documents", "---\n"),
		Entry("keys", "a:\n"),
		Entry("JSON", `{"a":1}`+"\n"),
	)

	DescribeTable("is about what is said of it beforehand", func(unit string) {
		data := []byte(strings.Repeat(unit, 10_000))
		Expect(api.ParseCost(data)).To(BeNumerically(">", 10_000*200))
		Expect(allocated(func() { _, _ = api.Parse("input", data) })).To(BeNumerically("<", 10*api.ParseCost(data)))
	},
		Entry("entries of a list", "-\n"),
		Entry("entries in brackets", "[],"),
		Entry("documents", "--- a\n"),
		Entry("keys", "? a\n"),
	)

	It("is enough for 4 MiB of ordinary resources", func() {
		const dataplane = "---\ntype: Dataplane\nmesh: default\nname: web\nnetworking:\n  address: 127.0.0.1\n  inbound:\n" +
			"  - port: 8080\n    servicePort: 8081\n    tags:\n      kuma.io/service: web\n      kuma.io/protocol: http\n      version: v1\n"
		data := []byte(strings.Repeat(dataplane, api.MaxInputBytes/len(dataplane)))
		_, err := api.Parse("input", data)
		Expect(err).NotTo(HaveOccurred())
	})
})
