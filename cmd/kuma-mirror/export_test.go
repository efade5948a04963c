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

	It("gives a kind, a mesh or both, so that what is too much for one apply goes in parts", func(ctx SpecContext) {
		h := startAPI("")
		h.applied(ctx, toV2+"---\n"+webAndBackend+"---\n"+shopMesh)
		part := func(args ...string) string {
			GinkgoHelper()
			r := h.run(ctx, newExportCommand(), "", args...)
			Expect(r.code).To(Equal(exitOK), r.stderr)
			return r.stdout
		}
		Expect(part("meshes")).To(Equal("type: Mesh\nname: shop\n"))
		Expect(part("-m", "shop")).To(HavePrefix("type: Mesh\nname: shop\n---\ntype: Dataplane\nmesh: shop\nname: till\n"))
		Expect(part("-m", "default")).NotTo(Or(ContainSubstring("shop"), ContainSubstring("type: Mesh\n")), "nobody wrote that Mesh")
		Expect(part("dp", "-m", "shop")).To(And(HavePrefix("type: Dataplane\nmesh: shop\nname: till\n"), Not(ContainSubstring("---"))))
		Expect(part("es", "-m", "default")).To(BeEmpty())

		other := startAPI("")
		for _, args := range [][]string{{"meshes"}, {"dataplanes"}, {"external-services"}, {"traffic-routes"}} {
			other.applied(ctx, part(args...))
		}
		Expect(other.exported(ctx)).To(Equal(h.exported(ctx)))
		byMesh := startAPI("")
		byMesh.applied(ctx, part("-m", "default"))
		byMesh.applied(ctx, part("-m", "shop"))
		Expect(byMesh.exported(ctx)).To(Equal(h.exported(ctx)))

		for _, args := range [][]string{{"-m", "nope"}, {"dp", "-m", "nope"}} {
			r := h.run(ctx, newExportCommand(), "", args...)
			Expect(r.code).To(Equal(exitFailed))
			Expect(r.stderr).To(Equal("Error: there is no Mesh \"nope\"\n"))
		}
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
