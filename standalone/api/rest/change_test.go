package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/standalone/build/plan"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
)

var _ = Describe("a change of several resources", func() {
	planned := func(a answer) plan.Plan {
		GinkgoHelper()
		Expect(a.status).To(Equal(http.StatusOK), a.body)
		var p plan.Plan
		Expect(json.Unmarshal([]byte(a.body), &p)).To(Succeed())
		return p
	}
	applied := func(a answer) []plan.Resource {
		GinkgoHelper()
		Expect(a.status).To(Equal(http.StatusOK), a.body)
		var all []plan.Resource
		Expect(json.Unmarshal([]byte(a.body), &all)).To(Succeed())
		return all
	}

	It("is done as a whole, and tells what became of each", func() {
		w := newWorld(setup{})
		Expect(applied(w.do(http.MethodPost, "/apply", shop))).To(HaveLen(6))
		got := applied(w.do(http.MethodPost, "/apply?delete=TrafficRoute/default/backend&delete=ExternalService/default/collector", `
type: Mesh
name: shop
---
type: Mesh
name: new
---
type: Dataplane
name: web
networking:
  address: 127.0.0.2
  gateway: {tags: {kuma.io/service: web}}
`))
		Expect(got).To(Equal([]plan.Resource{
			{Kind: "Mesh", Name: "shop", Result: catalog.Unchanged},
			{Kind: "Mesh", Name: "new", Result: catalog.Created},
			{Kind: "Dataplane", Mesh: "default", Name: "web", Result: catalog.Configured},
			{Kind: "TrafficRoute", Mesh: "default", Name: "backend", Result: catalog.Deleted},
			{Kind: "ExternalService", Mesh: "default", Name: "collector", Result: catalog.Deleted},
		}))
		Expect(names(w.get("/meshes"))).To(Equal([]string{"default", "new", "shop"}))
		Expect(names(w.get("/traffic-routes"))).To(BeEmpty())
	})

	It("may consist of deletions alone", func() {
		w := newWorld(setup{})
		w.has(shop)
		Expect(applied(w.do(http.MethodPost, "/apply?delete=TrafficRoute/default/backend", nil))).To(HaveLen(1))
		Expect(applied(w.do(http.MethodPost, "/apply?delete=Mesh/shop&delete=Dataplane/shop/backend-1&delete=Dataplane/shop/backend-2", ""))).To(HaveLen(3))
		Expect(names(w.get("/meshes"))).To(Equal([]string{"default"}))
	})

	It("may name any number of deletions in its body, of which nothing else counts", func() {
		w := newWorld(setup{})
		w.has(shop)
		var names strings.Builder
		for i := range 600 {
			fmt.Fprintf(&names, "type: Mesh\nname: a-long-name-of-a-mesh-%04d\nlabels: {not: looked-at}\n---\n", i)
		}
		w.has(strings.ReplaceAll(names.String(), "looked-at", "the-same"))
		names.WriteString("type: TrafficRoute\nmesh: default\nname: backend\n")
		all := planned(w.do(http.MethodPost, "/plan?delete=body", names.String()))
		Expect(all.Resources).To(And(HaveLen(601), HaveEach(HaveField("Result", catalog.Deleted))))
		got := applied(w.do(http.MethodPost, "/apply?delete=Mesh/shop&delete=body&delete=Dataplane/shop/backend-1", names.String()+
			"---\ntype: Dataplane\nmesh: shop\nname: backend-2\n"))
		Expect(got).To(And(HaveLen(604), HaveEach(HaveField("Result", catalog.Deleted))))
		Expect(w.get("/meshes").JSON()).To(HaveKeyWithValue("total", 1.0))
		Expect(w.do(http.MethodPost, "/apply?delete=body", "").status).To(Equal(http.StatusBadRequest))
		Expect(w.do(http.MethodPost, "/apply?delete=body", "type: Pod\nname: x\n").status).To(Equal(http.StatusBadRequest))
	})

	It("is planned beside one other, and not more", func() {
		w := newWorld(setup{})
		for range cap(w.server.plans) {
			w.server.plans <- struct{}{}
		}
		refused := w.do(http.MethodPost, "/plan", "type: Mesh\nname: m\n")
		Expect(refused.status).To(Equal(http.StatusServiceUnavailable))
		Expect(refused.header.Get("Retry-After")).To(Equal("1"))
		Expect(refused.problem().Detail).To(HavePrefix("Two plans are being made"))
		<-w.server.plans
		for range 3 {
			planned(w.do(http.MethodPost, "/plan", "type: Mesh\nname: m\n"))
		}
		Expect(w.do(http.MethodPost, "/plan", "type: Mesh\nname: X\n").status).To(Equal(http.StatusBadRequest))
		planned(w.do(http.MethodPost, "/plan", "type: Mesh\nname: m\n"))
	})

	It("is not done at all where a part of it is not valid, and everything that is not is said", func() {
		w := newWorld(setup{})
		got := w.do(http.MethodPost, "/apply", `
type: Mesh
name: fine
---
type: Mesh
name: NOT FINE
---
type: TrafficRoute
name: bad
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: backend}}]
conf: {destination: {version: v1}}
`)
		Expect(got.status).To(Equal(http.StatusBadRequest))
		Expect(got.problem().Title).To(Equal("Could not apply the change"))
		Expect(got.problem().InvalidParameters).To(ContainElements(
			And(HaveField("Field", "name"), HaveField("Reason", ContainSubstring("NOT FINE"))),
			And(HaveField("Field", HavePrefix("conf.destination")), HaveField("Reason", ContainSubstring(`TrafficRoute "bad" in mesh "default"`))),
		))
		Expect(names(w.get("/meshes"))).To(Equal([]string{"default"}))
	})

	It("says which document of several is meant", func() {
		got := newWorld(setup{}).do(http.MethodPost, "/apply", "type: Mesh\nname: fine\n---\ntype: Nope\nname: x\n")
		Expect(got.status).To(Equal(http.StatusBadRequest))
		Expect(got.problem().InvalidParameters).To(ConsistOf(
			And(HaveField("Field", "type"), HaveField("Reason", ContainSubstring("#2"))),
		))
	})

	It("can be planned, which changes nothing", func() {
		w := newWorld(setup{})
		w.has(shop)
		w.has("type: Dataplane\nname: v1\nnetworking: {address: 127.0.0.1, inbound: [{port: 8081, tags: {kuma.io/service: backend, kuma.io/protocol: http, version: v1}}]}")
		w.has("type: Dataplane\nname: v2\nnetworking: {address: 127.0.0.1, inbound: [{port: 8082, tags: {kuma.io/service: backend, kuma.io/protocol: http, version: v2}}]}")
		before := w.get("/meshes/default/traffic-routes/backend")
		body := before.JSON()
		body["conf"].(object)["http"].([]any)[0].(object)["mirror"].(object)["percentage"] = 50
		got := planned(w.do(http.MethodPost, "/plan", body))
		Expect(got.Resources).To(ConsistOf(plan.Resource{Kind: "TrafficRoute", Mesh: "default", Name: "backend", Result: catalog.Configured}))
		Expect(got.Dataplanes).To(ConsistOf(And(
			HaveField("Name", "web"),
			HaveField("Mirrors", ConsistOf(And(HaveField("Before.Percentage", 12.5), HaveField("After.Percentage", 50.0)))),
		)))
		Expect(got.Diffs).NotTo(BeEmpty())

		gone := planned(w.do(http.MethodPost, "/plan?delete=TrafficRoute/default/backend", nil))
		Expect(gone.Resources).To(ConsistOf(HaveField("Result", catalog.Deleted)))
		after := w.get("/meshes/default/traffic-routes/backend")
		Expect(after.body).To(Equal(before.body))
		Expect(after.header.Get("ETag")).To(Equal(before.header.Get("ETag")))

		Expect(w.do(http.MethodPost, "/plan", "type: Mesh\nname: X\n").status).To(Equal(http.StatusBadRequest))
		for _, path := range []string{"/plan", "/apply"} {
			missing := w.do(http.MethodPost, path+"?delete=TrafficRoute/default/backend&delete=Mesh/nope", nil)
			Expect(missing.status).To(Equal(http.StatusNotFound))
			Expect(missing.problem().Detail).To(ContainSubstring(`Mesh "nope"`))
			Expect(missing.problem().Missing).To(Equal("Mesh/nope"))
		}
	})

	DescribeTable("names what it deletes",
		func(parameter string) {
			w := newWorld(setup{})
			w.has(shop)
			got := w.do(http.MethodPost, "/apply?delete="+parameter, nil)
			Expect(got.status).To(Equal(http.StatusBadRequest), got.body)
			Expect(got.problem().InvalidParameters).To(ConsistOf(HaveField("Field", "delete")))
			Expect(names(w.get("/dataplanes"))).To(HaveLen(3))
		},
		Entry("nothing", ""),
		Entry("a kind alone", "Mesh"),
		Entry("no name", "Mesh/"),
		Entry("no mesh", "Dataplane/web"),
		Entry("an empty mesh", "Dataplane//web"),
		Entry("a Mesh in a mesh", "Mesh/default/shop"),
		Entry("another kind", "MeshTimeout/default/web"),
		Entry("a path", "Dataplane/default/web/.."),
	)

	It("takes no conditions, which are those of one resource", func() {
		w := newWorld(setup{})
		for _, path := range []string{"/apply", "/plan"} {
			for _, condition := range []header{{"If-Match", "*"}, {"If-None-Match", "*"}, {"If-Match", ""}} {
				got := w.do(http.MethodPost, path, "type: Mesh\nname: m\n", condition)
				Expect(got.status).To(Equal(http.StatusBadRequest))
				Expect(got.problem().Detail).To(ContainSubstring(condition.name))
			}
		}
		Expect(w.get("/meshes/m").status).To(Equal(http.StatusNotFound))
	})

	It("needs something to do", func() {
		w := newWorld(setup{})
		for _, path := range []string{"/apply", "/plan"} {
			Expect(w.do(http.MethodPost, path, nil).status).To(Equal(http.StatusBadRequest))
			Expect(w.do(http.MethodPost, path, "").status).To(Equal(http.StatusBadRequest))
		}
	})
})
