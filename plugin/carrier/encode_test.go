package carrier_test

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/proto"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin/carrier"
)

// resource reads a TrafficRoute with this conf, in YAML's flow style.
func resource(conf string) *api.Resource {
	GinkgoHelper()
	resources, err := api.Parse("policy.yaml", []byte(`
type: TrafficRoute
mesh: default
name: r
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: backend}}]
conf: `+conf))
	Expect(err).NotTo(HaveOccurred())
	return resources[0]
}

// spec is that of resource.
func spec(conf string) *api.TrafficRoute {
	GinkgoHelper()
	return resource(conf).Spec.(*api.TrafficRoute)
}

var _ = Describe("Encode", func() {
	DescribeTable("gives",
		func(conf, encoded string) {
			expectSame(encode(spec(conf)), spec(encoded))
		},
		Entry("a mirror of a destination",
			`{destination: {kuma.io/service: backend}, mirror: {destination: {kuma.io/service: shadow}}}`,
			`{split: [
				{weight: 100, destination: {kuma.io/service: backend}},
				{weight: 0, destination: {kuma.io/service: shadow}},
				{weight: 0, destination: {
					kuma.io/service: shadow,
					mirror.kuma-mirror.io/carrier-version: "1",
					mirror.kuma-mirror.io/carrier-primary: destination}}]}`),
		Entry("a mirror of a split, with everything",
			`{destination: {kuma.io/service: backend}, http: [{
				match: {path: {prefix: /a}},
				split: [{weight: 1, destination: {kuma.io/service: backend, version: v1}}, {weight: 0, destination: {kuma.io/service: backend}}],
				mirror: {
					destination: {kuma.io/service: backend, version: v2},
					percentage: 12.3456,
					name: shadow_cluster,
					limits: {maxConcurrentRequests: 64, maxRequestBodyBytes: 0, maxDuration: 1m0.5s},
					requestHeaders: {
						add: [{name: x-mirrored, value: "%REQ(x-user)%: ä", append: true}],
						remove: [{name: authorization}, {name: "x*"}]},
					host: {value: "shadow:8080"}}}]}`,
			`{destination: {kuma.io/service: backend}, http: [{
				match: {path: {prefix: /a}},
				split: [
					{weight: 1, destination: {kuma.io/service: backend, version: v1}},
					{weight: 0, destination: {kuma.io/service: backend}},
					{weight: 0, destination: {kuma.io/service: backend, version: v2}},
					{weight: 0, destination: {
						kuma.io/service: backend,
						version: v2,
						mirror.kuma-mirror.io/carrier-version: "1",
						mirror.kuma-mirror.io/carrier-fields: "11",
						mirror.kuma-mirror.io/percentage: "12.3456",
						mirror.kuma-mirror.io/name: shadow_cluster,
						mirror.kuma-mirror.io/limits.maxConcurrentRequests: "64",
						mirror.kuma-mirror.io/limits.maxRequestBodyBytes: "0",
						mirror.kuma-mirror.io/limits.maxDuration: 60.500s,
						mirror.kuma-mirror.io/requestHeaders.add.0.name: x-mirrored,
						mirror.kuma-mirror.io/requestHeaders.add.0.value: ":25REQ:28x-user:29:25:3a:20:c3:a4",
						mirror.kuma-mirror.io/requestHeaders.add.0.append: "true",
						mirror.kuma-mirror.io/requestHeaders.remove.0.name: authorization,
						mirror.kuma-mirror.io/requestHeaders.remove.1.name: "x:2a",
						mirror.kuma-mirror.io/host.value: "shadow:3a8080"}}]}]}`),
		Entry("several mirrors, and sections with nothing in them",
			`{split: [{weight: 5, destination: {kuma.io/service: backend}}], mirrors: [
				{destination: {kuma.io/service: b}, percentage: 0, limits: {}, requestHeaders: {}},
				{destination: {kuma.io/service: a}, host: {suffix: true}}]}`,
			`{split: [
				{weight: 5, destination: {kuma.io/service: backend}},
				{weight: 0, destination: {kuma.io/service: b}},
				{weight: 0, destination: {
					kuma.io/service: b,
					mirror.kuma-mirror.io/carrier-version: "1",
					mirror.kuma-mirror.io/carrier-fields: "3",
					mirror.kuma-mirror.io/carrier-list: "2",
					mirror.kuma-mirror.io/percentage: "0",
					mirror.kuma-mirror.io/limits: empty,
					mirror.kuma-mirror.io/requestHeaders: empty}},
				{weight: 0, destination: {kuma.io/service: a}},
				{weight: 0, destination: {
					kuma.io/service: a,
					mirror.kuma-mirror.io/carrier-version: "1",
					mirror.kuma-mirror.io/carrier-fields: "1",
					mirror.kuma-mirror.io/carrier-list: "2",
					mirror.kuma-mirror.io/host.suffix: "true"}}]}`),
		Entry("wildcards without an asterisk, but for that of the service",
			`{destination: {kuma.io/service: backend}, mirror: {destination: {kuma.io/service: "*", kuma.io/zone: "*", version: v2}}}`,
			`{split: [
				{weight: 100, destination: {kuma.io/service: backend}},
				{weight: 0, destination: {kuma.io/service: "*", version: v2}},
				{weight: 0, destination: {
					kuma.io/service: "*",
					version: v2,
					mirror.kuma-mirror.io/carrier-version: "1",
					mirror.kuma-mirror.io/carrier-fields: "1",
					mirror.kuma-mirror.io/carrier-primary: destination,
					mirror.kuma-mirror.io/carrier-any/kuma.io/zone: "true"}}]}`),
	)

	It("encodes the entries that have a mirror beside those that are encoded already", func() {
		first := spec(`{destination: {kuma.io/service: backend}, http: [{match: {path: {prefix: /a}}, destination: {kuma.io/service: backend}, mirror: {destination: {kuma.io/service: a}}}]}`)
		both := proto.CloneOf(first)
		both.Conf.Mirror = &api.TrafficRoute_Mirror{Destination: api.Tags{api.ServiceTag: "b"}}
		added := encode(first)
		added.Conf.Mirror = both.Conf.Mirror
		expectSame(encode(added), encode(both))
	})

	It("takes the longest header value there may be", func() {
		policy := spec(`{destination: {kuma.io/service: backend}, mirror: {destination: {kuma.io/service: a}, requestHeaders: {add: [{name: a, value: b}]}}}`)
		policy.Conf.Mirror.RequestHeaders.Add[0].Value = strings.Repeat("%%ä", 4096)
		decoded, problems := carrier.Decode(encode(policy))
		Expect(problems).To(BeEmpty())
		expectSame(decoded, policy)
	})

	DescribeTable("refuses",
		func(conf string, messages ...string) {
			_, err := carrier.Encode(spec(conf))
			Expect(err).To(MatchError(Equal(strings.Join(messages, "\n"))))
		},
		Entry("what is not valid, all of it",
			`{destination: {kuma.io/service: backend}, mirrors: [{destination: {version: v2}}, {destination: {kuma.io/service: a}, percentage: 101}]}`,
			`conf.mirrors[0].destination: the tag "kuma.io/service" is required`,
			`conf.mirrors[1].percentage: is 101; must be 0 to 100`),
		Entry("a shadow with a tag that is reserved",
			`{destination: {kuma.io/service: backend}, mirror: {destination: {kuma.io/service: a, mirror.kuma-mirror.io/name: x}}}`,
			`conf.mirror.destination["mirror.kuma-mirror.io/name"]: is reserved: mirror.kuma-mirror.io/ starts the tags that carry a mirror; name the tag differently`),
		Entry("a mirror beside a carrier",
			`{mirror: {destination: {kuma.io/service: b}}, split: [
				{weight: 1, destination: {kuma.io/service: backend}},
				{weight: 0, destination: {kuma.io/service: a}},
				{weight: 0, destination: {kuma.io/service: a, mirror.kuma-mirror.io/carrier-version: "1"}}]}`,
			`conf.mirror: stands in one entry with a carrier, which is a mirror too: decode the resource, or remove one of the two`),
		Entry("a carrier that is damaged",
			`{split: [
				{weight: 1, destination: {kuma.io/service: backend}},
				{weight: 0, destination: {kuma.io/service: a}},
				{weight: 0, destination: {kuma.io/service: a, mirror.kuma-mirror.io/carrier-version: "2"}}]}`,
			`conf.split[2].destination["mirror.kuma-mirror.io/carrier-version"]: is "2"; this version of kuma-mirror reads "1" only: update it, or encode the policy again with this one`),
	)
})

var _ = Describe("EncodeResource", func() {
	It("keeps what is around the spec, and the original", func() {
		original := resource(`{destination: {kuma.io/service: backend}, mirror: {destination: {kuma.io/service: a}}}`)
		original.Meta.Labels = map[string]string{"kuma.io/origin": "zone"}
		before := proto.CloneOf(original.Spec.(*api.TrafficRoute))

		encoded, err := carrier.EncodeResource(original)
		Expect(err).NotTo(HaveOccurred())
		Expect(carrier.Has(encoded.Spec.(*api.TrafficRoute))).To(BeTrue())
		expectSame(original.Spec.(*api.TrafficRoute), before)

		decoded, violations := carrier.DecodeResource(encoded)
		Expect(violations).To(BeEmpty())
		expectSame(decoded.Spec.(*api.TrafficRoute), before)
		decoded.Spec = original.Spec
		Expect(decoded).To(Equal(original))
	})

	It("leaves other kinds alone", func() {
		mesh := &api.Resource{Kind: api.KindMesh, Meta: api.Meta{Name: "default"}, Spec: &api.Mesh{}}
		Expect(carrier.EncodeResource(mesh)).To(BeIdenticalTo(mesh))
		Expect(carrier.DecodeResource(mesh)).To(BeIdenticalTo(mesh))
	})

	It("names resource, source and path in both forms", func() {
		r := resource(`{destination: {kuma.io/service: backend}, mirror: {destination: {kuma.io/service: a, mirror.kuma-mirror.io/x: x}}}`)
		_, err := carrier.EncodeResource(r)
		Expect(err).To(MatchError(HavePrefix(`policy.yaml: TrafficRoute "r" in mesh "default": conf.mirror.destination["mirror.kuma-mirror.io/x"]: is reserved`)))
		r.Form = api.Kubernetes
		_, err = carrier.EncodeResource(r)
		Expect(err).To(MatchError(HavePrefix(`policy.yaml: TrafficRoute "r" in mesh "default": spec.conf.mirror.destination["mirror.kuma-mirror.io/x"]: is reserved`)))
	})
})
