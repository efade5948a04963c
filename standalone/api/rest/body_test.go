package rest

import (
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

var _ = Describe("the memory of all bodies", func() {
	ask := func(w *world, body string) []answer {
		GinkgoHelper()
		return []answer{
			w.do(http.MethodPost, "/plan", body), w.do(http.MethodPost, "/apply", body),
			w.do(http.MethodPut, "/meshes/shop", body),
		}
	}

	It("is taken before anything is parsed, and nobody waits for it", func() {
		w := newWorld(setup{})
		const mesh = "type: Mesh\nname: shop\n"
		Expect(w.server.memory.TryAcquire(maxMemory - api.ParseCost([]byte(mesh)))).To(BeTrue())
		for _, got := range ask(w, mesh) {
			Expect(got.status).To(Equal(http.StatusServiceUnavailable), got.body)
			Expect(got.header.Get("Retry-After")).To(Equal("1"))
			Expect(got.problem().Detail).To(ContainSubstring("take all the memory"))
		}
		w.server.memory.Release(maxMemory - api.ParseCost([]byte(mesh)))
		for _, got := range ask(w, mesh) {
			Expect(got.status).To(Or(Equal(http.StatusOK), Equal(http.StatusCreated)), got.body)
		}
		Expect(w.server.memory.TryAcquire(maxMemory)).To(BeTrue(), "all of it is given back")
	})

	It("is enough for the most costly body, and a more costly one is refused", func() {
		w := newWorld(setup{})
		for _, got := range ask(w, strings.Repeat("-\n", api.MaxInputBytes/2)) {
			Expect(got.status).To(Equal(http.StatusBadRequest), got.body)
			Expect(got.problem().InvalidParameters[0].Reason).To(ContainSubstring("divide it"))
		}
		Expect(w.server.memory.TryAcquire(maxMemory)).To(BeTrue(), "all of it is given back")
	})
})
