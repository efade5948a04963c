package v1alpha1_test

import (
	"errors"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

var _ = Describe("Violations", func() {
	DescribeTable("print what they know", func(v api.Violation, want string) {
		Expect(v.String()).To(Equal(want))
	},
		Entry("all", api.Violation{Source: "f", Object: "o", Path: "p", Message: "m"}, "f: o: p: m"),
		Entry("little", api.Violation{Message: "m"}, "m"),
	)

	It("print one a line and are found in a wrapped error", func() {
		err := fmt.Errorf("load: %w", api.Violations{{Path: "a", Message: "1"}, {Path: "b", Message: "2"}}.OrNil())
		Expect(err).To(MatchError("load: a: 1\nb: 2"))
		var violations api.Violations
		Expect(errors.As(err, &violations)).To(BeTrue())
		Expect(violations).To(HaveLen(2))
	})

	It("are no error where there are none", func() {
		Expect(api.Violations{}.OrNil()).To(Succeed())
	})

	It("sort by source, object and path and otherwise keep their order", func() {
		unsorted := api.Violations{
			{Source: "b", Message: "5"},
			{Source: "a", Object: "y", Message: "4"},
			{Source: "a", Object: "x", Path: "q", Message: "2"},
			{Source: "a", Object: "x", Path: "q", Message: "3"},
			{Source: "a", Object: "x", Path: "p", Message: "1"},
		}
		var order string
		for _, v := range unsorted.Sorted() {
			order += v.Message
		}
		Expect(order).To(Equal("12345"))
		Expect(unsorted[0].Message).To(Equal("5"), "the original stays as it was")
	})
})

var _ = Describe("Path", func() {
	It("goes through messages, lists and maps", func() {
		Expect(api.Path("spec").Field("")).To(Equal(api.Path("spec")))
		Expect(api.Path("spec").Field("conf.http[0]").Field("match")).To(Equal(api.Path("spec.conf.http[0].match")))
		Expect(api.Path("").Field("conf").Field("http").Index(0).Field("destination").Key("kuma.io/service")).
			To(BeEquivalentTo(`conf.http[0].destination["kuma.io/service"]`))
	})
})

var _ = Describe("Key", func() {
	It("names the resource", func() {
		Expect(api.Key{Kind: api.KindTrafficRoute, Mesh: "shop", Name: "web"}.String()).To(Equal(`TrafficRoute "web" in mesh "shop"`))
		Expect(api.Key{Kind: api.KindMesh, Name: "shop"}.String()).To(Equal(`Mesh "shop"`))
	})
})
