package promise_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

// patience is how much longer the primary may wait on a busy machine. Where a
// mirror holds it up, that is close to a minute, or for good.
const patience = 5 * time.Second

const toCollector = "mirror: {destination: {kuma.io/service: collector}}\n"

// external is the collector, an ExternalService at an address.
func external(address, more string) map[string]string {
	return map[string]string{"collector.yaml": fmt.Sprintf(`
type: ExternalService
name: collector
tags: {kuma.io/service: collector, kuma.io/protocol: http}
networking:
  address: %s
%s`, address, more)}
}

// faults by what is wrong.
func faults() map[string]fault {
	unresolved := external("collector.example:80", "")
	return map[string]fault{
		"the shadow's name server does not answer": {toCollector, unresolved, true, nil},
		"the shadow's name does not exist":         {toCollector, unresolved, true, refusing(dnsmessage.RCodeNameError)},
		"the shadow's name server fails":           {toCollector, unresolved, true, refusing(dnsmessage.RCodeServerFailure)},
		"the shadow's name server is slow":         {toCollector, unresolved, true, slow},
	}
}

var _ = Describe("the primary", func() {
	for _, version := range envoytest.Versions() {
		for _, protocol := range []ads.Protocol{ads.Delta, ads.StateOfTheWorld} {
			Context(fmt.Sprintf("of Envoy %s over %s", version, protocol), func() {
				for name, f := range faults() {
					It("changes and starts as without a mirror where "+name, func(ctx SpecContext) {
						got := run(ctx, GinkgoTB(), version, protocol, f)
						Expect(got.questions > 0).To(Equal(f.named), "Envoys ask for the shadow's name")
						Expect(got.failed).To(BeEmpty())
						Expect(got.change).To(BeNumerically("<", patience), "a change in the edit that adds the mirror")
						Expect(got.other).To(BeNumerically("<", patience), "a later change of another outbound")
						Expect(got.restart).To(BeNumerically("<", patience), "the start of an Envoy")
					}, SpecTimeout(2*time.Minute))
				}
			})
		}
	}
})
