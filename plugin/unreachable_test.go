package plugin_test

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
)

var _ = Describe("The warnings about a TrafficRoute", func() {
	// entries takes what stands under `match` in each entry of conf.http.
	entries := func(matches ...string) *api.Resource {
		var b strings.Builder
		for _, m := range matches {
			fmt.Fprintf(&b, "  - match: %s\n    destination: {kuma.io/service: backend}\n", m)
		}
		r := trafficRoute("  http:\n" + b.String() + "  destination: {kuma.io/service: backend}")
		Expect(plugin.ValidateTrafficRoute(r)).To(BeEmpty())
		return r
	}

	DescribeTable("name an entry that an earlier one leaves nothing",
		func(earlier, later string) {
			Expect(plugin.Warnings(entries(earlier, `{path: {exact: /other}, method: {exact: TRACE}}`, later))).To(ConsistOf(And(
				HaveField("Path", "conf.http[2]"),
				HaveField("Object", `TrafficRoute "r" in mesh "default"`),
				HaveField("Message", "never matches: conf.http[0] comes first and takes all its requests"),
			)))
		},
		Entry("the same path", `{path: {exact: /a}}`, `{path: {exact: /a}}`),
		Entry("the same prefix", `{path: {prefix: /a}}`, `{path: {prefix: /a}}`),
		Entry("the same regular expression", `{path: {regex: "/a.*"}}`, `{path: {regex: "/a.*"}}`),
		Entry("a longer prefix", `{path: {prefix: /a}}`, `{path: {prefix: /a/b}}`),
		Entry("a path under the prefix", `{path: {prefix: /a}}`, `{path: {exact: /ab}}`),
		Entry("a regular expression under the prefix", `{path: {prefix: /a}}`, `{path: {regex: "/a/[0-9]+"}}`),
		Entry("a regular expression with an escape", `{path: {prefix: /a}}`, `{path: {regex: '/a\.json'}}`),
		Entry("a method more", `{path: {prefix: /a}}`, `{path: {prefix: /a}, method: {exact: GET}}`),
		Entry("a longer prefix of the method", `{path: {prefix: /}, method: {prefix: P}}`, `{path: {prefix: /a}, method: {exact: POST}}`),
		Entry("a header more", `{path: {prefix: /a}, headers: {x: {exact: "1"}}}`, `{path: {prefix: /a}, headers: {x: {exact: "1"}, y: {prefix: z}}}`),
		Entry("the header in other letters", `{headers: {X-A: {prefix: v}}}`, `{headers: {x-a: {exact: v2}}}`),
		Entry("no path, which is every path", `{method: {exact: GET}}`, `{path: {exact: /a}, method: {exact: GET}}`),
		Entry("the prefix /, which is every path", `{path: {prefix: /}, method: {exact: GET}}`, `{method: {exact: GET}}`),
	)

	DescribeTable("leave alone an entry that may still match",
		func(earlier, later string) {
			Expect(plugin.Warnings(entries(earlier, later))).To(BeEmpty())
		},
		Entry("another path", `{path: {exact: /a}}`, `{path: {exact: /b}}`),
		Entry("a shorter prefix", `{path: {prefix: /a/b}}`, `{path: {prefix: /a}}`),
		Entry("a path and a prefix of the same text", `{path: {exact: /a}}`, `{path: {prefix: /a}}`),
		Entry("a path whose letters differ in case", `{path: {prefix: /a}}`, `{path: {prefix: /A}}`),
		Entry("another regular expression", `{path: {regex: "/a.*"}}`, `{path: {regex: "/a.+"}}`),
		Entry("a regular expression that may leave the prefix", `{path: {prefix: /ab}}`, `{path: {regex: "/ab*"}}`),
		Entry("a regular expression that counts what may leave the prefix", `{path: {prefix: /ab}}`, `{path: {regex: "/ab{0,1}"}}`),
		Entry("a regular expression with another branch", `{path: {prefix: /a}}`, `{path: {regex: "/a|/b"}}`),
		Entry("a regular expression without case", `{path: {prefix: /a}}`, `{path: {regex: "(?i)/a"}}`),
		Entry("a regular expression that is the prefix's text", `{path: {regex: "/a"}}`, `{path: {prefix: "/a"}}`),
		Entry("a method less", `{path: {prefix: /a}, method: {exact: GET}}`, `{path: {prefix: /a}}`),
		Entry("a header less", `{path: {prefix: /a}, headers: {x: {exact: "1"}}}`, `{path: {prefix: /a}}`),
		Entry("another header", `{headers: {x: {exact: "1"}}}`, `{headers: {y: {exact: "1"}}}`),
		Entry("another value", `{headers: {x: {exact: "1"}}}`, `{headers: {x: {exact: "2"}}}`),
	)

	It("name an entry whose path has a query", func() {
		Expect(plugin.Warnings(entries(`{path: {prefix: "/a?b=1"}}`, `{path: {exact: "/a#b"}}`, `{path: {regex: "/a?"}}`))).To(HaveExactElements(
			And(HaveField("Path", "conf.http[0].match.path"), HaveField("Message", ContainSubstring("without its query"))),
			HaveField("Path", "conf.http[1].match.path"),
		))
	})

	DescribeTable("name what is odd about a mirror",
		func(conf string, paths ...string) {
			r := trafficRoute(conf)
			Expect(plugin.ValidateTrafficRoute(r)).To(BeEmpty())
			var got []string
			for _, w := range plugin.Warnings(r) {
				got = append(got, w.Path)
			}
			Expect(got).To(HaveExactElements(paths))
		},
		Entry("nothing", `
  destination: {kuma.io/service: backend}
  mirror: {destination: {kuma.io/service: shadow}}`),
		Entry("it is off", `
  destination: {kuma.io/service: backend}
  mirror: {destination: {kuma.io/service: shadow}, percentage: 0}`,
			"conf.mirror.percentage"),
		Entry("it goes to the primary", `
  destination: {kuma.io/service: backend, version: v1}
  mirror: {destination: {kuma.io/service: backend, version: v1}}`,
			"conf.mirror.destination"),
		Entry("it goes to the only primary that gets anything", `
  split:
  - {weight: 0, destination: {kuma.io/service: backend, version: v2}}
  - {weight: 1, destination: {kuma.io/service: backend, version: v1}}
  mirrors:
  - destination: {kuma.io/service: backend, version: v2}
  - destination: {kuma.io/service: backend, version: v1}`,
			"conf.mirrors[1].destination"),
		Entry("it goes to one primary of several: that may be meant", `
  split:
  - {weight: 1, destination: {kuma.io/service: backend, version: v2}}
  - {weight: 1, destination: {kuma.io/service: backend, version: v1}}
  mirror: {destination: {kuma.io/service: backend, version: v1}}`),
		Entry("no request is left for it", `
  http:
  - match: {path: {prefix: /}}
    destination: {kuma.io/service: backend}
  destination: {kuma.io/service: backend}
  mirror: {destination: {kuma.io/service: shadow}}`,
			"conf.mirror"),
	)

	It("name what an entry changes of how messages are framed", func() {
		r := trafficRoute(`
  http:
  - match: {path: {prefix: /}}
    modify:
      requestHeaders: {add: [{name: x, value: a}, {name: Content-Length, value: "0"}], remove: [{name: te}]}
      responseHeaders: {remove: [{name: transfer_encoding}, {name: server}]}
    destination: {kuma.io/service: backend}
  destination: {kuma.io/service: backend}`)
		Expect(plugin.ValidateTrafficRoute(r)).To(BeEmpty())
		Expect(plugin.Warnings(r)).To(HaveExactElements(
			And(HaveField("Path", "conf.http[0].modify.requestHeaders.add[1].name"), HaveField("Message", ContainSubstring("messages to the primary and its mirrors"))),
			HaveField("Path", "conf.http[0].modify.requestHeaders.remove[0].name"),
			And(HaveField("Path", "conf.http[0].modify.responseHeaders.remove[0].name"), HaveField("Message", ContainSubstring("messages to the client"))),
		))
	})

	It("have the paths of the Kubernetes form", func() {
		r := trafficRoute(`
  destination: {kuma.io/service: backend}
  mirror: {destination: {kuma.io/service: shadow}, percentage: 0}`)
		r.Form = api.Kubernetes
		Expect(plugin.Warnings(r)).To(ConsistOf(HaveField("Path", "spec.conf.mirror.percentage")))
	})

	It("come quickly for a document of very many entries", func() {
		conf := &api.TrafficRoute_Conf{}
		for i := range 30_000 {
			conf.Http = append(conf.Http, &api.TrafficRoute_Http{Match: &api.TrafficRoute_Http_Match{
				Path: &api.TrafficRoute_Http_Match_StringMatcher{
					MatcherType: &api.TrafficRoute_Http_Match_StringMatcher_Exact{Exact: fmt.Sprintf("/%01000d", i)},
				},
			}})
		}
		r := &api.Resource{Kind: api.KindTrafficRoute, Spec: &api.TrafficRoute{Conf: conf}}
		start := time.Now()
		Expect(plugin.Warnings(r)).To(BeEmpty())
		Expect(time.Since(start)).To(BeNumerically("<", 20*time.Second), "all pairs take minutes")
	})

	It("are none for what is not a TrafficRoute", func() {
		Expect(plugin.Warnings(&api.Resource{Kind: api.KindMesh, Spec: &api.Mesh{}})).To(BeEmpty())
	})
})
