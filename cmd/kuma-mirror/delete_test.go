package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("kuma-mirror delete", func() {
	var h *apiHost
	BeforeEach(func(ctx SpecContext) {
		h = startAPI("")
		h.applied(ctx, webAndBackend+"---\n"+toV2+"---\n"+shopMesh)
	})

	remove := func(ctx SpecContext, stdin string, args ...string) ran {
		return h.run(ctx, newDeleteCommand(), stdin, args...)
	}

	It("removes by name", func(ctx SpecContext) {
		r := remove(ctx, "", "traffic-route", "backend")
		Expect(r.code).To(Equal(exitOK), r.stderr)
		Expect(r.stdout).To(Equal("TrafficRoute \"backend\" in mesh \"default\" deleted\n"))
		Expect(h.exported(ctx)).NotTo(ContainSubstring("mesh: default\nname: backend\nsources"))
		r = remove(ctx, "", "dp", "web", "backend", "-o", "json")
		Expect(r.stdout).To(MatchJSON(`[{"kind": "Dataplane", "mesh": "default", "name": "web", "result": "deleted"},
			{"kind": "Dataplane", "mesh": "default", "name": "backend", "result": "deleted"}]`))
	})

	It("removes what files name, a whole mesh among it", func(ctx SpecContext) {
		r := remove(ctx, "", "-f", fileOf(shopMesh))
		Expect(r.code).To(Equal(exitOK), r.stderr)
		Expect(r.stdout).To(Equal(`Mesh "shop" deleted
ExternalService "bank" in mesh "shop" deleted
Dataplane "till" in mesh "shop" deleted
TrafficRoute "bank" in mesh "shop" deleted
`))
		Expect(h.exported(ctx)).NotTo(ContainSubstring("shop"))
	})

	It("names what is not there, and then removes nothing", func(ctx SpecContext) {
		before := h.exported(ctx)
		r := remove(ctx, "", "tr", "backend", "other", "third")
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stderr).To(Equal("Error: nothing is deleted: there is no TrafficRoute \"other\" in mesh \"default\", no TrafficRoute \"third\" in mesh \"default\"\n"))
		Expect(h.exported(ctx)).To(Equal(before))

		r = remove(ctx, "", "tr", "backend", "other", "--ignore-not-found")
		Expect(r.code).To(Equal(exitOK), r.stderr)
		Expect(r.stdout).To(Equal("TrafficRoute \"backend\" in mesh \"default\" deleted\n"))
		r = remove(ctx, "", "tr", "backend", "--ignore-not-found")
		Expect(r.code).To(Equal(exitOK), "all of it is gone already")
		Expect(r.stdout).To(BeEmpty())
	})

	It("does not take another server's 404 for a resource that is gone", func(ctx SpecContext) {
		before := h.exported(ctx)
		for _, path := range []string{"/wrong/prefix", "/meshes"} {
			r := runAlone(ctx, newDeleteCommand(), "", "tr", "backend", "--ignore-not-found", "--address", h.address+path)
			Expect(r.code).To(Equal(exitFailed))
			Expect(r.stderr).To(And(ContainSubstring("There is no such path"), ContainSubstring("--address")))
		}
		server := httptest.NewServer(http.NotFoundHandler())
		DeferCleanup(server.Close)
		r := runAlone(ctx, newDeleteCommand(), "", "tr", "backend", "--ignore-not-found", "--address", server.URL)
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stderr).To(ContainSubstring("see whether that is the address of a kuma-mirror host"))
		Expect(h.exported(ctx)).To(Equal(before))
	})

	It("removes more than a URL could name", func(ctx SpecContext) {
		var many, results strings.Builder
		for i := range 500 {
			fmt.Fprintf(&many, "type: Mesh\nname: a-mesh-with-quite-a-long-name-%03d\n---\n", i)
			fmt.Fprintf(&results, "Mesh \"a-mesh-with-quite-a-long-name-%03d\" deleted\n", i)
		}
		before := h.exported(ctx)
		h.applied(ctx, many.String())
		r := remove(ctx, many.String(), "-f", "-")
		Expect(r.code).To(Equal(exitOK), r.stderr)
		Expect(r.stdout).To(Equal(results.String()))
		Expect(h.exported(ctx)).To(Equal(before))
	})

	It("does not remove a mesh with data planes", func(ctx SpecContext) {
		r := remove(ctx, "", "mesh", "shop")
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stderr).To(ContainSubstring(`till`))
	})

	It("wants files that can be read", func(ctx SpecContext) {
		r := remove(ctx, "type: Pod\n", "-f", "-")
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stderr).To(ContainSubstring("Error: nothing is deleted: "))
	})

	It("shows what would change with --dry-run", func(ctx SpecContext) {
		before := h.exported(ctx)
		r := remove(ctx, toV2, "-f", "-", "--dry-run", "--diff=false")
		Expect(r.code).To(Equal(exitOK), r.stderr)
		Expect(r.stdout).To(Equal(`TrafficRoute "backend" in mesh "default" deleted (dry run)

Data plane "web" in mesh "default"
  changed  route      outbound:backend
  removed  cluster    backend-5b73b3f4adf20020_mirror
  removed  endpoints  backend-5b73b3f4adf20020_mirror
  mirrors
    TrafficRoute "backend"  conf.mirror  outbound:127.0.0.1:10001  10 % to kuma.io/service=backend,version=v2 -> none

1 data plane would get another configuration; nothing has been changed.
`))
		Expect(h.exported(ctx)).To(Equal(before))
		r = remove(ctx, "", "tr", "other", "--dry-run", "--ignore-not-found")
		Expect(r.code).To(Equal(exitOK))
		Expect(r.stdout).To(HaveSuffix("No data plane's Envoy would get another configuration.\n"))
	})
})
