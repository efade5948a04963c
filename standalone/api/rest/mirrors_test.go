package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
)

var _ = Describe("mirrors", func() {
	It("are listed for a mesh, or for all, in pages", func() {
		var asked []string
		w := newWorld(setup{options: func(o *Options) {
			o.Mirrors = func(_ context.Context, mesh string) ([]status.Mirror, error) {
				asked = append(asked, mesh)
				var all []status.Mirror
				for i := range 5 {
					all = append(all, status.Mirror{Mesh: "default", Policy: fmt.Sprint("p", i), State: status.Active, Shadow: status.Shadow{Tags: api.Tags{}}})
				}
				return all, nil
			}
		}})
		type page struct {
			Total int
			Items []status.Mirror
			Next  *string
		}
		var first, last page
		Expect(json.Unmarshal([]byte(w.get("/meshes/default/mirrors?size=3").body), &first)).To(Succeed())
		Expect(first.Total).To(Equal(5))
		Expect(first.Items).To(HaveLen(3))
		Expect(first.Next).To(HaveValue(Equal(w.url + "/meshes/default/mirrors?offset=3&size=3")))
		Expect(json.Unmarshal([]byte(w.get("/mirrors?offset=3").body), &last)).To(Succeed())
		Expect(last.Items).To(HaveLen(2))
		Expect(last.Items[1].Policy).To(Equal("p4"))
		Expect(last.Next).To(BeNil())
		Expect(asked).To(Equal([]string{"default", ""}))
	})

	It("have every state there is", func() {
		w := newWorld(setup{options: func(o *Options) {
			o.Mirrors = func(context.Context, string) ([]status.Mirror, error) {
				var all []status.Mirror
				for _, state := range status.States() {
					all = append(all, status.Mirror{Mesh: "default", Policy: "p", State: state, Shadow: status.Shadow{Tags: api.Tags{}}})
				}
				return all, nil
			}
		}})
		// The transport holds it against the document.
		Expect(w.get("/mirrors").status).To(Equal(http.StatusOK))
	})

	It("are shown of one data plane, with what Envoy is given", func() {
		var asked []string
		w := newWorld(setup{options: func(o *Options) {
			o.Inspect = func(_ context.Context, mesh, dataplane string, start, size int) ([]status.Mirror, int, error) {
				asked = append(asked, fmt.Sprintf("%s/%s %d+%d", mesh, dataplane, start, size))
				if dataplane == "backend-1" {
					return nil, 0, generate.ErrNoDataplane
				}
				return []status.Mirror{{Mesh: mesh, Dataplane: dataplane, Policy: "p", State: status.Active, Shadow: status.Shadow{Tags: api.Tags{}}}}, 3, nil
			}
		}})
		w.has(shop)
		Expect(w.get("/meshes/default/dataplanes/web/mirrors?size=1&offset=1").JSON()).To(And(
			HaveKeyWithValue("total", BeNumerically("==", 3)), HaveKeyWithValue("next", ContainSubstring("offset=2"))))
		Expect(w.get("/meshes/shop/dataplanes/backend-1/mirrors").status).To(Equal(http.StatusNotFound), "the host has not come to it yet")
		Expect(w.get("/meshes/default/dataplanes/nope/mirrors").status).To(Equal(http.StatusNotFound))
		Expect(w.get("/meshes/nope/dataplanes/web/mirrors").status).To(Equal(http.StatusNotFound))
		Expect(asked).To(Equal([]string{"default/web 1+1", "shop/backend-1 0+100"}))
	})

	It("are none where nobody counts", func() {
		w := newWorld(setup{})
		w.has(shop)
		for _, path := range []string{"/mirrors", "/meshes/default/dataplanes/web/mirrors"} {
			Expect(w.get(path).body).To(MatchJSON(`{"total": 0, "items": [], "next": null}`))
		}
	})

	It("answer an error where a figure is no number", func() {
		w := newWorld(setup{options: func(o *Options) {
			o.Mirrors = func(context.Context, string) ([]status.Mirror, error) {
				return []status.Mirror{{Percentage: math.NaN()}}, nil
			}
		}})
		got := w.get("/mirrors")
		Expect(got.status).To(Equal(http.StatusInternalServerError))
		got.problem()
	})

	It("answer an error without what it says, which is in the log", func() {
		w := newWorld(setup{options: func(o *Options) {
			o.Mirrors = func(context.Context, string) ([]status.Mirror, error) { return nil, errors.New("a secret") }
		}})
		got := w.get("/mirrors")
		Expect(got.status).To(Equal(http.StatusInternalServerError))
		Expect(got.body).NotTo(ContainSubstring("secret"))
		Expect(got.problem().Instance).NotTo(BeEmpty())
		Expect(w.get("/mirrors?offset=a/b").status).To(Equal(http.StatusBadRequest))
	})
})
