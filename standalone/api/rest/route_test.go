package rest

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("paths and methods", func() {
	DescribeTable("that are not there are answered as errors",
		func(method, path string, status int) {
			got := newWorld(setup{}).do(method, path, nil)
			Expect(got.status).To(Equal(status))
			got.problem()
			if status == http.StatusMethodNotAllowed {
				Expect(got.header).To(HaveKey("Allow"))
			}
		},
		Entry("a path", http.MethodGet, "/nope", http.StatusNotFound),
		Entry("a type that only Kuma has", http.MethodGet, "/meshes/default/meshtimeouts", http.StatusNotFound),
		Entry("a part of a path", http.MethodGet, "/meshes/default/traffic-routes/a/b", http.StatusNotFound),
		Entry("an empty segment", http.MethodGet, "/meshes//traffic-routes", http.StatusNotFound),
		Entry("the directory above", http.MethodGet, "/meshes/../meshes", http.StatusNotFound),
		Entry("the directory above, escaped", http.MethodGet, "/meshes/%2e%2e/meshes", http.StatusNotFound),
		Entry("the same directory", http.MethodPut, "/meshes/./default", http.StatusNotFound),
		Entry("a slash in a name", http.MethodGet, "/meshes/default/traffic-routes/a%2fb", http.StatusNotFound),
		Entry("a directory above in a name", http.MethodGet, "/meshes/default/traffic-routes/..%2f..%2fdefault", http.StatusNotFound),
		Entry("a directory above to write", http.MethodPut, "/meshes/default/dataplanes/%2e%2e%2fx", http.StatusNotFound),
		Entry("a zero byte", http.MethodGet, "/meshes/%00", http.StatusNotFound),
		Entry("what is not UTF-8", http.MethodGet, "/meshes/%ff", http.StatusNotFound),
		Entry("POST of a list", http.MethodPost, "/meshes", http.StatusMethodNotAllowed),
		Entry("PATCH", http.MethodPatch, "/meshes/default", http.StatusMethodNotAllowed),
		Entry("TRACE", http.MethodTrace, "/", http.StatusMethodNotAllowed),
		Entry("a method that nobody has heard of", "BREW", "/meshes", http.StatusMethodNotAllowed),
		Entry("PUT of an overview", http.MethodPut, "/meshes/default/dataplanes/_overview", http.StatusMethodNotAllowed),
		Entry("GET of what takes POST", http.MethodGet, "/apply", http.StatusMethodNotAllowed),
	)

	It("are no resources that are missing", func() {
		w := newWorld(setup{})
		for _, path := range []string{"/nope", "/meshes/default/meshtimeouts/a", "/meshes//traffic-routes"} {
			Expect(w.get(path).problem().Missing).To(BeEmpty(), path)
		}
	})

	It("take a slash at the end, as Kuma's do", func() {
		w := newWorld(setup{})
		Expect(names(w.get("/meshes/"))).To(Equal([]string{"default"}))
		Expect(w.get("/meshes/default/").status).To(Equal(http.StatusOK))
		Expect(w.get("/meshes//").status).To(Equal(http.StatusNotFound))
	})

	DescribeTable("tell their methods",
		func(path, allow string) {
			w := newWorld(setup{})
			got := w.do(http.MethodOptions, path, nil)
			Expect(got.status).To(Equal(http.StatusNoContent))
			Expect(got.header.Get("Allow")).To(Equal(allow))
			Expect(w.do(http.MethodPatch, path, nil).header.Get("Allow")).To(Equal(allow))
		},
		Entry("lists", "/meshes", "GET, HEAD, OPTIONS"),
		Entry("items", "/meshes/default/dataplanes/web", "DELETE, GET, HEAD, OPTIONS, PUT"),
		Entry("apply", "/apply", "OPTIONS, POST"),
	)
})
