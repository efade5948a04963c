package plugin_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/plugin"
)

var _ = Describe("The warnings about a match", func() {
	warnings := func(match string) []string {
		GinkgoHelper()
		r := trafficRoute("  http:\n  - match: " + match + "\n    destination: {kuma.io/service: backend}\n  destination: {kuma.io/service: backend}")
		Expect(plugin.ValidateTrafficRoute(r)).To(BeEmpty())
		var out []string
		for _, v := range plugin.Warnings(r) {
			out = append(out, v.Path+": "+v.Message)
		}
		return out
	}

	DescribeTable("name what no client sends",
		func(match, want string) {
			Expect(warnings(match)).To(ConsistOf(HavePrefix(want)))
		},
		Entry("a method in lower case", `{method: {exact: get}}`, `conf.http[0].match.method.exact: is "get": methods are compared letter by letter, and clients send GET`),
		Entry("a method in mixed case", `{method: {prefix: Po}}`, `conf.http[0].match.method.prefix: is "Po": methods`),
		Entry("a * at the end of a prefix", `{path: {prefix: "/api/*"}}`, `conf.http[0].match.path.prefix: has a *, which stands for itself here: for every path that begins with /api/ write prefix: /api/`),
		Entry("a * in an exact path", `{path: {exact: "/a/*/b"}}`, `conf.http[0].match.path.exact: has a *`),
		Entry("a space", `{path: {prefix: "/a b"}}`, `conf.http[0].match.path.prefix: is "/a b": clients send spaces`),
		Entry("an umlaut", `{path: {exact: "/für"}}`, `conf.http[0].match.path.exact: is "/für": clients send spaces`),
		Entry("a control character", `{path: {exact: "/a\tb"}}`, `conf.http[0].match.path.exact: is "/a\tb"`),
	)

	DescribeTable("leave alone what clients send",
		func(match string) {
			Expect(warnings(match)).To(BeEmpty())
		},
		Entry("a method in capitals", `{method: {exact: GET}}`),
		Entry("a regular expression of methods", `{method: {regex: "(?i)get"}}`),
		Entry("a regular expression with a *", `{path: {regex: "/api/.*"}}`),
		Entry("an encoded path", `{path: {exact: "/f%C3%BCr/a%20b"}}`),
		Entry("a header's value, which may be anything", `{headers: {x: {exact: "a b*"}}}`),
	)
})
