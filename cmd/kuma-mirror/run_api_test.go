package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/getkin/kin-openapi/openapi3"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
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

	It("count what is not in use as it is written where that is asked for, and are ready nevertheless", func() {
		routes.ready.Store(true)
		routes.stale = func() []status.Stale {
			return []status.Stale{{Kind: status.StaleFile, Name: "secret/path.yaml", Problems: []string{"secret"}}, {Kind: status.StaleFile}, {Kind: status.StaleDataplane}}
		}
		answer := ask("GET", "/readyz?verbose")
		Expect(answer.Code).To(Equal(200))
		Expect(answer.Body.String()).To(Equal("[-] files: 2 not in use as written; kuma-mirror status says why\n" +
			"[+] resources ok\n" +
			"[-] dataplanes: 1 not in use as written; kuma-mirror status says why\n" +
			"ready\n"))
		Expect(ask("GET", "/readyz").Body.String()).To(Equal("ready\n"))
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
		Expect(w.Header().Get("Allow")).To(Equal("GET, HEAD, OPTIONS, PUT"))
		Expect(w.Body.String()).To(ContainSubstring("DELETE is not a method of this path; allowed: GET, HEAD, OPTIONS, PUT"))
		w = ask("OPTIONS", "/log-level")
		Expect(w.Code).To(Equal(204))
		Expect(w.Header().Get("Allow")).To(Equal("GET, HEAD, OPTIONS, PUT"))
	})

	It("are those of the OpenAPI document", func() {
		doc, err := openapi3.NewLoader().LoadFromFile("../../standalone/api/rest/openapi.yaml")
		Expect(err).NotTo(HaveOccurred())
		routes.metrics = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		operations := 0
		for path, item := range doc.Paths.Map() {
			var methods []string
			for method, operation := range item.Operations() {
				if slices.Contains(operation.Tags, "operations") {
					methods = append(methods, method)
				}
			}
			if len(methods) == 0 {
				continue
			}
			operations += len(methods)
			for _, method := range methods {
				Expect(ask(method, path).Code).NotTo(BeElementOf(http.StatusTeapot, http.StatusMethodNotAllowed), "%s %s", method, path)
			}
			methods = append(methods, http.MethodHead, http.MethodOptions)
			Expect(strings.Split(ask("OPTIONS", path).Header().Get("Allow"), ", ")).To(ConsistOf(methods), path)
		}
		Expect(operations).To(Equal(5))
	})
})
