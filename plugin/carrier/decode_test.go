package carrier_test

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin/carrier"
)

// carrying is an entry with a primary and one carrier with these tags, the
// version and, unless it is among them, the number of those about the mirror.
func carrying(tags string) string {
	fields := strings.Count(tags, "~") - strings.Count(tags, "~carrier-list") - strings.Count(tags, "~carrier-primary")
	if fields > 0 && !strings.Contains(tags, "~carrier-fields") {
		tags += fmt.Sprintf(`, ~carrier-fields: "%d"`, fields)
	}
	return `split: [
		{weight: 100, destination: {kuma.io/service: backend}},
		{weight: 0, destination: {kuma.io/service: shadow}},
		{weight: 0, destination: {kuma.io/service: shadow, mirror.kuma-mirror.io/carrier-version: "1", ` +
		strings.ReplaceAll(tags, "~", carrier.Prefix) + `}}]`
}

// options are the fields of a mirror that a tag can stand for: all but the first,
// its destination.
var options = func() string {
	fields := (&api.TrafficRoute_Mirror{}).ProtoReflect().Descriptor().Fields()
	var names []string
	for i := 1; i < fields.Len(); i++ {
		names = append(names, fields.Get(i).JSONName())
	}
	return strings.Join(names, ", ")
}()

var _ = Describe("Decode", func() {
	// sound has two entries whose carriers are in order.
	const sound = `http: [
		{match: {path: {prefix: /a}}, split: [
			{weight: 100, destination: {kuma.io/service: backend}},
			{weight: 0, destination: {kuma.io/service: a}},
			{weight: 0, destination: {kuma.io/service: a, mirror.kuma-mirror.io/carrier-version: "1"}}]},
		{match: {path: {prefix: /b}}, split: [
			{weight: 0, destination: {kuma.io/service: b}},
			{weight: 0, destination: {kuma.io/service: b, mirror.kuma-mirror.io/carrier-version: "1"}},
			{weight: 3, destination: {kuma.io/service: backend}}]}]`

	// damaged holds that conf's carriers are damaged and said to be so, and the
	// others are decoded.
	damaged := func(conf string, problems ...string) {
		GinkgoHelper()
		policy := spec("{" + sound + ", " + conf + "}")
		decoded, found := carrier.Decode(policy)

		var said []string
		for _, p := range found {
			said = append(said, string(p.At)+": "+p.Message)
		}
		Expect(said).To(Equal(problems))

		Expect(decoded.GetConf().GetMirror()).To(BeNil())
		Expect(decoded.GetConf().GetMirrors()).To(BeEmpty())
		Expect(decoded.GetConf().GetDestination()).To(Equal(policy.GetConf().GetDestination()))
		Expect(fmt.Sprint(decoded.GetConf().GetSplit())).To(Equal(fmt.Sprint(policy.GetConf().GetSplit())), "the split stays")

		Expect(decoded.GetConf().GetHttp()[0].GetMirror().GetDestination()).To(HaveKeyWithValue(api.ServiceTag, "a"))
		Expect(decoded.GetConf().GetHttp()[1].GetMirror().GetDestination()).To(HaveKeyWithValue(api.ServiceTag, "b"))
		Expect(decoded.GetConf().GetHttp()[1].GetSplit()).To(HaveLen(1))
	}

	const at = `conf.split[2].destination["mirror.kuma-mirror.io/`

	DescribeTable("mirrors nothing in an entry whose carrier has",
		func(tags string, problems ...string) {
			for i, p := range problems {
				problems[i] = strings.ReplaceAll(p, "~/", carrier.Prefix)
			}
			damaged(carrying(tags), problems...)
		},
		Entry("a field that is not known", `~percent: "90"`,
			at+`percent"]: is not known; after "~/" there may be `+options),
		Entry("several, all said", `~percent: "90", ~percentage: ninety, ~limits.x: "1"`,
			at+`limits.x"]: is not known; after "~/limits." there may be maxConcurrentRequests, maxRequestBodyBytes, maxDuration`,
			at+`percent"]: is not known; after "~/" there may be `+options,
			at+`percentage"]: is "ninety"; must be a number such as 90 or 0.5`),
		Entry("a word about the carrier that is not known", `~carrier-mode: x`,
			at+`carrier-mode"]: is not known; after "~/" there may be `+options),
		Entry("the destination as a field", `~destination: shadow`,
			at+`destination"]: is not known; after "~/" there may be `+options),
		Entry("nothing after the prefix", `~: x`,
			at+`"]: is not known; after "~/" there may be `+options),
		Entry("something below a value", `~percentage.x: "1"`,
			at+`percentage.x"]: is not known; "~/percentage" has nothing below it`),
		Entry("a percentage out of range", `~percentage: "100.5"`,
			at+`percentage"]: is 100.5; must be 0 to 100`),
		Entry("a percentage that is no number", `~percentage: NaN`,
			at+`percentage"]: is NaN; must be 0 to 100`),
		Entry("a percentage with too many decimals", `~percentage: "0.00001"`,
			at+`percentage"]: is 1e-05; at most four decimals are allowed`),
		Entry("a name with a dot", `~name: a.b`,
			at+`name"]: is "a.b"; must be 1 to 63 letters, digits, dashes and underscores`),
		Entry("a limit out of range", `~limits.maxConcurrentRequests: "0"`,
			at+`limits.maxConcurrentRequests"]: is 0; must be 1 to 1000000`),
		Entry("a negative limit", `~limits.maxRequestBodyBytes: "-1"`,
			at+`limits.maxRequestBodyBytes"]: is "-1"; must be a whole number from 0 to 4294967295`),
		Entry("a duration without a unit", `~limits.maxDuration: "15"`,
			at+`limits.maxDuration"]: is "15"; must be a duration with its unit, such as 15s or 500ms`),
		Entry("a duration out of range", `~limits.maxDuration: 2h`,
			at+`limits.maxDuration"]: must be 1ms to 1h, such as 15s`),
		Entry("a section with a value", `~limits: 15s`,
			at+`limits"]: is "15s"; a section without fields is "empty", others have tags for their fields alone`),
		Entry("a section that needs a field", `~host: empty`,
			at+`host"]: either "suffix: true" or "value" is required`),
		Entry("two that exclude each other", `~host.suffix: "true", ~host.value: a`,
			at+`host.suffix"]: excludes ~/host.value: only one of them may be there`),
		Entry("a flag that is neither true nor false", `~host.suffix: "yes"`,
			at+`host.suffix"]: is "yes"; must be true or false`),
		Entry("a header without a name", `~requestHeaders.add.0.value: a`,
			at+`requestHeaders.add.0.name"]: is not the name of a header: 1 to 16384 letters, digits and !#$%&'*+-.^_`+"`"+`|~ are allowed`),
		Entry("a gap in a list", `~requestHeaders.remove.0.name: a, ~requestHeaders.remove.2.name: b`,
			at+`requestHeaders.remove.2.name"]: is out of order: the entries of requestHeaders.remove are counted from 0 without a gap, and the next is 1`),
		Entry("a list with something else than a number", `~requestHeaders.remove.00.name: a, ~requestHeaders.remove.name: b`,
			at+`requestHeaders.remove.00.name"]: is out of order: the entries of requestHeaders.remove are counted from 0 without a gap, and the next is 0`,
			at+`requestHeaders.remove.name"]: is out of order: the entries of requestHeaders.remove are counted from 0 without a gap, and the next is 0`),
		Entry("a negative index", `~requestHeaders.remove.-1.name: a`,
			at+`requestHeaders.remove.-1.name"]: is out of order: the entries of requestHeaders.remove are counted from 0 without a gap, and the next is 0`),
		Entry("a field that cannot be read beside one that is out of range", `~host.value: ":", ~percentage: "200"`,
			at+`host.value"]: ends in ":", in the middle of a character: a colon is followed by two hex digits`,
			at+`percentage"]: is 200; must be 0 to 100`),
		Entry("text that is cut off", `~host.value: "shadow:3"`,
			at+`host.value"]: ends in ":3", in the middle of a character: a colon is followed by two hex digits`),
		Entry("text with a wrong character", `~host.value: "shadow:zz"`,
			at+`host.value"]: has ":zz" at byte 6: a colon is followed by two hex digits`),
		Entry("text as Kuma would refuse it", `~host.value: "a b"`,
			at+`host.value"]: has ' ' at byte 1: only letters, digits, dots, dashes and underscores stand for themselves, every other byte is a colon and two hex digits`),
		Entry("text that is not UTF-8", `~requestHeaders.remove.0.name: ":c3"`,
			at+`requestHeaders.remove.0.name"]: is ":c3", which is not UTF-8 text`),
		Entry("a header that Envoy would refuse", `~requestHeaders.add.0.name: x, ~requestHeaders.add.0.value: ":25X:25"`,
			at+`requestHeaders.add.0.value"]: has "%X%", which Envoy takes for a command that it does not know: write %% for a percent sign; commands are as in %REQ(x-user)%, %START_TIME% or %DOWNSTREAM_REMOTE_ADDRESS%`),
		Entry("a word about the carrier with a wrong value", `~carrier-list: "yes", ~carrier-primary: split, ~carrier-any/version: "*"`,
			at+`carrier-any/version"]: is "*"; has to be "true"`,
			at+`carrier-list"]: is "yes"; has to be the number of mirrors in the list`,
			at+`carrier-primary"]: is "split"; has to be "destination"`),
		Entry("lost a field", `~percentage: "1", ~carrier-fields: "2"`,
			at+`carrier-fields"]: is "2", and there are 1 tags that say something of the mirror: encode the policy again, or write the number of those that should be there`),
		Entry("lost all fields", `~carrier-fields: "1"`,
			at+`carrier-fields"]: is "1", and there are 0 tags that say something of the mirror: encode the policy again, or write the number of those that should be there`),
		Entry("got a field", `~percentage: "1", ~name: x, ~carrier-fields: "1"`,
			at+`carrier-fields"]: is "1", and there are 2 tags that say something of the mirror: encode the policy again, or write the number of those that should be there`),
		Entry("a number of fields that is none", `~percentage: "1", ~carrier-fields: one`,
			at+`carrier-fields"]: is "one", and there are 1 tags that say something of the mirror: encode the policy again, or write the number of those that should be there`),
		Entry("a list of none", `~carrier-list: "0"`,
			at+`carrier-list"]: is "0"; has to be the number of mirrors in the list`),
	)

	const (
		primary = `{weight: 100, destination: {kuma.io/service: backend}}`
		opener  = `{weight: 0, destination: {kuma.io/service: shadow}}`
		single  = `{weight: 0, destination: {kuma.io/service: shadow, mirror.kuma-mirror.io/carrier-version: "1"}}`
		listed  = `{weight: 0, destination: {kuma.io/service: shadow, mirror.kuma-mirror.io/carrier-version: "1", mirror.kuma-mirror.io/carrier-list: "2"}}`
		partner = ` has no partner: before the carrier of a mirror stands an entry with weight 0 and with the same tags but those that start with mirror.kuma-mirror.io/`
	)

	DescribeTable("mirrors nothing in an entry with",
		func(conf string, problems ...string) { damaged(conf, problems...) },
		Entry("a carrier without a version",
			`split: [`+primary+`, `+opener+`, {weight: 0, destination: {kuma.io/service: shadow, mirror.kuma-mirror.io/percentage: "90"}}]`,
			`conf.split[2].destination["mirror.kuma-mirror.io/carrier-version"]: is missing; it has to be "1"`),
		Entry("a carrier of a version to come",
			`split: [`+primary+`, `+opener+`, {weight: 0, destination: {kuma.io/service: shadow, mirror.kuma-mirror.io/carrier-version: "2", mirror.kuma-mirror.io/mirroring: x}}]`,
			`conf.split[2].destination["mirror.kuma-mirror.io/carrier-version"]: is "2"; this version of kuma-mirror reads "1" only: update it, or encode the policy again with this one`),
		Entry("a carrier that gets traffic",
			`split: [`+primary+`, `+opener+`, {weight: 7, destination: {kuma.io/service: shadow, mirror.kuma-mirror.io/carrier-version: "1"}}]`,
			`conf.split[2].weight: is 7; the carrier of a mirror has weight 0`),
		Entry("a carrier alone", `split: [`+primary+`, `+single+`]`, `conf.split[1]:`+partner),
		Entry("a carrier first", `split: [`+single+`, `+primary+`]`, `conf.split[0]:`+partner),
		Entry("an opener after its carrier", `split: [`+primary+`, `+single+`, `+opener+`]`, `conf.split[1]:`+partner),
		Entry("an opener that gets traffic",
			`split: [{weight: 5, destination: {kuma.io/service: shadow}}, `+single+`]`, `conf.split[1]:`+partner),
		Entry("an opener of another shadow",
			`split: [`+primary+`, {weight: 0, destination: {kuma.io/service: shadow, version: v2}}, `+single+`]`, `conf.split[2]:`+partner),
		Entry("a carrier twice", `split: [`+primary+`, `+opener+`, `+single+`, `+single+`]`,
			`conf.split[3]:`+partner,
			`conf.split: has 2 carriers: without mirror.kuma-mirror.io/carrier-list there is one mirror only`,
			`conf.split[3].destination: has the same destination and name as conf.mirrors[0]; give one of them another name`),
		Entry("a mirror twice", `split: [`+primary+`, `+opener+`, `+single+`, `+opener+`, `+single+`]`,
			`conf.split: has 2 carriers: without mirror.kuma-mirror.io/carrier-list there is one mirror only`,
			`conf.split[4].destination: has the same destination and name as conf.mirrors[0]; give one of them another name`),
		Entry("a mirror of a list twice", `split: [`+primary+`, `+opener+`, `+listed+`, `+opener+`, `+listed+`]`,
			`conf.split[4].destination: has the same destination and name as conf.mirrors[0]; give one of them another name`),
		Entry("carriers of two policies", `split: [`+primary+`, `+opener+`, `+listed+`,
			{weight: 0, destination: {kuma.io/service: b}}, {weight: 0, destination: {kuma.io/service: b, mirror.kuma-mirror.io/carrier-version: "1"}}]`,
			`conf.split: has carriers that do not belong together: mirror.kuma-mirror.io/carrier-list and mirror.kuma-mirror.io/carrier-primary have to be the same in all`),
		Entry("one of its carriers damaged", `split: [`+primary+`, `+opener+`, `+listed+`,
			{weight: 0, destination: {kuma.io/service: b}}, {weight: 0, destination: {kuma.io/service: b, mirror.kuma-mirror.io/carrier-version: "1", mirror.kuma-mirror.io/carrier-list: "2", mirror.kuma-mirror.io/carrier-fields: "1", mirror.kuma-mirror.io/name: ":"}}]`,
			`conf.split[4].destination["mirror.kuma-mirror.io/name"]: ends in ":", in the middle of a character: a colon is followed by two hex digits`),
		Entry("one of its mirrors lost", `split: [`+primary+`, `+opener+`, `+listed+`]`,
			`conf.split: has 1 of the 2 carriers that mirror.kuma-mirror.io/carrier-list says: encode the policy again`),
		Entry("a carrier without the number of its fields",
			`split: [`+primary+`, `+opener+`, {weight: 0, destination: {kuma.io/service: shadow, mirror.kuma-mirror.io/carrier-version: "1", mirror.kuma-mirror.io/percentage: "90"}}]`,
			`conf.split[2].destination["mirror.kuma-mirror.io/carrier-fields"]: is missing; it has to be "1", the number of tags that say something of the mirror`),
		Entry("a carrier as its only destination",
			`destination: {kuma.io/service: shadow, mirror.kuma-mirror.io/carrier-version: "1"}`,
			`conf.destination["mirror.kuma-mirror.io/carrier-version"]: belongs to the carrier of a mirror, which is a split entry of weight 0`),
		Entry("a carrier without a service",
			`split: [`+primary+`, {weight: 0, destination: {version: v2}}, {weight: 0, destination: {version: v2, mirror.kuma-mirror.io/carrier-version: "1"}}]`,
			`conf.split[2].destination: the tag "kuma.io/service" is required`),
		Entry("a carrier of a tag with a wrong value",
			`split: [`+primary+`, {weight: 0, destination: {kuma.io/service: a b}}, {weight: 0, destination: {kuma.io/service: a b, mirror.kuma-mirror.io/carrier-version: "1"}}]`,
			`conf.split[2].destination["kuma.io/service"]: is "a b"; the value of a tag consists of letters, digits, dots, dashes, underscores, colons and slashes, or '*' alone`),
		Entry("a mirror beside it", carrying("")+`, mirror: {destination: {kuma.io/service: b}}`,
			`conf.mirror: stands in one entry with a carrier, which is a mirror too: decode the resource, or remove one of the two`),
	)

	It("mirrors nothing where there are too many", func() {
		var split strings.Builder
		for i := range 17 {
			fmt.Fprintf(&split, `, %s, {weight: 0, destination: {kuma.io/service: shadow, mirror.kuma-mirror.io/carrier-version: "1", mirror.kuma-mirror.io/carrier-list: "17", mirror.kuma-mirror.io/carrier-fields: "1", mirror.kuma-mirror.io/name: m%d}}`, opener, i)
		}
		damaged(`split: [`+primary+split.String()+`]`, `conf.split: has 17 entries; at most 16 are allowed`)
	})

	It("takes what people write by hand and means the same", func() {
		decoded, problems := carrier.Decode(spec("{" + carrying(`~percentage: "090.50", ~limits.maxDuration: 1m30s, ~host.value: "a:3A80"`) + "}"))
		Expect(problems).To(BeEmpty())
		expectSame(decoded, spec(`{split: [`+primary+`], mirror: {destination: {kuma.io/service: shadow}, percentage: 90.5, limits: {maxDuration: 90s}, host: {value: "a:80"}}}`))
	})

	It("reads a list of more than ten in its order", func() {
		var tags []string
		var headers []string
		for i := range 12 {
			tags = append(tags, fmt.Sprintf(`~requestHeaders.remove.%d.name: h%d`, i, i))
			headers = append(headers, fmt.Sprintf(`{name: h%d}`, i))
		}
		decoded, problems := carrier.Decode(spec("{" + carrying(strings.Join(tags, ", ")) + "}"))
		Expect(problems).To(BeEmpty())
		expectSame(decoded, spec(`{split: [`+primary+`], mirror: {destination: {kuma.io/service: shadow}, requestHeaders: {remove: [`+strings.Join(headers, ", ")+`]}}}`))
	})

	It("keeps a primary that was split since", func() {
		const canary = `{weight: 1, destination: {kuma.io/service: backend, version: v2}}`
		decoded, problems := carrier.Decode(spec(`{split: [` + primary + `, ` + opener + `,
			{weight: 0, destination: {kuma.io/service: shadow, mirror.kuma-mirror.io/carrier-version: "1", mirror.kuma-mirror.io/carrier-primary: destination}}, ` + canary + `]}`))
		Expect(problems).To(BeEmpty())
		expectSame(decoded, spec(`{split: [`+primary+`, `+canary+`], mirror: {destination: {kuma.io/service: shadow}}}`))
	})

	It("does not give traffic to a primary that has none by now", func() {
		const none = `{weight: 0, destination: {kuma.io/service: backend}}`
		decoded, problems := carrier.Decode(spec(`{split: [` + none + `, ` + opener + `,
			{weight: 0, destination: {kuma.io/service: shadow, mirror.kuma-mirror.io/carrier-version: "1", mirror.kuma-mirror.io/carrier-primary: destination}}]}`))
		Expect(problems).To(BeEmpty())
		expectSame(decoded, spec(`{split: [`+none+`], mirror: {destination: {kuma.io/service: shadow}}}`))
	})

	It("names the resource and the path in its form", func() {
		r := resource("{" + carrying(`~percentage: "200"`) + "}")
		decoded, violations := carrier.DecodeResource(r)
		Expect(violations).To(MatchError(`policy.yaml: TrafficRoute "r" in mesh "default": ` + at + `percentage"]: is 200; must be 0 to 100`))
		expectSame(decoded.Spec.(*api.TrafficRoute), r.Spec.(*api.TrafficRoute))

		r.Form = api.Kubernetes
		_, violations = carrier.DecodeResource(r)
		Expect(violations).To(HaveLen(1))
		Expect(violations[0].Path).To(Equal("spec." + at + `percentage"]`))
	})
})
