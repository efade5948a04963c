package v1alpha1_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

var _ = Describe("Tags", func() {
	DescribeTable("name the cluster as Kuma does", func(tags api.Tags, name string) {
		Expect(tags.ClusterName()).To(Equal(name))
	},
		Entry("the service alone", api.Tags{"kuma.io/service": "backend"}, "backend"),
		// Names that kuma-cp 2.14.3 served: testdata/kuma-2.14.3.
		Entry("with a version", api.Tags{"version": "v2", "kuma.io/service": "backend"}, "backend-5b73b3f4adf20020"),
		Entry("with another version", api.Tags{"kuma.io/service": "backend", "version": "v1"}, "backend-154693772bc47249"),
	)

	DescribeTable("match", func(tags api.Tags, of map[string]string, want bool) {
		Expect(tags.Matches(of)).To(Equal(want))
	},
		Entry("the same value", api.Tags{"a": "1"}, map[string]string{"a": "1", "b": "2"}, true),
		Entry("no other value", api.Tags{"a": "1"}, map[string]string{"a": "2"}, false),
		Entry("any value for '*'", api.Tags{"a": "*"}, map[string]string{"a": "2"}, true),
		Entry("no absent tag for '*'", api.Tags{"a": "*"}, map[string]string{"b": "2"}, false),
		Entry("all of several", api.Tags{"a": "1", "b": "2"}, map[string]string{"a": "1"}, false),
		Entry("everything where empty", api.Tags{}, map[string]string{"a": "1"}, true),
	)

	DescribeTable("resolve for an outbound", func(tags api.Tags, outbound map[string]string, want api.Tags) {
		Expect(tags.Resolve(outbound)).To(Equal(want))
	},
		Entry("'*' takes its value", api.Tags{"kuma.io/service": "*"}, map[string]string{"kuma.io/service": "b"}, api.Tags{"kuma.io/service": "b"}),
		Entry("'*' goes where it has none", api.Tags{"kuma.io/service": "b", "version": "*"}, nil, api.Tags{"kuma.io/service": "b"}),
		Entry("its further tags are added", api.Tags{"kuma.io/service": "b"}, map[string]string{"version": "v1"}, api.Tags{"kuma.io/service": "b", "version": "v1"}),
		Entry("its values do not replace", api.Tags{"version": "v2"}, map[string]string{"version": "v1"}, api.Tags{"version": "v2"}),
	)

	It("leave what they resolve from as it was", func() {
		tags, outbound := api.Tags{"a": "*"}, map[string]string{"a": "1"}
		tags.Resolve(outbound)["b"] = "2"
		Expect(tags).To(Equal(api.Tags{"a": "*"}))
		Expect(outbound).To(Equal(map[string]string{"a": "1"}))
	})

	It("print sorted", func() {
		Expect(api.Tags{"version": "v1", "kuma.io/service": "b"}.String()).To(Equal("kuma.io/service=b,version=v1"))
		Expect(api.Tags{}.String()).To(BeEmpty())
	})
})
