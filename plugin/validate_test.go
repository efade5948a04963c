package plugin_test

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"

	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
)

// parse reads a document of one resource.
func parse(document string) *api.Resource {
	GinkgoHelper()
	resources, err := api.Parse("test.yaml", []byte(document))
	Expect(err).NotTo(HaveOccurred(), document)
	Expect(resources).To(HaveLen(1))
	return resources[0]
}

// trafficRoute is one from everything to everything, with what stands under
// `conf`.
func trafficRoute(conf string) *api.Resource {
	GinkgoHelper()
	return parse(`
type: TrafficRoute
mesh: default
name: r
sources: [{match: {kuma.io/service: '*'}}]
destinations: [{match: {kuma.io/service: '*'}}]
conf:
` + conf)
}

// withEntry is a TrafficRoute with one entry in conf.http, whose match and
// destination are there already unless it brings its own.
func withEntry(fields string) *api.Resource {
	GinkgoHelper()
	entry := "{" + fields
	if !strings.Contains(fields, "match:") {
		entry += ", match: {path: {prefix: /}}"
	}
	return trafficRoute("  http: [" + entry + ", destination: {kuma.io/service: a}}]\n  destination: {kuma.io/service: a}")
}

// withMirror is a TrafficRoute with one entry in conf.http, which has one
// mirror with these fields beside its destination.
func withMirror(fields string) *api.Resource {
	GinkgoHelper()
	return withEntry("mirror: {destination: {kuma.io/service: shadow}, " + fields + "}")
}

func violation(path, message string) types.GomegaMatcher {
	return And(
		HaveField("Source", "test.yaml"),
		HaveField("Object", `TrafficRoute "r" in mesh "default"`),
		HaveField("Path", path),
		HaveField("Message", ContainSubstring(message)),
	)
}

var _ = Describe("A TrafficRoute", func() {
	DescribeTable("is valid with",
		func(conf string) {
			Expect(plugin.ValidateTrafficRoute(trafficRoute(conf))).To(BeEmpty())
		},
		Entry("a destination", `  destination: {kuma.io/service: a, version: v1}`),
		Entry("a destination that takes the outbound's tags", `  destination: {kuma.io/service: '*', version: '*'}`),
		Entry("a split with an entry of weight 0", `
  split:
  - {weight: 0, destination: {kuma.io/service: a}}
  - {weight: 1, destination: {kuma.io/service: b}}`),
		Entry("the largest weights", `
  split:
  - {weight: 4294967294, destination: {kuma.io/service: a}}
  - {weight: 1, destination: {kuma.io/service: b}}`),
		Entry("every character a tag may have", `  destination: {kuma.io/service: a_b.c-d:1/x, "x/Y.z-0_:": "*"}`),
		Entry("an empty load balancer", "  loadBalancer: {}\n  destination: {kuma.io/service: a}"),
		Entry("round robin", "  loadBalancer: {roundRobin: {}}\n  destination: {kuma.io/service: a}"),
		Entry("least request", "  loadBalancer: {leastRequest: {}}\n  destination: {kuma.io/service: a}"),
		Entry("least request of 2", "  loadBalancer: {leastRequest: {choiceCount: 2}}\n  destination: {kuma.io/service: a}"),
		Entry("a ring hash", "  loadBalancer: {ringHash: {hashFunction: XX_HASH}}\n  destination: {kuma.io/service: a}"),
		Entry("a ring hash's largest ring", "  loadBalancer: {ringHash: {hashFunction: MURMUR_HASH_2, minRingSize: 8388608, maxRingSize: 8388608}}\n  destination: {kuma.io/service: a}"),
		Entry("a ring hash's least size alone", "  loadBalancer: {ringHash: {hashFunction: XX_HASH, minRingSize: 4096}}\n  destination: {kuma.io/service: a}"),
		Entry("a ring hash's small ring", "  loadBalancer: {ringHash: {hashFunction: XX_HASH, minRingSize: 1, maxRingSize: 2}}\n  destination: {kuma.io/service: a}"),
	)

	DescribeTable("is refused for",
		func(conf, path, message string) {
			Expect(plugin.ValidateTrafficRoute(trafficRoute(conf))).To(ConsistOf(violation(path, message)))
		},
		Entry("neither destination nor split", `  http: []`, "conf", `either "destination" or "split"`),
		Entry("destination and split", `
  split: [{weight: 1, destination: {kuma.io/service: a}}]
  destination: {kuma.io/service: a}`, "conf", "exclude each other"),
		Entry("a destination without service", `  destination: {version: v1}`, "conf.destination", `"kuma.io/service" is required`),
		Entry("a tag name with a space", `  destination: {kuma.io/service: a, "b c": d}`, `conf.destination["b c"]`, "name of a tag consists of"),
		Entry("an empty tag name", `  destination: {kuma.io/service: a, "": d}`, `conf.destination[""]`, "name of a tag consists of"),
		Entry("an empty tag value", `  destination: {kuma.io/service: ""}`, `conf.destination["kuma.io/service"]`, "value of a tag consists of"),
		Entry("a tag value with a comma", `  destination: {kuma.io/service: "a,b"}`, `conf.destination["kuma.io/service"]`, `is "a,b"`),
		Entry("a wildcard in the middle", `  destination: {kuma.io/service: "a*"}`, `conf.destination["kuma.io/service"]`, "or '*' alone"),
		Entry("a line break after a tag value", `  destination: {kuma.io/service: "a\n"}`, `conf.destination["kuma.io/service"]`, "value of a tag"),
		Entry("a split without a weight", `
  split: [{weight: 1, destination: {kuma.io/service: a}}, {destination: {kuma.io/service: b}}]`,
			"conf.split[1].weight", "is required, 0 to 4294967295"),
		Entry("a split of nothing but weight 0", `
  split: [{weight: 0, destination: {kuma.io/service: a}}]`, "conf.split", "at least one weight must be above 0"),
		Entry("weights that overflow", `
  split:
  - {weight: 4294967295, destination: {kuma.io/service: a}}
  - {weight: 1, destination: {kuma.io/service: b}}`, "conf.split", "add up to 4294967296; Envoy allows 4294967295"),
		Entry("a split to no service", `
  split: [{weight: 1, destination: {version: v1}}]`, "conf.split[0].destination", `"kuma.io/service" is required`),
		Entry("a choice of one", "  loadBalancer: {leastRequest: {choiceCount: 1}}\n  destination: {kuma.io/service: a}",
			"conf.loadBalancer.leastRequest.choiceCount", "at least 2"),
		Entry("no hash function", "  loadBalancer: {ringHash: {}}\n  destination: {kuma.io/service: a}",
			"conf.loadBalancer.ringHash.hashFunction", "XX_HASH or MURMUR_HASH_2"),
		Entry("a ring too large", "  loadBalancer: {ringHash: {hashFunction: XX_HASH, maxRingSize: 8388609}}\n  destination: {kuma.io/service: a}",
			"conf.loadBalancer.ringHash.maxRingSize", "0 to 8388608"),
		Entry("a least ring too large", "  loadBalancer: {ringHash: {hashFunction: XX_HASH, minRingSize: 8388609}}\n  destination: {kuma.io/service: a}",
			"conf.loadBalancer.ringHash.minRingSize", "0 to 8388608"),
		Entry("ring sizes the wrong way round", "  loadBalancer: {ringHash: {hashFunction: XX_HASH, minRingSize: 3, maxRingSize: 2}}\n  destination: {kuma.io/service: a}",
			"conf.loadBalancer.ringHash.maxRingSize", "is 2, below minRingSize 3"),
		Entry("a largest ring below the default of the least", "  loadBalancer: {ringHash: {hashFunction: XX_HASH, maxRingSize: 1023}}\n  destination: {kuma.io/service: a}",
			"conf.loadBalancer.ringHash.maxRingSize", "default of 1024 for minRingSize"),
	)

	DescribeTable("has selectors",
		func(selectors string, expected ...types.GomegaMatcher) {
			r := parse("type: TrafficRoute\nmesh: default\nname: r\n" + selectors + "\nconf: {destination: {kuma.io/service: a}}")
			Expect(plugin.ValidateTrafficRoute(r)).To(HaveExactElements(toAny(expected)...))
		},
		Entry("of several tags in sources", `
sources: [{match: {kuma.io/service: web, version: '*'}}, {match: {kuma.io/service: '*'}}]
destinations: [{match: {kuma.io/service: backend}}, {match: {kuma.io/service: '*'}}]`),
		Entry("at least one in each", `{}`[:0],
			violation("sources", "at least one selector is required"),
			violation("destinations", "at least one selector is required")),
		Entry("with a service each", `
sources: [{}, {match: {version: v1}}]
destinations: [{match: {}}]`,
			violation("sources[0].match", `"kuma.io/service" is required`),
			violation("sources[1].match", `"kuma.io/service" is required`),
			violation("destinations[0].match", `"kuma.io/service" is required`)),
		Entry("of the service alone in destinations", `
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: backend, version: v1}}]`,
			violation(`destinations[0].match["version"]`, "by \"kuma.io/service\" alone")),
	)

	It("is told of all at once, in the document's order and words", func() {
		r := parse(`
apiVersion: kuma.io/v1alpha1
kind: TrafficRoute
mesh: default
metadata: {name: r}
spec:
  destinations: [{match: {kuma.io/service: a}}]
  conf:
    http:
    - match: {}
      mirror: {}
    - match: {headers: {"x y": {exact: a}, "a": {}}}
      split: [{weight: 0}]
    destination: {kuma.io/service: "a b"}
    mirror: {destination: {kuma.io/service: a}, percentage: 101}`)
		Expect(plugin.ValidateTrafficRoute(r)).To(HaveExactElements(
			violation("spec.sources", "required"),
			violation("spec.conf.http[0].match", "at least one of"),
			violation("spec.conf.http[0]", "either"),
			violation("spec.conf.http[0].mirror.destination", "required"),
			violation(`spec.conf.http[1].match.headers["a"]`, "one of"),
			violation(`spec.conf.http[1].match.headers["x y"]`, "not the name of a header"),
			violation("spec.conf.http[1].split[0].destination", "required"),
			violation("spec.conf.http[1].split", "above 0"),
			violation(`spec.conf.destination["kuma.io/service"]`, `is "a b"`),
			violation("spec.conf.mirror.percentage", "is 101; must be 0 to 100"),
		))
	})

	It("is refused without conf", func() {
		r := trafficRoute("  destination: {kuma.io/service: a}")
		r.Spec.(*api.TrafficRoute).Conf = nil
		Expect(plugin.ValidateTrafficRoute(r)).To(ConsistOf(violation("conf", "is required")))
	})

	It("is refused as another resource", func() {
		r := &api.Resource{Kind: api.KindMesh, Meta: api.Meta{Name: "default"}, Spec: &api.Mesh{}}
		Expect(plugin.ValidateTrafficRoute(r)).To(ConsistOf(HaveField("Message", "is not a TrafficRoute")))
	})

	It("may have holes where the API does not make any", func() {
		r := &api.Resource{Kind: api.KindTrafficRoute, Spec: &api.TrafficRoute{
			Sources:      []*api.Selector{nil},
			Destinations: []*api.Selector{nil},
			Conf: &api.TrafficRoute_Conf{
				Split: []*api.TrafficRoute_Split{nil},
				Http: []*api.TrafficRoute_Http{nil, {
					Match:   &api.TrafficRoute_Http_Match{Headers: map[string]*api.TrafficRoute_Http_Match_StringMatcher{"x": nil}},
					Modify:  &api.TrafficRoute_Http_Modify{RequestHeaders: &api.TrafficRoute_Http_Modify_Headers{Add: []*api.TrafficRoute_Http_Modify_Headers_Add{nil}, Remove: []*api.TrafficRoute_Http_Modify_Headers_Remove{nil}}, Path: &api.TrafficRoute_Http_Modify_Path{Type: &api.TrafficRoute_Http_Modify_Path_Regex{}}},
					Mirrors: []*api.TrafficRoute_Mirror{nil, nil},
				}},
				LoadBalancer: &api.TrafficRoute_LoadBalancer{LbType: &api.TrafficRoute_LoadBalancer_RingHash_{}},
			},
		}}
		Expect(plugin.ValidateTrafficRoute(r)).NotTo(BeEmpty())
		Expect(plugin.Warnings(r)).To(ConsistOf(HaveField("Path", "conf.http[1]")))
		Expect(plugin.ValidateTrafficRoute(&api.Resource{Spec: (*api.TrafficRoute)(nil)})).NotTo(BeEmpty())
	})
})

func toAny(ms []types.GomegaMatcher) []any {
	var out []any
	for _, m := range ms {
		out = append(out, m)
	}
	return out
}

var _ = Describe("The tags of a data plane", func() {
	mesh := &api.Resource{Kind: api.KindDataplane, Meta: api.Meta{Mesh: "default", Name: "web"}, Source: "web.yaml"}
	DescribeTable("consist of Kuma's characters and name a service",
		func(tags api.Tags, paths ...string) {
			var got []string
			for _, v := range plugin.ValidateTags(mesh, "networking.inbound[0].tags", tags) {
				Expect(v.Source).To(Equal("web.yaml"))
				Expect(v.Object).To(Equal(`Dataplane "web" in mesh "default"`))
				got = append(got, strings.TrimPrefix(v.Path, "networking.inbound[0].tags"))
			}
			Expect(got).To(HaveExactElements(paths))
		},
		Entry("a service", api.Tags{api.ServiceTag: "web_default_svc_80", "team.io/x-Y_0:": "A.b-c_0:1"}),
		Entry("none", api.Tags(nil), ""),
		Entry("no service", api.Tags{"version": "v1"}, ""),
		Entry("no wildcard", api.Tags{api.ServiceTag: "web", "version": "*"}, `["version"]`),
		Entry("no slash in a value", api.Tags{api.ServiceTag: "web", "version": "a/b"}, `["version"]`),
		Entry("no empty value", api.Tags{api.ServiceTag: ""}, `["kuma.io/service"]`),
		Entry("no odd name", api.Tags{api.ServiceTag: "web", "a=b": "c", "": "d"}, `[""]`, `["a=b"]`),
	)
})

var _ = Describe("An entry of conf.http", func() {
	DescribeTable("is valid with",
		func(fields string) {
			Expect(plugin.ValidateTrafficRoute(withEntry(fields))).To(BeEmpty())
		},
		Entry("a method", `match: {method: {exact: GET}}`),
		Entry("an exact path", `match: {path: {exact: /}}`),
		Entry("every kind of header match", `match: {headers: {X-a: {exact: ""}, x_b: {prefix: b}, ":authority": {regex: ".+"}}}`),
		Entry("regular expressions of RE2", `match: {path: {regex: '(?i)/\p{Greek}+/\pL/\p{^Lu}[[:word:]]\Q\p{Letter}\E\\p{Letter}\x{0ff}\z'}}`),
		Entry("a regular expression of some size", `match: {path: {regex: "/.{1000}[a-z0-9]{1000}"}}`),
		Entry("the largest regular expression", `match: {path: {regex: '`+strings.Repeat("a{1000}", 33)+strings.Repeat("b", 831)+`'}}`),
		Entry("a prefix rewrite", `match: {path: {prefix: /a}}, modify: {path: {rewritePrefix: /b}}`),
		Entry("a regex rewrite", `modify: {path: {regex: {pattern: "/(a)(b)", substitution: '/\2\1\0\\'}}}`),
		Entry("a host from the path", `modify: {host: {fromPath: {pattern: "/(.*)", substitution: '\1.example'}}}`),
		Entry("a host", `modify: {host: {value: "backend_default_svc_80.mesh:80"}}`),
		Entry("headers", `modify: {requestHeaders: {add: [{name: X-A, value: "a b", append: true}], remove: [{name: x-b}]}, responseHeaders: {add: [{name: x, value: ä}]}}`),
		Entry("copies without their mark", `mirror: {destination: {kuma.io/service: s}, requestHeaders: {remove: [{name: X-Kuma-Mirror-Copy}]}}`),
		Entry("percent signs and commands in headers", `modify: {requestHeaders: {add: [
			{name: x, value: "50%%"}, {name: x, value: "%REQ(x-user?:path):10% of %PROTOCOL%%%"}, {name: x, value: "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%"},
			{name: x, value: "%DYNAMIC_METADATA(a:b)%"}, {name: x, value: "%%PROTOCOL%%"}, {name: x, value: "%DOWNSTREAM_REMOTE_ADDRESS%"}]}}`),
	)

	DescribeTable("is refused for",
		func(fields, path, message string) {
			Expect(plugin.ValidateTrafficRoute(withEntry(fields))).To(ConsistOf(violation("conf.http[0]."+path, message)))
		},
		Entry("an empty match", `match: {}`, "match", "at least one of"),
		Entry("a match of no headers", `match: {headers: {}}`, "match", "at least one of"),
		Entry("an empty matcher", `match: {method: {}}`, "match.method", `one of "exact", "prefix" and "regex"`),
		Entry("an empty path matcher", `match: {path: {}}`, "match.path", `one of "exact", "prefix" and "regex"`),
		Entry("an empty prefix", `match: {method: {prefix: ""}}`, "match.method.prefix", "must not be empty"),
		Entry("an empty path prefix", `match: {path: {prefix: ""}}`, "match.path.prefix", "must start with /"),
		Entry("a path without a slash", `match: {path: {exact: api}}`, "match.path.exact", `is "api"; must start with /`),
		Entry("an empty regular expression", `match: {path: {regex: ""}}`, "match.path.regex", "must not be empty"),
		Entry("an open parenthesis", `match: {path: {regex: "/("}}`, "match.path.regex", "RE2"),
		Entry("a lookahead", `match: {path: {regex: "/(?!a)"}}`, "match.path.regex", "RE2"),
		Entry("a back reference", `match: {path: {regex: '/(a)\1'}}`, "match.path.regex", "RE2"),
		Entry("repeats beyond RE2's", `match: {path: {regex: "a{1001}"}}`, "match.path.regex", "RE2"),
		Entry("a class that only Go knows", `match: {path: {regex: '/\P{^Letter}'}}`, "match.path.regex", `unknown class \p{Letter}`),
		Entry("a class that only Go has", `match: {headers: {x: {regex: '[\p{LC}]'}}}`, `match.headers["x"].regex`, `unknown class \p{LC}`),
		Entry("a character by a number that Envoy 1.40 does not take", `match: {path: {regex: '/[\x{41}-\x{100}]'}}`, "match.path.regex", `\x{100} is above \x{ff}`),
		Entry("a program too large for RE2", `match: {path: {regex: '\pL{1000}'}}`, "match.path.regex", "at most 100000 are allowed"),
		Entry("a program one instruction too large", `match: {path: {regex: '`+strings.Repeat("a{1000}", 33)+strings.Repeat("b", 832)+`'}}`,
			"match.path.regex", "its program takes about 100001 instructions, at most 100000 are allowed"),
		Entry("a program too large for its optional parts", `match: {path: {regex: '([^a]{0,20}){0,50}[^a]{1,1000}[^a]{900,}[^a]{1000}(?i:k{1000})([^a]{50}){20}([^a]{50}){20}([^a]{50}){20}([^a]{50}){20}'}}`, "match.path.regex", "at most 100000 are allowed"),
		Entry("a header name with a space", `match: {headers: {"a b": {exact: a}}}`, `match.headers["a b"]`, "not the name of a header"),
		Entry("an empty header name", `match: {headers: {"": {exact: a}}}`, `match.headers[""]`, "not the name of a header"),
		Entry("a header without a matcher", `match: {headers: {a: {}}}`, `match.headers["a"]`, "one of"),
		Entry("an empty change of the path", `modify: {path: {}}`, "modify.path", `either "rewritePrefix" or "regex"`),
		Entry("a prefix rewrite without a prefix", `match: {path: {exact: /a}}, modify: {path: {rewritePrefix: /b}}`, "modify.path.rewritePrefix", "needs match.path.prefix"),
		Entry("an empty prefix rewrite", `modify: {path: {rewritePrefix: ""}}`, "modify.path.rewritePrefix", "must start with /"),
		Entry("a line break in a prefix rewrite", `modify: {path: {rewritePrefix: "/a\n"}}`, "modify.path.rewritePrefix", "control characters"),
		Entry("no pattern", `modify: {path: {regex: {substitution: a}}}`, "modify.path.regex.pattern", "must not be empty"),
		Entry("no substitution", `modify: {path: {regex: {pattern: a}}}`, "modify.path.regex.substitution", "must not be empty"),
		Entry("a group that is not there", `modify: {path: {regex: {pattern: "(a)", substitution: '\\\2'}}}`, "modify.path.regex.substitution", `refers to group \2; the pattern has 1`),
		Entry("a backslash at the end", `modify: {host: {fromPath: {pattern: "(a)", substitution: 'a\'}}}`, "modify.host.fromPath.substitution", "backslash"),
		Entry("a backslash before a letter", `modify: {host: {fromPath: {pattern: "(a)", substitution: 'a\n'}}}`, "modify.host.fromPath.substitution", "backslash"),
		Entry("a line break in a substitution", `modify: {host: {fromPath: {pattern: "(a)", substitution: "a\n"}}}`, "modify.host.fromPath.substitution", "control characters"),
		Entry("an empty change of the host", `modify: {host: {}}`, "modify.host", `either "value" or "fromPath"`),
		Entry("an empty host", `modify: {host: {value: ""}}`, "modify.host.value", "must be a host name"),
		Entry("the host as a header", `modify: {requestHeaders: {add: [{name: Host, value: a}]}}`, "modify.requestHeaders.add[0].name", "use conf.http[0].modify.host"),
		Entry("a pseudo-header", `modify: {responseHeaders: {remove: [{name: ":status"}]}}`, "modify.responseHeaders.remove[0].name", "pseudo-headers"),
		Entry("the mark of copies, added to requests", `modify: {requestHeaders: {add: [{name: X-Kuma-Mirror-Copy, value: a}]}}`, "modify.requestHeaders.add[0].name", "only requestHeaders.remove of a mirror may name it"),
		Entry("the mark of copies, taken off requests", `modify: {requestHeaders: {remove: [{name: x-kuma-mirror-copy}]}}`, "modify.requestHeaders.remove[0].name", "only requestHeaders.remove of a mirror may name it"),
		Entry("the mark of copies, added to a copy", `mirror: {destination: {kuma.io/service: s}, requestHeaders: {add: [{name: x-kuma-mirror-copy, value: a}]}}`, "mirror.requestHeaders.add[0].name", "only requestHeaders.remove of a mirror may name it"),
		Entry("a header without a name", `modify: {requestHeaders: {remove: [{}]}}`, "modify.requestHeaders.remove[0].name", "not the name of a header"),
		Entry("a name that is no HTTP", `modify: {requestHeaders: {add: [{name: "x:", value: a}]}}`, "modify.requestHeaders.add[0].name", "not the name of a header"),
		Entry("a line break in a name", `modify: {requestHeaders: {add: [{name: "x\n", value: a}]}}`, "modify.requestHeaders.add[0].name", "not the name of a header"),
		Entry("an empty value", `modify: {requestHeaders: {add: [{name: x}]}}`, "modify.requestHeaders.add[0].value", "must not be empty"),
		Entry("a line break in a value", `modify: {requestHeaders: {add: [{name: x, value: "a\r\nb: c"}]}}`, "modify.requestHeaders.add[0].value", "control characters"),
		Entry("a space around a value", `modify: {requestHeaders: {add: [{name: x, value: " a"}]}}`, "modify.requestHeaders.add[0].value", "start or end with a space"),
		Entry("a long value", `modify: {requestHeaders: {add: [{name: x, value: "`+strings.Repeat("a", 16385)+`"}]}}`, "modify.requestHeaders.add[0].value", "has 16385 bytes"),
		Entry("very many headers", `modify: {requestHeaders: {remove: [`+strings.Repeat("{name: x},", 1001)+`]}}`, "modify.requestHeaders", "has 1001 changes; at most 1000"),
	)

	DescribeTable("has no percent sign in a header that Envoy would trip over",
		func(value, shown string) {
			Expect(plugin.ValidateTrafficRoute(withMirror(`requestHeaders: {add: [{name: x, value: '` + value + `'}]}`))).To(ConsistOf(
				violation("conf.http[0].mirror.requestHeaders.add[0].value", `has "`+shown+`", which`)))
		},
		Entry("one alone", "50% off", "% off"),
		Entry("one at the end", "50%", "%"),
		Entry("three", "%%%", "%"),
		Entry("an encoded path", "a%20b%20c", "%20b%"),
		Entry("an unknown command", "%FOO%", "%FOO%"),
		Entry("a command in small letters", "%protocol%", "%protocol%"),
		Entry("a missing argument", "%REQ%", "%REQ%"),
		Entry("an empty argument", "%REQ()%", "%REQ()%"),
		Entry("two alternatives", "%REQ(a?b?c)%", "%REQ(a?b?c)%"),
		Entry("an argument too many", "%PROTOCOL(x)%", "%PROTOCOL(x)%"),
		Entry("a length where none can be", "%START_TIME:3%", "%START_TIME:3%"),
		Entry("a length after an argument where none can be", "%START_TIME(%s):3%", "%START_TIME(%"),
		Entry("no end", "%REQ(x)", "%REQ(x)"),
		Entry("a language of its own", "%CEL(request.path)%", "%CEL(request.path)%"),
		Entry("after a good one", "%PROTOCOL%%", "%"),
	)
})

var _ = Describe("A mirror", func() {
	DescribeTable("is valid with",
		func(fields string) {
			Expect(plugin.ValidateTrafficRoute(withMirror(fields))).To(BeEmpty())
		},
		Entry("a destination alone", ``),
		Entry("0 %", `percentage: 0`),
		Entry("100 %", `percentage: 100`),
		Entry("four decimals", `percentage: 12.3456`),
		Entry("the least above 0", `percentage: 0.0001`),
		Entry("the most below 100", `percentage: 99.9999`),
		Entry("what is not exact in binary", `percentage: 0.0003`),
		Entry("a negative zero, which is 0", `percentage: -0.0`),
		Entry("a name of one character", `name: a`),
		Entry("a name of 63", `name: `+strings.Repeat("aZ9-_", 12)+`abc`),
		Entry("the least limits", `limits: {maxConcurrentRequests: 1, maxRequestBodyBytes: 0, maxDuration: 0.001s}`),
		Entry("the greatest limits", `limits: {maxConcurrentRequests: 1000000, maxRequestBodyBytes: 67108864, maxDuration: 3600s}`),
		Entry("no limits in the section", `limits: {}`),
		Entry("headers", `requestHeaders: {add: [{name: x-mirrored, value: "true"}], remove: [{name: authorization}]}`),
		Entry("copies without a body", `body: omit, limits: {maxConcurrentRequests: 8}`),
		Entry("the suffix", `host: {suffix: true}`),
		Entry("a host", `host: {value: shadow.example.com}`),
	)

	DescribeTable("is refused for",
		func(fields, path, message string) {
			Expect(plugin.ValidateTrafficRoute(withMirror(fields))).To(ConsistOf(violation("conf.http[0].mirror."+path, message)))
		},
		Entry("more than 100 %", `percentage: 100.0001`, "percentage", "is 100.0001; must be 0 to 100"),
		Entry("less than 0 %", `percentage: -1`, "percentage", "is -1; must be 0 to 100"),
		Entry("five decimals", `percentage: 12.34567`, "percentage", "at most four decimals"),
		Entry("a little", `percentage: 0.00001`, "percentage", "at most four decimals"),
		Entry("next to nothing", `percentage: 1e-300`, "percentage", "at most four decimals"),
		Entry("a dot in the name", `name: a.b`, "name", `is "a.b"; must be 1 to 63 letters`),
		Entry("a long name", `name: `+strings.Repeat("a", 64), "name", "1 to 63"),
		Entry("a line break in the name", `name: "a\n"`, "name", "1 to 63"),
		Entry("no concurrent requests", `limits: {maxConcurrentRequests: 0}`, "limits.maxConcurrentRequests", "is 0; must be 1 to 1000000"),
		Entry("too many concurrent requests", `limits: {maxConcurrentRequests: 1000001}`, "limits.maxConcurrentRequests", "1 to 1000000"),
		Entry("too long bodies", `limits: {maxRequestBodyBytes: 67108865}`, "limits.maxRequestBodyBytes", "0 to 67108864"),
		Entry("no time", `limits: {maxDuration: 0s}`, "limits.maxDuration", "1ms to 1h"),
		Entry("a negative time", `limits: {maxDuration: -1s}`, "limits.maxDuration", "1ms to 1h"),
		Entry("too short a time", `limits: {maxDuration: 0.000999s}`, "limits.maxDuration", "1ms to 1h"),
		Entry("too long a time", `limits: {maxDuration: 3600.000001s}`, "limits.maxDuration", "1ms to 1h"),
		Entry("the host as a header", `requestHeaders: {remove: [{name: host}]}`, "requestHeaders.remove[0].name", "use conf.http[0].mirror.host"),
		Entry("a pseudo-header", `requestHeaders: {add: [{name: ":authority", value: a}]}`, "requestHeaders.add[0].name", "use conf.http[0].mirror.host"),
		Entry("the value of an environment variable", `requestHeaders: {add: [{name: x, value: "100%% of %REQ(x)% and %ENVIRONMENT(HOME)%"}]}`, "requestHeaders.add[0].value", `has "%ENVIRONMENT(HOME)%", which reads the machine of the proxy`),
		Entry("the content of a file", `requestHeaders: {add: [{name: x, value: "%FILE_CONTENT(/etc/passwd)%"}]}`, "requestHeaders.add[0].value", "which Envoy takes for a command that it does not know"),
		Entry("an unknown word for the body", `body: Omit`, "body", `is "Omit"; must be "omit", or leave it out to copy the body`),
		Entry("a limit for bodies that are left out", `body: omit, limits: {maxRequestBodyBytes: 0}`, "limits.maxRequestBodyBytes", `excludes "body: omit"`),
		Entry("an empty host section", `host: {}`, "host", `either "suffix: true" or "value"`),
		Entry("no suffix", `host: {suffix: false}`, "host.suffix", "must be true"),
		Entry("an empty host", `host: {value: ""}`, "host.value", "must be a host name"),
	)

	DescribeTable("can change no header that frames its copy or directs Envoy",
		func(name, message string) {
			Expect(plugin.ValidateTrafficRoute(withMirror(`requestHeaders: {add: [{name: "` + name + `", value: a}], remove: [{name: x}, {name: "` + name + `"}]}`))).To(HaveExactElements(
				violation("conf.http[0].mirror.requestHeaders.add[0].name", message),
				violation("conf.http[0].mirror.requestHeaders.remove[1].name", message),
			))
		},
		Entry(nil, "content-length", `is "content-length", which says where a message ends or what a connection does; a mirror cannot change it: a copy without a body is "body: omit"`),
		Entry(nil, "Transfer-Encoding", `"body: omit"`),
		Entry(nil, "CONTENT_LENGTH", `"body: omit"`),
		Entry(nil, "expect", "Envoy sets it for each connection"),
		Entry(nil, "Connection", "Envoy sets it"),
		Entry(nil, "keep-alive", "Envoy sets it"),
		Entry(nil, "Proxy_Connection", "Envoy sets it"),
		Entry(nil, "TE", "Envoy sets it"),
		Entry(nil, "trailer", "Envoy sets it"),
		Entry(nil, "upgrade", "Envoy sets it"),
		Entry(nil, "HTTP2-Settings", "Envoy sets it"),
		Entry(nil, "x-envoy-upstream-stream-duration-ms", "by which Envoy decides how it sends the copy"),
		Entry(nil, "X-Envoy-Upstream-Rq-Timeout-Ms", "use limits"),
		Entry(nil, "x-envoy-retry-on", "use limits"),
		Entry(nil, "x-envoy-max-retries", "use limits"),
		Entry(nil, "x-envoy-upstream-alt-stat-name", "use limits"),
	)

	It("can change headers whose names only look like those", func() {
		Expect(plugin.ValidateTrafficRoute(withMirror(`requestHeaders: {remove: [
			{name: x-content-length}, {name: content-type}, {name: x-envoy-internal}, {name: proxy-authorization}, {name: trailers}]}`))).To(BeEmpty())
	})

	DescribeTable("may have its copies go to the host",
		func(value string, valid bool) {
			violations := plugin.ValidateTrafficRoute(withMirror(`host: {value: '` + value + `'}`))
			if valid {
				Expect(violations).To(BeEmpty())
			} else {
				Expect(violations).To(ConsistOf(violation("conf.http[0].mirror.host.value", "must be a host name")))
			}
		},
		Entry(nil, "shadow", true),
		Entry(nil, "Shadow.Example.COM", true),
		Entry(nil, "shadow.example.com.", true),
		Entry(nil, "shadow:8080", true),
		Entry(nil, "xn--bcher-kva.example:65535", true),
		Entry(nil, "backend_default_svc_80.mesh:1", true),
		Entry(nil, "3com.example", true),
		Entry(nil, "127.0.0.1", true),
		Entry(nil, "127.0.0.1:80", true),
		Entry(nil, "[::1]", true),
		Entry(nil, "[2001:db8::1]:443", true),
		Entry(nil, strings.Repeat("a", 63)+".example", true),
		Entry(nil, strings.Repeat("a", 64)+".example", false),
		Entry(nil, strings.Repeat("abcd.", 51)+"e", false),
		Entry(nil, "-shadow", false),
		Entry(nil, "shadow-", false),
		Entry(nil, "a..b", false),
		Entry(nil, ".a", false),
		Entry(nil, ".", false),
		Entry(nil, "shadow:", false),
		Entry(nil, "shadow:0", false),
		Entry(nil, "shadow:65536", false),
		Entry(nil, "shadow:+80", false),
		Entry(nil, "shadow:http", false),
		Entry(nil, ":80", false),
		Entry(nil, "http://shadow", false),
		Entry(nil, "shadow/path", false),
		Entry(nil, "user@shadow", false),
		Entry(nil, "a b", false),
		Entry(nil, "bücher.example", false),
		Entry(nil, "*.example.com", false),
		Entry(nil, "127.0.0.256", false),
		Entry(nil, "127.1", false),
		Entry(nil, "::1", false),
		Entry(nil, "[::1", false),
		Entry(nil, "[::1]80", false),
		Entry(nil, "[::1]:", false),
		Entry(nil, "[127.0.0.1]", false),
		Entry(nil, "[fe80::1%eth0]", false),
	)

	DescribeTable("stands with others only if",
		func(fields string, expected ...types.GomegaMatcher) {
			Expect(plugin.ValidateTrafficRoute(withEntry(fields))).To(HaveExactElements(toAny(expected)...))
		},
		Entry("their destinations differ", `mirrors: [{destination: {kuma.io/service: a}}, {destination: {kuma.io/service: a, version: v1}}]`),
		Entry("their names differ", `mirrors: [{destination: {kuma.io/service: a}}, {destination: {kuma.io/service: a}, name: x}]`),
		Entry("destination or name differs", `mirrors: [{destination: {kuma.io/service: a}}, {destination: {kuma.io/service: b}}, {destination: {kuma.io/service: a}, percentage: 50}]`,
			violation("conf.http[0].mirrors[2]", "same destination and name as conf.http[0].mirrors[0]")),
		Entry("destination or name differs, of those with a name", `mirrors: [{destination: {kuma.io/service: a}, name: x}, {destination: {kuma.io/service: a}, name: x}]`,
			violation("conf.http[0].mirrors[1]", "same destination and name as conf.http[0].mirrors[0]")),
		Entry("mirror and mirrors are not both there", `mirror: {destination: {kuma.io/service: a}}, mirrors: [{destination: {kuma.io/service: b}}]`,
			violation("conf.http[0].mirrors", `excludes "mirror"`)),
		Entry("each has a destination, which is said once", `mirrors: [{}, {}]`,
			violation("conf.http[0].mirrors[0].destination", "required"),
			violation("conf.http[0].mirrors[1].destination", "required")),
	)

	It("is one of 16 at most", func() {
		var sixteen strings.Builder
		for i := range 16 {
			sixteen.WriteString("{destination: {kuma.io/service: a}, name: " + strings.Repeat("x", i+1) + "},")
		}
		Expect(plugin.ValidateTrafficRoute(withEntry("mirrors: [" + sixteen.String() + "]"))).To(BeEmpty())
		Expect(plugin.ValidateTrafficRoute(withEntry("mirrors: [" + sixteen.String() + "{destination: {kuma.io/service: b}}]"))).To(ConsistOf(
			violation("conf.http[0].mirrors", "has 17 entries; at most 16")))
	})

	DescribeTable("has a percentage that is a number",
		func(value float64) {
			r := withMirror("")
			r.Spec.(*api.TrafficRoute).Conf.Http[0].Mirror.Percentage = wrapperspb.Double(value)
			Expect(plugin.ValidateTrafficRoute(r)).To(ConsistOf(violation("conf.http[0].mirror.percentage", "must be 0 to 100")))
		},
		Entry("not NaN", nan()),
		Entry("not infinity", inf(1)),
		Entry("not negative infinity", inf(-1)),
	)

	It("takes every percentage with four decimals, as float arithmetic gives it too", func() {
		r := withMirror("")
		mirror := r.Spec.(*api.TrafficRoute).Conf.Http[0].Mirror
		for i := 0; i <= 1_000_000; i += 101 {
			mirror.Percentage = wrapperspb.Double(float64(i) / 10_000)
			if v := plugin.ValidateTrafficRoute(r); len(v) > 0 {
				Fail(v.Error())
			}
			mirror.Percentage.Value = float64(i) * 0.0001
			if v := plugin.ValidateTrafficRoute(r); len(v) > 0 {
				Fail(v.Error())
			}
		}
	})
})
