package rest

import (
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("a backup", func() {
	It("brings back what there was, on another host too", func() {
		w := newWorld(setup{})
		w.has(shop)
		backup := w.get("/backup")
		Expect(backup.status).To(Equal(http.StatusOK))
		Expect(backup.header.Get("Content-Type")).To(Equal("application/octet-stream"))
		Expect(backup.header.Get("Content-Disposition")).To(ContainSubstring("attachment"))
		route := w.get("/meshes/default/traffic-routes/backend")

		for _, w := range []*world{w, newWorld(setup{})} {
			w.has("type: Mesh\nname: later")
			Expect(w.do(http.MethodPost, "/restore", strings.NewReader(backup.body)).status).To(Equal(http.StatusOK))
			Expect(names(w.get("/meshes"))).To(Equal([]string{"default", "shop"}))
			Expect(w.get("/meshes/default/traffic-routes/backend").body).To(Equal(route.body))
		}
	})

	It("that is none changes nothing", func() {
		w := newWorld(setup{})
		w.has(shop)
		whole := w.get("/backup").body
		for name, backup := range map[string]string{
			"empty":   "",
			"text":    "type: Mesh\nname: m\n",
			"cut off": whole[:len(whole)/2],
			"changed": strings.Replace(whole, "collector", "collectox", 1),
		} {
			got := w.do(http.MethodPost, "/restore", strings.NewReader(backup))
			Expect(got.status).To(Equal(http.StatusBadRequest), name)
			got.problem()
		}
		Expect(names(w.get("/meshes"))).To(Equal([]string{"default", "shop"}))
		Expect(w.do(http.MethodPost, "/restore", "type: Mesh\nname: m\n").status).To(Equal(http.StatusUnsupportedMediaType))
	})
})
