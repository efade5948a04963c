package generator_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/generator"
)

var _ = DescribeTable("what could be the name of a mirror cluster",
	func(id generator.Identity) {
		Expect(generator.CouldBeName(id.ClusterName())).To(BeTrue(), id.ClusterName())
		Expect(generator.CouldBeName(id.DistinctClusterName())).To(BeTrue(), id.DistinctClusterName())
		Expect(generator.CouldBeName(id.Tags.ClusterName())).To(BeFalse(), "the destination's ordinary cluster")
	},
	Entry("a service", generator.Identity{Tags: api.Tags{api.ServiceTag: "shadow"}, Limits: generator.DefaultLimits}),
	Entry("a version", generator.Identity{Tags: api.Tags{api.ServiceTag: "shadow", "version": "v2"}, Limits: generator.DefaultLimits}),
	Entry("a name", generator.Identity{Tags: api.Tags{api.ServiceTag: "shadow"}, Name: "canary", Limits: generator.DefaultLimits}),
	Entry("other limits", generator.Identity{Tags: api.Tags{api.ServiceTag: "shadow"}}),
)
