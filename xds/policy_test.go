package xds_test

import (
	"math"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	envoytype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

func percent(p float64) *api.TrafficRoute_Mirror {
	return &api.TrafficRoute_Mirror{Percentage: wrapperspb.Double(p)}
}

var _ = Describe("the mirror policy of a route", func() {
	DescribeTable("gives the exact share with the smallest denominator",
		func(p float64, numerator int, denominator envoytype.FractionalPercent_DenominatorType) {
			fraction := xds.Policy(percent(p), "shadow", "").GetRuntimeFraction()
			Expect(fraction.GetDefaultValue().GetNumerator()).To(BeEquivalentTo(numerator))
			Expect(fraction.GetDefaultValue().GetDenominator()).To(Equal(denominator))
			Expect(fraction.GetRuntimeKey()).To(BeEmpty())
		},
		Entry("50 %", 50.0, 50, envoytype.FractionalPercent_HUNDRED),
		Entry("1 %", 1.0, 1, envoytype.FractionalPercent_HUNDRED),
		Entry("0.5 %", 0.5, 50, envoytype.FractionalPercent_TEN_THOUSAND),
		Entry("90.25 %", 90.25, 9025, envoytype.FractionalPercent_TEN_THOUSAND),
		Entry("12.3456 %", 12.3456, 123456, envoytype.FractionalPercent_MILLION),
		Entry("0.0001 %", 0.0001, 1, envoytype.FractionalPercent_MILLION),
		Entry("99.9999 %", 99.9999, 999999, envoytype.FractionalPercent_MILLION),
	)

	It("is exact for every percentage of four decimals", func() {
		per := map[envoytype.FractionalPercent_DenominatorType]int{
			envoytype.FractionalPercent_HUNDRED:      10_000,
			envoytype.FractionalPercent_TEN_THOUSAND: 100,
			envoytype.FractionalPercent_MILLION:      1,
		}
		for millionths := 1; millionths < 1_000_000; millionths++ {
			value := xds.Policy(percent(float64(millionths)/10_000), "shadow", "").GetRuntimeFraction().GetDefaultValue()
			if got := int(value.GetNumerator()) * per[value.GetDenominator()]; got != millionths {
				Fail("a share of " + value.String() + " is not what was asked")
			}
		}
	})

	It("has no fraction at 100 %, asked for or by default", func() {
		Expect(xds.Policy(percent(100), "shadow", "").GetRuntimeFraction()).To(BeNil())
		Expect(xds.Policy(&api.TrafficRoute_Mirror{}, "shadow", "").GetRuntimeFraction()).To(BeNil())
	})

	It("does not exist at 0 %, so that no Envoy can read it as 100 %", func() {
		Expect(xds.Policy(percent(0), "shadow", "")).To(BeNil())
		Expect(xds.Policy(percent(math.Copysign(0, -1)), "shadow", "")).To(BeNil())
	})

	It("keeps the request's host unless told otherwise", func() {
		policy := xds.Policy(percent(100), "shadow", "")
		Expect(policy.GetCluster()).To(Equal("shadow"))
		Expect(policy.GetDisableShadowHostSuffixAppend()).To(BeTrue())
		Expect(policy.GetHostRewriteLiteral()).To(BeEmpty())
	})

	It("takes the host of an external service", func() {
		Expect(xds.Policy(percent(100), "shadow", "shadow.example").GetHostRewriteLiteral()).To(Equal("shadow.example"))
	})

	It("prefers the host that the mirror names", func() {
		m := percent(100)
		m.Host = &api.TrafficRoute_Mirror_Host{Type: &api.TrafficRoute_Mirror_Host_Value{Value: "other.example"}}
		policy := xds.Policy(m, "shadow", "shadow.example")
		Expect(policy.GetHostRewriteLiteral()).To(Equal("other.example"))
		Expect(policy.GetDisableShadowHostSuffixAppend()).To(BeTrue())
	})

	It("leaves Envoy's -shadow on where the mirror wants it", func() {
		m := percent(100)
		m.Host = &api.TrafficRoute_Mirror_Host{Type: &api.TrafficRoute_Mirror_Host_Suffix{Suffix: true}}
		policy := xds.Policy(m, "shadow", "")
		Expect(policy.GetDisableShadowHostSuffixAppend()).To(BeFalse())
		Expect(policy.GetHostRewriteLiteral()).To(BeEmpty())
	})

	It("changes the headers of the copy: set, append, remove", func() {
		m := percent(100)
		m.RequestHeaders = &api.TrafficRoute_Http_Modify_Headers{
			Add: []*api.TrafficRoute_Http_Modify_Headers_Add{
				{Name: "x-mirrored", Value: "true"},
				{Name: "x-seen", Value: "shadow", Append: true},
			},
			Remove: []*api.TrafficRoute_Http_Modify_Headers_Remove{{Name: "authorization"}},
		}
		mutations := xds.Policy(m, "shadow", "").GetRequestHeadersMutations()
		Expect(mutations).To(HaveLen(4), "the mark is the last")
		Expect(mutations[0].GetAppend().GetHeader().GetKey()).To(Equal("x-mirrored"))
		Expect(mutations[0].GetAppend().GetHeader().GetValue()).To(Equal("true"))
		Expect(mutations[0].GetAppend().GetAppendAction()).To(Equal(core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
		Expect(mutations[1].GetAppend().GetAppendAction()).To(Equal(core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD))
		Expect(mutations[2].GetRemove()).To(Equal("authorization"))
	})

	It("marks the copy, in place of a mark that is there", func() {
		mutations := xds.Policy(percent(1), "shadow", "").GetRequestHeadersMutations()
		Expect(mutations).To(HaveLen(1))
		Expect(mutations[0].GetAppend().GetHeader().GetKey()).To(Equal("x-kuma-mirror-copy"))
		Expect(mutations[0].GetAppend().GetAppendAction()).To(Equal(core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
	})

	It("leaves the mark out where the mirror removes it, in any case", func() {
		m := percent(100)
		m.RequestHeaders = &api.TrafficRoute_Http_Modify_Headers{
			Remove: []*api.TrafficRoute_Http_Modify_Headers_Remove{{Name: "X-Kuma-Mirror-Copy"}},
		}
		mutations := xds.Policy(m, "shadow", "").GetRequestHeadersMutations()
		Expect(mutations).To(HaveLen(1))
		Expect(mutations[0].GetRemove()).To(Equal("X-Kuma-Mirror-Copy"))
	})
})
