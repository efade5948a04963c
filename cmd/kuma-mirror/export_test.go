package main

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("kuma-mirror export", func() {
	It("gives everything in an order that can be applied, on itself without effect", func(ctx SpecContext) {
		h := startAPI("")
		h.applied(ctx, toV2+"---\n"+webAndBackend+"---\n"+shopMesh)
		out := h.exported(ctx)
		Expect(strings.Count("\n"+out, "\ntype: ")).To(Equal(7))
		Expect(out).To(HavePrefix("type: Mesh\nname: shop\n---\ntype: Dataplane\nmesh: default\nname: backend\n"))
		Expect(out).NotTo(ContainSubstring("Time:"))
		Expect(strings.Split(strings.TrimSpace(h.applied(ctx, out)), "\n")).To(And(HaveLen(7), HaveEach(HaveSuffix(" unchanged"))))

		other := startAPI("")
		other.applied(ctx, out)
		Expect(other.exported(ctx)).To(Equal(out))

		asJSON := h.run(ctx, newExportCommand(), "", "-o", "json")
		Expect(asJSON.code).To(Equal(exitOK), asJSON.stderr)
		third := startAPI("")
		third.applied(ctx, asJSON.stdout)
		Expect(third.exported(ctx)).To(Equal(out))
	})

	It("tells what comes from files from what was written over the API", func(ctx SpecContext) {
		h := startAPI(webAndBackend)
		h.applied(ctx, toV2)
		all := h.exported(ctx)
		written := h.run(ctx, newExportCommand(), "", "--source", "api").stdout
		Expect(h.run(ctx, newExportCommand(), "", "--source", "files").stdout + "---\n" + written).To(Equal(all))
		Expect(h.applied(ctx, written)).To(Equal("TrafficRoute \"backend\" in mesh \"default\" unchanged\n"))
	})
})
