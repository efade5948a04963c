package kuma

import (
	"fmt"

	"github.com/kumahq/kuma/v2/pkg/core/kri"
	core_xds "github.com/kumahq/kuma/v2/pkg/core/xds"
	xds_types "github.com/kumahq/kuma/v2/pkg/core/xds/types"
	"github.com/kumahq/kuma/v2/pkg/plugins/policies/core/rules"
	meshhttproute "github.com/kumahq/kuma/v2/pkg/plugins/policies/meshhttproute/api/v1alpha1"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	mesh_proto "github.com/kumahq/kuma/v2/api/mesh/v1alpha1"

	"github.com/kuma-mirror/kuma-mirror/plugin"
)

var _ = Describe("an outbound that Kuma does not route because of a TrafficRoute", func() {
	var w *world
	BeforeEach(func() {
		w = newWorld()
		w.service("backend", 10001, "v1")
		w.service("other", 10002, "v1")
		w.apply("route", `{destination: {kuma.io/service: backend}}`)
	})
	onlyBackend := func() {
		w.routes[0].Spec.Destinations = []*mesh_proto.Selector{{Match: map[string]string{"kuma.io/service": "backend"}}}
	}
	apply := func() {
		GinkgoHelper()
		Expect(w.policy.Apply(core_xds.NewResourceSet(), w.ctx, w.proxy)).To(Succeed())
	}

	It("is warned of and counted, until some TrafficRoute matches it", func() {
		onlyBackend()
		w.generate()
		apply()
		apply()
		Expect(w.logged).To(ConsistOf(And(ContainSubstring(`Dataplane \"client\"`),
			ContainSubstring("1 outbounds have no route, because no TrafficRoute matches them: other"))))
		Expect(w.policy.stranded.States()).To(Equal(map[plugin.State]int{noTrafficRoute: 1}))

		w.apply("route", `{destination: {kuma.io/service: '*'}}`)
		w.generate()
		apply()
		Expect(w.logged).To(HaveLen(2))
		Expect(w.logged[1]).To(ContainSubstring("no longer so"))
		Expect(w.policy.stranded.States()).To(BeEmpty())
	})

	It("is warned of where it is to a MeshService, a few by name", func() {
		w.generate()
		for i := range 7 {
			w.proxy.Outbounds = append(w.proxy.Outbounds, &xds_types.Outbound{
				Port: uint32(20000 + i), Resource: kri.Identifier{ResourceType: "MeshService", Mesh: "default", Name: fmt.Sprintf("ms-%d", i)},
			})
		}
		apply()
		Expect(w.logged).To(ConsistOf(And(ContainSubstring("7 outbounds have no listener"), ContainSubstring("ms-0, ms-1, ms-2, ms-3, ms-4 and 2 more"))))
		Expect(w.policy.stranded.States()).To(Equal(map[plugin.State]int{meshService: 7}))
	})

	It("is none in a mesh without TrafficRoutes", func() {
		w.routes = nil
		w.generate()
		apply()
		Expect(w.logged).To(BeEmpty())
	})

	It("is none where a MeshHTTPRoute applies, since Kuma then goes by that", func() {
		onlyBackend()
		w.generate()
		w.proxy.Policies.Dynamic[meshhttproute.MeshHTTPRouteType] = core_xds.TypedMatchingPolicies{ToRules: rules.ToRules{Rules: rules.Rules{{}}}}
		apply()
		Expect(w.logged).To(BeEmpty())
	})
})
