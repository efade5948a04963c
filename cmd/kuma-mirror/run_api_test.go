package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("the routes of the API's server", func() {
	var routes apiRoutes

	BeforeEach(func() {
		routes = apiRoutes{
			rest: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusTeapot)
			}),
			level: &slog.LevelVar{}, log: slog.New(slog.DiscardHandler), ready: &atomic.Bool{},
		}
	})
	ask := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		routes.handler().ServeHTTP(w, httptest.NewRequest(method, "http://localhost"+path, strings.NewReader("")))
		return w
	}

	It("say whether Envoys can be served", func() {
		Expect(ask("GET", "/healthz").Code).To(Equal(200))
		Expect(ask("GET", "/readyz").Code).To(Equal(503))
		routes.ready.Store(true)
		Expect(ask("GET", "/readyz").Code).To(Equal(200))
		Expect(ask("HEAD", "/readyz").Code).To(Equal(200))
	})

	It("have profiles where they are wanted alone", func() {
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline"} {
			routes.profiles = false
			Expect(ask("GET", path).Code).To(Equal(http.StatusTeapot))
			routes.profiles = true
			Expect(ask("GET", path).Code).To(Equal(200))
		}
	})

	DescribeTable("leave the rest to the API, and paths as they are", func(path string) {
		Expect(ask("GET", path).Code).To(Equal(http.StatusTeapot))
	},
		Entry(nil, "/"),
		Entry(nil, "/meshes/default"),
		Entry(nil, "/backup"),
		Entry("without metrics", "/metrics"),
		Entry("not clean", "//healthz"),
		Entry("not clean", "/healthz/"),
		Entry("not clean", "/meshes/../healthz"),
	)

	It("name the methods of a path", func() {
		w := ask("DELETE", "/log-level")
		Expect(w.Code).To(Equal(405))
		Expect(w.Header().Get("Allow")).To(Equal("GET, PUT"))
		Expect(w.Body.String()).To(ContainSubstring("DELETE is not a method of this path; allowed: GET, PUT"))
	})
})
