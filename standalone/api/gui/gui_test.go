package gui

import (
	"fmt"
	"unsafe"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
)

// named is an active mirror of a data plane.
func named(dataplane string, requests float64) status.Mirror {
	return status.Mirror{Mesh: "default", Dataplane: dataplane, Policy: "p", Outbound: "backend", State: status.Active,
		Window: &status.Window{Seconds: 60, RequestsPerSecond: requests}}
}

var _ = Describe("the history", func() {
	It("keeps the last hour, oldest first", func() {
		var h history
		for i := range points + 10 {
			h.add([]status.Mirror{named("web", float64(i))})
		}
		all := h.of(keyOf(named("web", 0)))
		Expect(all).To(HaveLen(points))
		Expect(all[0].requests).To(BeEquivalentTo(10))
		Expect(all[points-1].requests).To(BeEquivalentTo(points + 9))
	})

	It("has bounds, and forgets what is gone", func() {
		var h history
		var many []status.Mirror
		for i := range maxSeries + 5 {
			many = append(many, named(fmt.Sprint(i), 1))
		}
		h.add(many)
		Expect(h.series).To(HaveLen(maxSeries))
		Expect(int(unsafe.Sizeof(series{}))).To(BeNumerically("<=", 9000), "docs/gui.md says how much it is")
		h.add(many[:1])
		Expect(h.series).To(HaveLen(1))
	})

	It("has gaps where nothing is known", func() {
		drawn := charts([]point{{known: true, requests: 1}, {}, {known: true, requests: 2}})
		Expect(drawn[1].Lines[0].Path).To(MatchRegexp(`^M\S+ \S+h0M\S+ \S+h0$`))
	})
})

var _ = Describe("the graph", func() {
	It("has bounds, and says what it leaves out", func() {
		var many []status.Mirror
		for i := range maxEdges + 5 {
			many = append(many, named(fmt.Sprint(i), 1))
		}
		d := draw(many)
		Expect(d.Shown).To(Equal(maxEdges))
		Expect(d.Total).To(Equal(maxEdges + 5))
		Expect(d.Edges).To(HaveLen(2 * maxEdges))
	})
})
