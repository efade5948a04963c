package v1alpha1_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// route is a TrafficRoute in the Universal form with the lines given, each
// indented for an entry of conf.http.
func route(lines ...string) string {
	return "type: TrafficRoute\nname: r\nconf:\n  http:\n  - " + strings.Join(lines, "\n    ") + "\n"
}

// complaints returns "path: message" of every violation.
func complaints(input string) []string {
	GinkgoHelper()
	_, err := api.Parse("in.yaml", []byte(input))
	var violations api.Violations
	Expect(errors.As(err, &violations)).To(BeTrue(), "got %v", err)
	lines := make([]string, len(violations))
	for i, v := range violations {
		lines[i] = v.Path + ": " + v.Message
	}
	return lines
}

func parseOne(input string) *api.Resource {
	GinkgoHelper()
	resources, err := api.Parse("in.yaml", []byte(input))
	Expect(err).NotTo(HaveOccurred())
	Expect(resources).To(HaveLen(1))
	return resources[0]
}

func firstMirror(input string) *api.TrafficRoute_Mirror {
	GinkgoHelper()
	return parseOne(input).Spec.(*api.TrafficRoute).GetConf().GetHttp()[0].GetMirror()
}

func example(name string) string {
	GinkgoHelper()
	data, err := os.ReadFile(filepath.Join("..", "..", "examples", name))
	Expect(err).NotTo(HaveOccurred())
	return string(data)
}

var _ = Describe("Parse", func() {
	proposal := &api.TrafficRoute{
		Sources:      []*api.Selector{{Match: map[string]string{"kuma.io/service": "sleep_mirror-demo_svc_80", "app": "sleep"}}},
		Destinations: []*api.Selector{{Match: map[string]string{"kuma.io/service": "httpbin_mirror-demo_svc_8080"}}},
		Conf: &api.TrafficRoute_Conf{
			Http: []*api.TrafficRoute_Http{{
				Match: &api.TrafficRoute_Http_Match{Path: &api.TrafficRoute_Http_Match_StringMatcher{
					MatcherType: &api.TrafficRoute_Http_Match_StringMatcher_Prefix{Prefix: "/"},
				}},
				Split: []*api.TrafficRoute_Split{
					{Weight: wrapperspb.UInt32(100), Destination: map[string]string{"kuma.io/service": "httpbin_mirror-demo_svc_8080", "version": "v1"}},
					{Weight: wrapperspb.UInt32(0), Destination: map[string]string{"kuma.io/service": "httpbin_mirror-demo_svc_8080", "version": "v2"}},
				},
				Mirror: &api.TrafficRoute_Mirror{
					Destination: map[string]string{"kuma.io/service": "httpbin_mirror-demo_svc_8080", "version": "v2"},
					Percentage:  wrapperspb.Double(90),
				},
			}},
			Destination: map[string]string{"kuma.io/service": "httpbin_mirror-demo_svc_8080", "version": "v1"},
		},
	}

	DescribeTable("reads the proposal's policy", func(file string, form api.Form) {
		r := parseOne(example(file))
		Expect(r.Kind).To(Equal(api.KindTrafficRoute))
		Expect(r.Form).To(Equal(form))
		Expect(r.Meta).To(Equal(api.Meta{Mesh: "default", Name: "route-default"}))
		Expect(proto.Equal(r.Spec, proposal)).To(BeTrue(), "got %v", r.Spec)
	},
		Entry("as the document writes it", "proposal-kubernetes.yaml", api.Kubernetes),
		Entry("in the Universal form", "proposal-universal.yaml", api.Universal),
	)

	DescribeTable("reads what Kuma 2.14.3 was given", func(mesh string, resources int, refused ...string) {
		data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "kuma-2.14.3", mesh, "input.yaml"))
		Expect(err).NotTo(HaveOccurred())
		read, err := api.Parse(mesh, data)
		Expect(read).To(HaveLen(resources))
		if len(refused) == 0 {
			Expect(err).NotTo(HaveOccurred())
			return
		}
		Expect(complaints(string(data))).To(HaveExactElements(HavePrefix(refused[0])))
	},
		Entry(nil, "three-routes", 5),
		Entry(nil, "matches-and-modify", 5),
		Entry(nil, "zone-services", 7),
		Entry(nil, "carrier-like", 5),
		Entry(nil, "default-policies", 5),
		Entry("except policies of other kinds", "protocols", 15, `type: unknown type "TrafficPermission"`),
		Entry("except fields the standalone host has no use for", "mtls", 5, "mtls: unknown field"),
	)

	Describe("metadata", func() {
		It("keeps all of the Universal form", func() {
			r := parseOne(`{type: Mesh, name: m, labels: {a: b}, creationTime: 2024-05-31T08:00:00.5Z, modificationTime: "2024-05-31T10:00:00+02:00", kri: kri_m___m_}`)
			Expect(r.Form).To(Equal(api.Universal))
			Expect(r.Source).To(Equal("in.yaml"))
			Expect(r.Meta).To(Equal(api.Meta{
				Name: "m", Labels: map[string]string{"a": "b"},
				CreationTime:     time.Date(2024, 5, 31, 8, 0, 0, 500_000_000, time.UTC),
				ModificationTime: time.Date(2024, 5, 31, 8, 0, 0, 0, time.UTC),
			}))
		})

		It("keeps what is the user's of the Kubernetes form and drops what the API server adds", func() {
			r := parseOne(`
apiVersion: kuma.io/v1alpha1
kind: Dataplane
mesh: m
metadata:
  name: d
  namespace: ns
  labels: {a: b}
  annotations: {c: d}
  creationTimestamp: "2024-05-31T08:00:00Z"
  resourceVersion: "12"
  uid: 7e1c
  generation: 3
  managedFields: [{manager: kubectl}]
  ownerReferences: []
spec:
  networking: {address: 10.0.0.1}
`)
			Expect(r.Form).To(Equal(api.Kubernetes))
			Expect(r.Meta).To(Equal(api.Meta{
				Mesh: "m", Name: "d", Namespace: "ns",
				Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"},
				CreationTime: time.Date(2024, 5, 31, 8, 0, 0, 0, time.UTC),
			}))
		})

		DescribeTable("takes the default mesh where none is named", func(input string, mesh string) {
			Expect(parseOne(input).Meta.Mesh).To(Equal(mesh))
		},
			Entry("Universal", "{type: Dataplane, name: d}", "default"),
			Entry("Universal, empty", "{type: Dataplane, name: d, mesh: ''}", "default"),
			Entry("Kubernetes", "{apiVersion: kuma.io/v1alpha1, kind: Dataplane, metadata: {name: d}}", "default"),
			Entry("but not for a Mesh", "{type: Mesh, name: d}", ""),
		)

		It("takes the nulls that Kubernetes clients write", func() {
			r := parseOne("{apiVersion: kuma.io/v1alpha1, kind: Mesh, metadata: {name: m, creationTimestamp: null, labels: null, annotations: }}")
			Expect(r.Meta).To(Equal(api.Meta{Name: "m"}))
		})
	})

	DescribeTable("reads several resources, each with its number",
		func(input string, names ...string) {
			resources, err := api.Parse("in.yaml", []byte(input))
			Expect(err).NotTo(HaveOccurred())
			var read []string
			for _, r := range resources {
				read = append(read, strings.TrimPrefix(r.Source, "in.yaml")+r.Meta.Name)
			}
			Expect(read).To(Equal(names))
		},
		Entry("documents", "type: Mesh\nname: a\n---\ntype: Mesh\nname: b\n", "#1a", "#2b"),
		Entry("one document has none", "---\ntype: Mesh\nname: a\n...\n", "a"),
		Entry("comments and empty documents are left out",
			"# licence\n---\n# nothing\n---\ntype: Mesh # m\nname: a\n---\n---\n\n---\ntype: Mesh\nname: b\n---\n# end\n", "#1a", "#2b"),
		Entry("a directive and a document end", "%YAML 1.1\n---\ntype: Mesh\nname: a\n...\n---\ntype: Mesh\nname: b\n...\n", "#1a", "#2b"),
		Entry("CRLF", "type: Mesh\r\nname: a\r\n---\r\ntype: Mesh\r\nname: b\r\n", "#1a", "#2b"),
		Entry("a byte order mark", "\uFEFFtype: Mesh\nname: a\n", "a"),
		Entry("a JSON object", `{"type": "Mesh", "name": "a"}`, "a"),
		Entry("a byte order mark before JSON", "\uFEFF"+`{"type": "Mesh", "name": "a"}`, "a"),
		Entry("JSON with tabs and escapes that YAML refuses", "{\n\t\"type\": \"Mesh\",\n\t\"name\": \"\\ud83d\\ude00\\/\"\n}\n", "😀/"),
		Entry("a stream of JSON objects", `{"type":"Mesh","name":"a"}{"type":"Mesh","name":"b"} {"type":"Mesh","name":"c"}`, "#1a", "#2b", "#3c"),
		Entry("JSON among YAML documents", "{\"type\": \"Mesh\", \"name\": \"a\"}\n---\ntype: Mesh\nname: b\n", "#1a", "#2b"),
		Entry("JSON objects as YAML documents", "{\"type\": \"Mesh\", \"name\": \"a\"}\n--- \n{\n\t\"type\": \"Mesh\",\n\t\"name\": \"b\\/\"\n}\n---\r\n{\"type\":\"Mesh\",\"name\":\"\\/\"}\n---\n", "#1a", "#2b/", "#3/"),
		Entry("JSON that YAML refuses, before YAML", "{\"type\": \"Mesh\", \"name\": \"\\/\"}\n---\n# b\n{\"type\": Mesh, name: b}\n---\ntype: Mesh\nname: c\n", "#1/", "#2b", "#3c"),
		Entry("YAML flow maps", "{type: Mesh, name: a,}", "a"),
		Entry("a Kubernetes List, its items counted with the other documents",
			"apiVersion: v1\nkind: List\nmetadata: {resourceVersion: ''}\nitems:\n- {apiVersion: kuma.io/v1alpha1, kind: Mesh, metadata: {name: a}}\n- {apiVersion: kuma.io/v1alpha1, kind: Mesh, metadata: {name: b}}\n---\ntype: Mesh\nname: c\n",
			"#1a", "#2b", "#3c"),
		Entry("a Kubernetes List in JSON", `{"kind":"List","apiVersion":"v1","items":[{"apiVersion":"kuma.io/v1alpha1","kind":"Mesh","metadata":{"name":"a"}}]}`, "a"),
		Entry("a list as kumactl prints it", "items:\n- {type: Mesh, name: a}\n- {type: Mesh, name: b}\nnext: null\ntotal: 2\n", "#1a", "#2b"),
		Entry("a list as Kuma's REST API answers it", `{"total": 1, "items": [{"type": "Mesh", "name": "a"}], "next": null}`, "a"),
	)

	DescribeTable("refuses what is no resource",
		func(input string, messages ...string) {
			Expect(complaints(input)).To(Equal(messages))
		},
		Entry("an empty file", "", ": nothing in it: expected at least one resource"),
		Entry("blanks", " \n\n\t\n", ": nothing in it: expected at least one resource"),
		Entry("only a byte order mark", "\uFEFF", ": nothing in it: expected at least one resource"),
		Entry("comments alone", "# a\n---\n# b\n", ": nothing in it: expected at least one resource"),
		Entry("empty documents", "---\n---\n", ": nothing in it: expected at least one resource"),
		Entry("an empty List", "{apiVersion: v1, kind: List, items: []}", ": nothing in it: expected at least one resource"),
		Entry("null", "null", ": must be a map, has no value (line 1)"),
		Entry("text", "hello", `: must be a map, is the text "hello" (line 1)`),
		Entry("a list", "- type: Mesh\n  name: m\n", ": must be a map, is a list (line 1)"),
		Entry("a JSON list", "[]", ": must be a map, is a list (line 1)"),
		Entry("an empty map", "{}", ": is no resource: has neither `type` (Universal form) nor `apiVersion` and `kind` (Kubernetes form) (line 1)"),
		Entry("not UTF-8", "type: Mesh\nname: \xff\n", ": is not UTF-8 text: byte 0xff on line 2"),
		Entry("UTF-16", "\xff\xfet\x00", ": is not UTF-8 text: byte 0xff on line 1"),
		Entry("broken YAML", "type: [", ": not YAML: line 1: did not find expected node content; nothing after that was read"),
		Entry("broken JSON", "{\"type\": \"Mesh\",\n\"name\" \"m\"}", ": not JSON: line 2: invalid character '\"' after object key; nothing after that was read"),
		Entry("JSON that is cut off", `{"type": "Mesh", "name": {"a": [`, ": not JSON: line 1: ends in the middle of a value; nothing after that was read"),
		Entry("broken JSON after JSON", "{\"type\": \"Mesh\", \"name\": \"m\"}\n---\n{\"type\" \"Mesh\"}", ": not JSON: line 3: invalid character '\"' after object key; nothing after that was read"),
		Entry("broken YAML after JSON", "{\"type\": \"Mesh\", \"name\": \"m\"}\n---\ntype: [\n", ": not YAML: line 3: did not find expected node content; nothing after that was read"),
		Entry("what is wrong with a YAML document after JSON", "{\"type\": \"Mesh\", \"name\": \"m\"}\n---\n\ntype: Mesh\nname: 1\n", "name: must be a string, is the number 1; put it in quotes (line 5)"),
		Entry("an alias of nothing", "type: *x", ": not YAML: unknown anchor 'x' referenced; nothing after that was read"),
	)

	DescribeTable("refuses a wrong envelope",
		func(input string, messages ...string) {
			Expect(complaints(input)).To(Equal(messages))
		},
		Entry("unknown type", "{type: TrafficRout, name: r}",
			`type: unknown type "TrafficRout"; allowed: Dataplane, ExternalService, Mesh, TrafficRoute (line 1)`),
		Entry("unknown kind", "{apiVersion: kuma.io/v1alpha1, kind: Service, metadata: {name: r}}",
			`kind: unknown kind "Service"; allowed: Dataplane, ExternalService, Mesh, TrafficRoute (line 1)`),
		Entry("type is no text", "{type: 1, name: r}", "type: must be a string, is the number 1; put it in quotes (line 1)"),
		Entry("wrong apiVersion", "{apiVersion: v1, kind: Mesh, metadata: {name: r}}",
			`apiVersion: must be kuma.io/v1alpha1, is the text "v1" (line 1)`),
		Entry("no apiVersion", "{kind: Mesh, metadata: {name: r}}", "apiVersion: is missing; must be kuma.io/v1alpha1 (line 1)"),
		Entry("no kind", "{apiVersion: kuma.io/v1alpha1, metadata: {name: r}}",
			"kind: is missing; allowed: Dataplane, ExternalService, Mesh, TrafficRoute (line 1)"),
		Entry("both forms", "{apiVersion: kuma.io/v1alpha1, kind: Mesh, type: Mesh, name: r, metadata: {name: r}}",
			"type: unknown field; allowed: apiVersion, kind, mesh, metadata, spec (line 1)",
			"name: unknown field; allowed: apiVersion, kind, mesh, metadata, spec (line 1)"),
		Entry("no name", "{type: Mesh}", "name: is missing; every resource has a name (line 1)"),
		Entry("an empty name", "type: Mesh\nname: ''", "name: is empty; every resource has a name (line 2)"),
		Entry("a name that is no text", "{type: Mesh, name: 1}", "name: must be a string, is the number 1; put it in quotes (line 1)"),
		Entry("no metadata", "{apiVersion: kuma.io/v1alpha1, kind: Mesh}", "metadata.name: is missing; every resource has a name (line 1)"),
		Entry("metadata of an unknown name", "{apiVersion: kuma.io/v1alpha1, kind: Mesh, metadata: {name: r, nam: r}}",
			"metadata.nam: unknown field; allowed: annotations, creationTimestamp, labels, name, namespace (line 1)"),
		Entry("a label that is no text", "{type: Mesh, name: r, labels: {a.b/c: true}}",
			`labels["a.b/c"]: must be a string, is the boolean true; put it in quotes (line 1)`),
		Entry("a Mesh in a mesh", "{type: Mesh, name: r, mesh: m}", "mesh: a Mesh is in no mesh; remove the field (line 1)"),
		Entry("a time that is none", "{type: Mesh, name: r, creationTime: yesterday}",
			`creationTime: must be a time such as 2006-01-02T15:04:05Z, is the text "yesterday" (line 1)`),
		Entry("a time that its zone carries beyond year 9999", "{type: Mesh, name: r, creationTime: '9999-12-31T23:59:59-01:00'}",
			`creationTime: must be a time such as 2006-01-02T15:04:05Z, is the text "9999-12-31T23:59:59-01:00" (line 1)`),
		Entry("a List of another version", "{apiVersion: v2, kind: List, itms: [], items: [{type: Mesh, name: r}]}",
			`apiVersion: must be v1, is the text "v2" (line 1)`,
			"itms: unknown field; allowed: apiVersion, items, kind, metadata (line 1)"),
		Entry("a list of Kuma's with another field", "{items: [{type: Mesh, name: r}], totals: 1}",
			"totals: unknown field; allowed: items, next, total (line 1)"),
		Entry("a List in a List", "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: List}]}",
			`apiVersion: must be kuma.io/v1alpha1, is the text "v1" (line 1)`,
			`kind: unknown kind "List"; allowed: Dataplane, ExternalService, Mesh, TrafficRoute (line 1)`,
			"metadata.name: is missing; every resource has a name (line 1)"),
	)

	DescribeTable("refuses a wrong field and says where",
		func(input string, messages ...string) {
			Expect(complaints(input)).To(Equal(messages))
		},
		Entry("unknown", route("mirror:", "  percent: 3"),
			"conf.http[0].mirror.percent: unknown field; allowed: "+fieldsOf(&api.TrafficRoute_Mirror{})+" (line 6)"),
		Entry("unknown, Kubernetes form", "{apiVersion: kuma.io/v1alpha1, kind: TrafficRoute, metadata: {name: r}, spec: {conf: {http: [{}, {mirors: 1}]}}}",
			"spec.conf.http[1].mirors: unknown field; allowed: destination, match, mirror, mirrors, modify, split (line 1)"),
		Entry("unknown beside the envelope", "{type: TrafficRoute, name: r, spec: {}}",
			"spec: unknown field; allowed: conf, creationTime, destinations, labels, mesh, modificationTime, name, sources, type (line 1)"),
		Entry("unknown and odd", `{type: Mesh, name: r, "a b\n": 1}`,
			`["a b\n"]: unknown field; allowed: creationTime, labels, mesh, modificationTime, name, skipCreatingInitialPolicies, type (line 1)`),
		Entry("unknown where nothing is allowed", "{type: TrafficRoute, name: r, conf: {loadBalancer: {maglev: {size: 1}}}}",
			"conf.loadBalancer.maglev.size: unknown field; none is allowed here (line 1)"),
		Entry("text for a number", route("mirror: {percentage: lots}"),
			`conf.http[0].mirror.percentage: must be a number such as 90 or 0.5, is the text "lots" (line 5)`),
		Entry("NaN", route("mirror: {percentage: .nan}"),
			"conf.http[0].mirror.percentage: must be a number such as 90 or 0.5, is .nan (line 5)"),
		Entry("NaN as protobuf spells it", route("mirror: {percentage: NaN}"),
			`conf.http[0].mirror.percentage: must be a number such as 90 or 0.5, is the text "NaN" (line 5)`),
		Entry("infinity", route("mirror: {percentage: -.inf}"),
			"conf.http[0].mirror.percentage: must be a number such as 90 or 0.5, is -.inf (line 5)"),
		Entry("infinity as protobuf spells it", route("mirror: {percentage: 'Infinity'}"),
			`conf.http[0].mirror.percentage: must be a number such as 90 or 0.5, is the text "Infinity" (line 5)`),
		Entry("a number too large", route("mirror: {percentage: 1e999}"),
			`conf.http[0].mirror.percentage: must be a number such as 90 or 0.5, is the text "1e999" (line 5)`),
		Entry("a hexadecimal number", route("mirror: {percentage: 0x10}"),
			"conf.http[0].mirror.percentage: must be a number such as 90 or 0.5, is the number 0x10 (line 5)"),
		Entry("an exponent for a whole number", route("split: [{weight: 1e3}]"),
			"conf.http[0].split[0].weight: must be a whole number from 0 to 4294967295, is the number 1e3 (line 5)"),
		Entry("a fraction for a whole number", route("split: [{weight: 1.0}]"),
			"conf.http[0].split[0].weight: must be a whole number from 0 to 4294967295, is the number 1.0 (line 5)"),
		Entry("a negative number", route("split: [{weight: -1}]"),
			"conf.http[0].split[0].weight: must be a whole number from 0 to 4294967295, is the number -1 (line 5)"),
		Entry("a number beyond its range", route("split: [{weight: 4294967296}]"),
			"conf.http[0].split[0].weight: must be a whole number from 0 to 4294967295, is the number 4294967296 (line 5)"),
		Entry("a 64 bit number beyond its range", "{type: TrafficRoute, name: r, conf: {loadBalancer: {ringHash: {minRingSize: 18446744073709551616}}}}",
			"conf.loadBalancer.ringHash.minRingSize: must be a whole number from 0 to 18446744073709551615, is the number 18446744073709551616 (line 1)"),
		Entry("octal, or is it", route("split: [{weight: 010}]"),
			"conf.http[0].split[0].weight: must be a whole number from 0 to 4294967295, is the number 010 (line 5)"),
		Entry("a number for a tag", route("destination:", "  kuma.io/service: x", "  version: 1"),
			`conf.http[0].destination["version"]: must be a string, is the number 1; put it in quotes (line 7)`),
		Entry("a boolean for a tag", route("destination: {kuma.io/service: true}"),
			`conf.http[0].destination["kuma.io/service"]: must be a string, is the boolean true; put it in quotes (line 5)`),
		Entry("no value for a tag", route("destination: {version: }"),
			`conf.http[0].destination["version"]: must be a string, has no value (line 5)`),
		Entry("a number for a tag's name", route("destination: {1: x}"),
			"conf.http[0].destination: every key must be a string; one is the number 1; put it in quotes (line 5)"),
		Entry("a list for a tag's name", route("destination: {[a]: x}"),
			"conf.http[0].destination: every key must be a string; one is a list (line 5)"),
		Entry("a tag of YAML's own", route("destination: {version: !secret x}"),
			`conf.http[0].destination["version"]: must be a string, is tagged !secret (line 5)`),
		Entry("a list for a map", route("mirror: [a]"), "conf.http[0].mirror: must be a map, is a list (line 5)"),
		Entry("a list for tags", route("destination: [a]"), "conf.http[0].destination: must be a map, is a list (line 5)"),
		Entry("a map for a list", route("mirrors: {}"), "conf.http[0].mirrors: must be a list, is a map (line 5)"),
		Entry("no value for a message", route("mirror:"), "conf.http[0].mirror: must be a map, has no value (line 5)"),
		Entry("no value for a list", "{type: TrafficRoute, name: r, sources: null}", "sources: must be a list, has no value (line 1)"),
		Entry("no value in a list", "{type: TrafficRoute, name: r, sources: [null]}", "sources[0]: must be a map, has no value (line 1)"),
		Entry("no value for the spec", "apiVersion: kuma.io/v1alpha1\nkind: TrafficRoute\nmetadata: {name: r}\nspec:\n",
			"spec: must be a map, has no value (line 4)"),
		Entry("text for a boolean", route("mirror: {host: {suffix: 'true'}}"),
			`conf.http[0].mirror.host.suffix: must be true or false, is the text "true" (line 5)`),
		Entry("a word for a boolean", "{type: Dataplane, name: r, networking: {inbound: [{health: {ready: yes}}]}}",
			`networking.inbound[0].health.ready: must be true or false, is the text "yes" (line 1)`),
		Entry("a value that an enum does not have", "{type: Dataplane, name: r, networking: {inbound: [{state: Up}]}}",
			`networking.inbound[0].state: must be one of Ready, NotReady, Ignored, is the text "Up" (line 1)`),
		Entry("no base64, which is not shown: it may be a key", "{type: ExternalService, name: r, networking: {tls: {clientKey: {inline: '-----BEGIN'}}}}",
			"networking.tls.clientKey.inline: must be base64 text (line 1)"),
		Entry("a duration without its unit", route("mirror: {limits: {maxDuration: 15}}"),
			"conf.http[0].mirror.limits.maxDuration: must be a duration with its unit, such as 15s, 500ms or 1m30s, is the number 15 (line 5)"),
		Entry("a duration of an unknown unit", route("mirror: {limits: {maxDuration: 1d}}"),
			`conf.http[0].mirror.limits.maxDuration: must be a duration with its unit, such as 15s, 500ms or 1m30s, is the text "1d" (line 5)`),
		Entry("two of a oneof", route("match: {path: {prefix: /, exact: /a}}"),
			"conf.http[0].match.path.exact: excludes prefix; give only one of prefix, exact, regex (line 5)"),
		Entry("two of a oneof, the first one wrong too", route("match: {path: {prefix: 1, exact: /a}}"),
			"conf.http[0].match.path.prefix: must be a string, is the number 1; put it in quotes (line 5)",
			"conf.http[0].match.path.exact: excludes prefix; give only one of prefix, exact, regex (line 5)"),
		Entry("a field twice", route("mirror: {}", "mirror: {}"),
			"conf.http[0].mirror: is given twice, first on line 5 (line 6)"),
		Entry("a field twice in both spellings", "type: TrafficRoute\nname: r\nconf:\n  loadBalancer: {}\n  load_balancer: {}\n",
			"conf.load_balancer: is given twice, first as loadBalancer (line 5)"),
		Entry("a tag twice", route("destination:", "  kuma.io/service: a", "  kuma.io/service: b"),
			`conf.http[0].destination["kuma.io/service"]: is given twice, first on line 6 (line 7)`),
		Entry("a top-level field twice", "type: Mesh\nname: a\nname: b\n", "name: is given twice, first on line 2 (line 3)"),
		Entry("a field twice in JSON", "{\"type\": \"Mesh\",\n\"name\": \"a\",\n\"name\": \"b\"}", "name: is given twice, first on line 2 (line 3)"),
	)

	It("tells all mistakes of all documents at once, each with its document and resource", func() {
		resources, err := api.Parse("in.yaml", []byte(`type: TrafficRoute
name: web
conf: {htp: [], http: {}}
---
type: Mesh
name: fine
---
apiVersion: kuma.io/v1alpha1
kind: TrafficRoute
metadata: {labels: {a: 1}, name: k8s}
mesh: shop
---
type: Nothing
---
type: [
`))
		Expect(err).To(MatchError(`in.yaml#1: TrafficRoute "web" in mesh "default": conf.htp: unknown field; allowed: destination, http, loadBalancer, mirror, mirrors, split (line 3)
in.yaml#1: TrafficRoute "web" in mesh "default": conf.http: must be a list, is a map (line 3)
in.yaml#3: TrafficRoute "k8s" in mesh "shop": metadata.labels["a"]: must be a string, is the number 1; put it in quotes (line 10)
in.yaml#4: type: unknown type "Nothing"; allowed: Dataplane, ExternalService, Mesh, TrafficRoute (line 13)
in.yaml#4: name: is missing; every resource has a name (line 13)
in.yaml: not YAML: line 15: did not find expected node content; nothing after that was read`))
		Expect(resources).To(HaveExactElements(HaveField("Meta.Name", "fine")), "what could be read is returned beside the error")
	})

	DescribeTable("reads numbers as JSON, YAML and protobuf write them",
		func(percentage string, want float64) {
			Expect(firstMirror(route("mirror: {percentage: " + percentage + "}")).GetPercentage().GetValue()).To(Equal(want))
		},
		Entry(nil, "90", 90.0), Entry(nil, "0", 0.0), Entry(nil, "12.3456", 12.3456), Entry(nil, "1e1", 10.0),
		Entry(nil, ".5", 0.5), Entry(nil, "+5.", 5.0), Entry(nil, "'50'", 50.0), Entry(nil, "-3", -3.0),
	)

	It("reads 64 bit numbers written as text, as Kuma's REST API does", func() {
		r := parseOne(`{"type":"TrafficRoute","name":"r","conf":{"loadBalancer":{"ringHash":{"minRingSize":"18446744073709551615","maxRingSize":7}}}}`)
		ring := r.Spec.(*api.TrafficRoute).GetConf().GetLoadBalancer().GetRingHash()
		Expect(ring.GetMinRingSize()).To(Equal(^uint64(0)))
		Expect(ring.GetMaxRingSize()).To(Equal(uint64(7)))
	})

	It("tells a weight of 0 and a percentage of 0 from none", func() {
		entry := parseOne(route("split: [{weight: 0}, {}]", "mirrors: [{percentage: 0}, {}]")).Spec.(*api.TrafficRoute).GetConf().GetHttp()[0]
		Expect(entry.GetSplit()[0].GetWeight()).NotTo(BeNil())
		Expect(entry.GetSplit()[1].GetWeight()).To(BeNil())
		Expect(entry.GetMirrors()[0].GetPercentage()).NotTo(BeNil())
		Expect(entry.GetMirrors()[1].GetPercentage()).To(BeNil())
	})

	DescribeTable("reads durations", func(text string, want time.Duration) {
		Expect(firstMirror(route("mirror: {limits: {maxDuration: " + text + "}}")).GetLimits().GetMaxDuration().AsDuration()).To(Equal(want))
	},
		Entry("protobuf's", "15s", 15*time.Second), Entry("protobuf's fraction", "0.5s", 500*time.Millisecond),
		Entry("nanoseconds", "0.000000001s", time.Nanosecond),
		Entry("Go's", "1m30s", 90*time.Second), Entry("Go's fraction", "500ms", 500*time.Millisecond),
	)

	It("takes the names of the proto as well as those of JSON, as Kuma does", func() {
		mirror := firstMirror(route("mirror: {request_headers: {}, limits: {max_concurrent_requests: 3, maxRequestBodyBytes: 4}}"))
		Expect(proto.Equal(mirror, &api.TrafficRoute_Mirror{
			RequestHeaders: &api.TrafficRoute_Http_Modify_Headers{},
			Limits:         &api.TrafficRoute_Mirror_Limits{MaxConcurrentRequests: wrapperspb.UInt32(3), MaxRequestBodyBytes: wrapperspb.UInt32(4)},
		})).To(BeTrue(), "got %v", mirror)
	})

	It("reads the text of tags as it is written", func() {
		entry := parseOne(route(`destination: {a: on, b: 2024-01-01, c: "1", d: !!str 1, e: 'x: y', f: ~x}`)).Spec.(*api.TrafficRoute).GetConf().GetHttp()[0]
		Expect(entry.GetDestination()).To(Equal(map[string]string{"a": "on", "b": "2024-01-01", "c": "1", "d": "1", "e": "x: y", "f": "~x"}))
	})

	Describe("anchors and aliases", func() {
		It("are followed, and merged", func() {
			r := parseOne(`
type: TrafficRoute
name: r
conf:
  destination: &v1 {kuma.io/service: backend, version: v1}
  http:
  - destination: *v1
    mirror:
      destination: {version: v2, <<: *v1}
      limits: &limits {maxConcurrentRequests: 3}
  - mirror:
      destination: {<<: [{version: v3}, *v1]}
      limits: {<<: *limits, maxDuration: 1s}
`)
			http := r.Spec.(*api.TrafficRoute).GetConf().GetHttp()
			Expect(http[0].GetDestination()).To(Equal(map[string]string{"kuma.io/service": "backend", "version": "v1"}))
			Expect(http[0].GetMirror().GetDestination()).To(Equal(map[string]string{"kuma.io/service": "backend", "version": "v2"}))
			Expect(http[1].GetMirror().GetDestination()).To(Equal(map[string]string{"kuma.io/service": "backend", "version": "v3"}))
			Expect(proto.Equal(http[1].GetMirror().GetLimits(), &api.TrafficRoute_Mirror_Limits{
				MaxConcurrentRequests: wrapperspb.UInt32(3), MaxDuration: durationpb.New(time.Second),
			})).To(BeTrue())
		})

		DescribeTable("do not hang or blow up", func(input string, message string) {
			started := time.Now()
			Expect(complaints(input)).To(ContainElement(ContainSubstring(message)))
			// Hours without a limit; the bound only has to be far from both.
			Expect(time.Since(started)).To(BeNumerically("<", 20*time.Second))
		},
			Entry("billion laughs in lists", laughs(), "aliases stand for too much"),
			Entry("billion laughs in merges", mergeLaughs(), "merges with << more than 16 levels deep"),
			Entry("wide merges", "type: Mesh\nname: m\nlabels: {<<: [&a {"+numbered("k%d: v", 2000)+"}"+strings.Repeat(", *a", 2000)+"]}\n",
				"aliases stand for too much"),
			Entry("a merge of itself", "{type: Mesh, name: m, labels: &a {<<: *a}}", "merges with << more than 16 levels deep"),
			Entry("a merge of what is no map", "{type: Mesh, name: m, labels: {<<: [a]}}", `what << merges must be a map, is the text "a"`),
			Entry("a list of itself", "{type: TrafficRoute, name: m, sources: &a [*a]}", "sources[0]: must be a map, is a list"),
			Entry("a List of itself", "&a {apiVersion: v1, kind: List, items: [*a, *a]}", `unknown kind "List"`),
			Entry("a List of one item over and over", "apiVersion: v1\nkind: List\nitems:\n- &a {type: Mesh, name: m, labels: {"+numbered("k%d: v", 100)+"}}\n"+strings.Repeat("- *a\n", 2000),
				"aliases stand for too much"),
			Entry("deep lists", "type: "+strings.Repeat("[", 300_000), "exceeded max depth"),
			Entry("deep JSON", `{"type":`+strings.Repeat("[", 300_000), "nested deeper than 10000 levels"),
			Entry("deep JSON that is allowed", `{"type":`+strings.Repeat("[", 9_000)+strings.Repeat("]", 9_000)+"}", "type: must be a string, is a list"),
			Entry("long numbers", "{type: TrafficRoute, name: r, conf: {mirror: {percentage: "+strings.Repeat("9", 100_000)+"}}}", "must be a number"),
		)
	})

	It("stops at a thousand mistakes and keeps each of them short", func() {
		key := strings.Repeat("k", 100_000)
		violations := complaints(`{"type": "TrafficRoute", "name": "r", "conf": {"http": [{"match": {"headers": {"` + key + `": {` + numbered(`"f%d": 1`, 5000) + "}}}}]}}")
		Expect(violations).To(HaveLen(1001))
		Expect(violations[1000]).To(Equal(": and more: only the first 1000 mistakes are listed"))
		for _, v := range violations {
			Expect(len(v)).To(BeNumerically("<", 400))
		}
	})

	It("refuses an input of more than 4 MiB by its length", func() {
		Expect(complaints(strings.Repeat("- ", 2_500_000))).To(Equal([]string{": is 5000000 bytes long; at most 4194304 (4 MiB) are read"}))
	})
})

// numbered joins format with the numbers from 0 to n-1, comma-separated.
func numbered(format string, n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(parts, ", ")
}

// laughs is a small route with 10⁹ header changes: three lists of 1000.
func laughs() string {
	return "type: TrafficRoute\nname: r\nconf:\n  http:\n  - &h\n    mirrors:\n    - &m\n      requestHeaders:\n        add:\n        - &a {name: x}\n" +
		strings.Repeat("        - *a\n", 999) + strings.Repeat("    - *m\n", 999) + strings.Repeat("  - *h\n", 999)
}

// mergeLaughs doubles thirty times.
func mergeLaughs() string {
	text := "{type: Mesh, name: m, annotations: [&a0 {k: v}"
	for i := range 30 {
		text += fmt.Sprintf(", &a%d {<<: [*a%d, *a%d]}", i+1, i, i)
	}
	return text + "], labels: {<<: *a30}}"
}

// fieldsOf lists the fields of a message, by name.
func fieldsOf(m proto.Message) string {
	fields := m.ProtoReflect().Descriptor().Fields()
	names := make([]string, fields.Len())
	for i := range names {
		names[i] = fields.Get(i).JSONName()
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
