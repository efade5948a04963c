package client_test

import (
	"encoding/json"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
)

var _ = Describe("mirrors", func() {
	// two pages, by path.
	pages := func(path string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.EscapedPath() != path {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			page := map[string]any{"items": []status.Mirror{{Policy: "first"}}, "next": "http://elsewhere" + path + "?offset=1"}
			if r.URL.Query().Get("offset") == "1" {
				page = map[string]any{"items": []status.Mirror{{Policy: "second"}}, "next": nil}
			}
			_ = json.NewEncoder(w).Encode(page)
		}
	}
	both := HaveExactElements(HaveField("Policy", "first"), HaveField("Policy", "second"))

	It("are those of all pages, of a mesh or of all", func(ctx SpecContext) {
		Expect(serve(pages("/mirrors")).Mirrors(ctx, "")).To(both)
		Expect(serve(pages("/meshes/a%2Fb/mirrors")).Mirrors(ctx, "a/b")).To(both)
	})

	It("are those of a data plane", func(ctx SpecContext) {
		Expect(serve(pages("/meshes/m/dataplanes/d/mirrors")).InspectMirrors(ctx, "m", "d")).To(both)
	})

	It("are none rather than nothing", func(ctx SpecContext) {
		mirrors, err := serve(answer(http.StatusOK, "application/json", `{"items": []}`)).Mirrors(ctx, "")
		Expect(err).NotTo(HaveOccurred())
		Expect(mirrors).To(Equal([]status.Mirror{}))
	})

	It("are not read without end", func(ctx SpecContext) {
		_, err := serve(answer(http.StatusOK, "application/json", `{"items": [], "next": "/mirrors"}`)).Mirrors(ctx, "")
		Expect(err).To(MatchError(ContainSubstring("cannot be followed")))
	})
})
