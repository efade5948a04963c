package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// shop has two meshes, with one resource of each kind in `default` and two
// data planes in `shop`.
const shop = `
type: Mesh
name: shop
---
type: Dataplane
name: web
labels: {team: front}
networking:
  address: 127.0.0.1
  gateway: {tags: {kuma.io/service: web, env: dev}}
  outbound: [{port: 10001, tags: {kuma.io/service: backend}}]
---
type: Dataplane
mesh: shop
name: backend-1
networking:
  address: 127.0.0.1
  inbound: [{port: 8081, tags: {kuma.io/service: backend, kuma.io/protocol: http, version: v1}}]
---
type: Dataplane
mesh: shop
name: backend-2
labels: {team: back}
networking:
  address: 127.0.0.1
  inbound: [{port: 8082, tags: {kuma.io/service: backend, kuma.io/protocol: http, version: v2, url: "a:b"}}]
---
type: ExternalService
name: collector
tags: {kuma.io/service: collector, kuma.io/protocol: http}
networking: {address: "collector.example.com:443", tls: {enabled: true}}
---
type: TrafficRoute
name: backend
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: backend}}]
conf:
  http:
  - match: {path: {prefix: /api}}
    destination: {kuma.io/service: backend, version: v1}
    mirror: {destination: {kuma.io/service: backend, version: v2}, percentage: 12.5}
  destination: {kuma.io/service: backend, version: v1}
`

func names(a answer) []string {
	GinkgoHelper()
	Expect(a.status).To(Equal(http.StatusOK), a.body)
	var list struct {
		Items []struct{ Mesh, Name string }
	}
	Expect(json.Unmarshal([]byte(a.body), &list)).To(Succeed())
	all := []string{}
	for _, item := range list.Items {
		all = append(all, strings.TrimPrefix(item.Mesh+"/"+item.Name, "/"))
	}
	return all
}

var _ = Describe("reading", func() {
	It("gives a resource as it was written, with its times", func() {
		w := newWorld(setup{})
		w.has(shop)
		got := w.get("/meshes/default/traffic-routes/backend")
		Expect(got.status).To(Equal(http.StatusOK))
		Expect(got.header.Get("Content-Type")).To(Equal("application/json"))
		body := got.JSON()
		for _, at := range []string{"creationTime", "modificationTime"} {
			when, err := time.Parse(time.RFC3339Nano, body[at].(string))
			Expect(err).NotTo(HaveOccurred())
			Expect(when).To(BeTemporally("~", time.Now(), time.Minute))
			delete(body, at)
		}
		Expect(json.Marshal(body)).To(MatchJSON(`{
			"type": "TrafficRoute", "mesh": "default", "name": "backend",
			"sources": [{"match": {"kuma.io/service": "web"}}],
			"destinations": [{"match": {"kuma.io/service": "backend"}}],
			"conf": {
				"http": [{
					"match": {"path": {"prefix": "/api"}},
					"destination": {"kuma.io/service": "backend", "version": "v1"},
					"mirror": {"destination": {"kuma.io/service": "backend", "version": "v2"}, "percentage": 12.5}
				}],
				"destination": {"kuma.io/service": "backend", "version": "v1"}
			}
		}`))
	})

	It("gives what PUT takes back", func() {
		w := newWorld(setup{})
		w.has(shop)
		for _, path := range []string{
			"/meshes/shop", "/meshes/default/dataplanes/web", "/meshes/default/external-services/collector", "/meshes/default/traffic-routes/backend",
		} {
			before := w.get(path)
			Expect(before.status).To(Equal(http.StatusOK), path)
			Expect(w.put(path, json.RawMessage(before.body)).status).To(Equal(http.StatusOK), path)
			Expect(w.get(path).body).To(Equal(before.body), path)
		}
	})

	It("gives the Kubernetes form where it is asked for", func() {
		w := newWorld(setup{})
		w.has(shop)
		for _, format := range []string{"kubernetes", "k8s"} {
			body := w.get("/meshes/default/dataplanes/web?format=" + format).JSON()
			Expect(body).To(HaveKeyWithValue("kind", "Dataplane"))
			Expect(body).To(HaveKeyWithValue("mesh", "default"))
			Expect(body["spec"]).To(HaveKey("networking"))
		}
		Expect(w.get("/meshes/default/dataplanes/web?format=universal").JSON()).To(HaveKeyWithValue("type", "Dataplane"))
		refused := w.get("/meshes/default/dataplanes/web?format=xml")
		Expect(refused.status).To(Equal(http.StatusBadRequest))
		Expect(refused.problem().InvalidParameters).To(ConsistOf(And(
			HaveField("Field", "format"),
			HaveField("Choices", ConsistOf("universal", "kubernetes", "k8s")),
		)))
	})

	It("lists the resources of a mesh, or of all", func() {
		w := newWorld(setup{})
		w.has(shop)
		Expect(names(w.get("/meshes"))).To(Equal([]string{"default", "shop"}))
		Expect(names(w.get("/dataplanes"))).To(Equal([]string{"default/web", "shop/backend-1", "shop/backend-2"}))
		Expect(names(w.get("/meshes/shop/dataplanes"))).To(Equal([]string{"shop/backend-1", "shop/backend-2"}))
		Expect(names(w.get("/meshes/shop/traffic-routes"))).To(BeEmpty())
		Expect(names(w.get("/traffic-routes"))).To(Equal([]string{"default/backend"}))
		Expect(names(w.get("/external-services"))).To(Equal([]string{"default/collector"}))
		empty := w.get("/meshes/shop/external-services")
		Expect(empty.body).To(MatchJSON(`{"total": 0, "items": [], "next": null}`))
	})

	It("has the mesh default without anybody having written it", func() {
		w := newWorld(setup{})
		Expect(names(w.get("/meshes"))).To(Equal([]string{"default"}))
		Expect(w.get("/meshes/default").JSON()).To(And(HaveKeyWithValue("type", "Mesh"), HaveKeyWithValue("name", "default")))
	})

	It("answers 404 to what is not there, and to all of a mesh that is not", func() {
		w := newWorld(setup{})
		missing := w.get("/meshes/default/traffic-routes/nope")
		Expect(missing.status).To(Equal(http.StatusNotFound))
		Expect(missing.problem().Title).To(Equal("Could not retrieve a resource"))
		Expect(missing.problem().Detail).To(Equal("Not found"))
		Expect(missing.problem().Missing).To(Equal("TrafficRoute/default/nope"))
		for _, path := range []string{"/meshes/nope", "/meshes/default/dataplanes/nope/_overview"} {
			Expect(w.get(path).status).To(Equal(http.StatusNotFound), path)
		}
		for _, path := range []string{
			"/meshes/nope/dataplanes", "/meshes/nope/dataplanes/web", "/meshes/nope/mirrors", "/meshes/nope/dataplanes/_overview",
		} {
			got := w.get(path)
			Expect(got.status).To(Equal(http.StatusNotFound), path)
			Expect(got.problem().Title).To(Equal("Failed to retrieve Mesh"), path)
			Expect(got.problem().Missing).To(Equal("Mesh/nope"), path)
		}
	})

	It("says which file a resource comes from", func() {
		dir := GinkgoT().TempDir()
		file := filepath.Join(dir, "früh %.yaml")
		Expect(os.WriteFile(file, []byte("type: Mesh\nname: filed\n"), 0o600)).To(Succeed())
		w := newWorld(setup{files: []string{dir}})
		w.has(shop)
		from, err := url.PathUnescape(w.get("/meshes/filed").header.Get("Kuma-Mirror-File"))
		Expect(err).NotTo(HaveOccurred())
		Expect(from).To(Equal(file))
		Expect(w.get("/meshes/shop").header).NotTo(HaveKey("Kuma-Mirror-File"))
		Expect(w.get("/meshes").JSON()["files"]).To(Equal(map[string]any{"/filed": file}))
	})

	Describe("filters", func() {
		DescribeTable("leave what fits",
			func(path string, want ...string) {
				w := newWorld(setup{})
				w.has(shop)
				got := w.get(path)
				Expect(names(got)).To(ConsistOf(want))
				Expect(got.JSON()).To(HaveKeyWithValue("total", BeNumerically("==", len(want))), "the total is that of the filtered")
			},
			Entry("a part of the name", "/dataplanes?name=ack", "shop/backend-1", "shop/backend-2"),
			Entry("a tag of an inbound", "/dataplanes?tag=version:v1", "shop/backend-1"),
			Entry("a part of a tag's value, as in Kuma", "/dataplanes?tag=kuma.io/service:back", "shop/backend-1", "shop/backend-2"),
			Entry("any value", "/dataplanes?tag=env:*", "default/web"),
			Entry("a value with a colon", "/dataplanes?tag=url:a:b", "shop/backend-2"),
			Entry("two tags of one inbound", "/dataplanes?tag=version:v1&tag=url:*"),
			Entry("a tag of an external service", "/external-services?tag=kuma.io/service:coll", "default/collector"),
			Entry("a label", "/dataplanes?filter[labels.team]=back", "shop/backend-2"),
			Entry("gateways", "/dataplanes?gateway=true", "default/web"),
			Entry("no gateways", "/dataplanes?gateway=false", "shop/backend-1", "shop/backend-2"),
			Entry("builtin gateways, which there are none of", "/dataplanes?gateway=builtin"),
			Entry("the same of overviews", "/dataplanes/_overview?tag=version:v1", "shop/backend-1"),
		)

		DescribeTable("that say nothing are refused",
			func(path, field string) {
				got := newWorld(setup{}).get(path)
				Expect(got.status).To(Equal(http.StatusBadRequest))
				Expect(got.problem().InvalidParameters).To(ConsistOf(HaveField("Field", field)))
			},
			Entry("a tag without value", "/dataplanes?tag=version", "tag"),
			Entry("another gateway", "/dataplanes?gateway=maybe", "gateway"),
			Entry("a filter by something else", "/dataplanes?filter[spec.x]=1", "filter[spec.x]"),
			Entry("a filter that is not closed", "/dataplanes?filter[labels.x=1", "filter[labels.x"),
		)
	})

	Describe("paging", func() {
		meshes := func(n int) string {
			var all strings.Builder
			for i := range n {
				fmt.Fprintf(&all, "---\ntype: Mesh\nname: m%04d\n", i)
			}
			return all.String()
		}

		It("gives everything once, by next links that a client follows as they are", func() {
			w := newWorld(setup{})
			w.has(meshes(25))
			link, seen, pages := w.url+"/meshes?size=7&name=m", []string{}, 0
			for link != "" {
				Expect(link).To(HavePrefix(w.url), "next is absolute")
				got := w.get(strings.TrimPrefix(link, w.url))
				seen = append(seen, names(got)...)
				Expect(got.JSON()).To(HaveKeyWithValue("total", BeNumerically("==", 25)))
				link, _ = got.JSON()["next"].(string)
				pages++
			}
			Expect(pages).To(Equal(4))
			Expect(seen).To(HaveLen(25))
			for i, name := range seen {
				Expect(name).To(Equal(fmt.Sprintf("m%04d", i)))
			}
		})

		It("neither leaves out nor repeats what stays while the list changes", func() {
			w := newWorld(setup{})
			w.has(meshes(6))
			first := w.get("/meshes?size=3&name=m")
			Expect(names(first)).To(Equal([]string{"m0000", "m0001", "m0002"}))
			Expect(w.delete("/meshes/m0000").status).To(Equal(http.StatusOK))
			Expect(w.delete("/meshes/m0002").status).To(Equal(http.StatusOK))
			next, err := url.Parse(first.JSON()["next"].(string))
			Expect(err).NotTo(HaveOccurred())
			Expect(names(w.get(next.RequestURI()))).To(Equal([]string{"m0003", "m0004", "m0005"}))
		})

		It("takes numbers to leave out, as Kuma does", func() {
			w := newWorld(setup{})
			w.has(meshes(6))
			Expect(names(w.get("/meshes?size=2&name=m&offset=3"))).To(Equal([]string{"m0003", "m0004"}))
			Expect(names(w.get("/meshes?offset=1000"))).To(BeEmpty())
		})

		It("has 100 entries on a page unless told otherwise", func() {
			w := newWorld(setup{})
			w.has(meshes(120))
			Expect(names(w.get("/meshes"))).To(HaveLen(100))
			Expect(names(w.get("/meshes?size=1000"))).To(HaveLen(121))
		})

		DescribeTable("refuses",
			func(query, field string) {
				got := newWorld(setup{}).get("/meshes?" + query)
				Expect(got.status).To(Equal(http.StatusBadRequest))
				Expect(got.problem().InvalidParameters).To(ConsistOf(HaveField("Field", field)))
			},
			Entry("no size", "size=0", "size"),
			Entry("a negative size", "size=-1", "size"),
			Entry("too large a size", "size=1001", "size"),
			Entry("a size of many digits", "size=99999999999999999999", "size"),
			Entry("a size that is none", "size=ten", "size"),
			Entry("two sizes", "size=1&size=2", "size"),
			Entry("a negative offset", "offset=-1", "offset"),
			Entry("an offset of many digits", "offset=99999999999999999999", "offset"),
			Entry("an offset that is none", "offset=ten", "offset"),
		)
	})

	Describe("with the client's entity tag", func() {
		It("answers 304 as long as nothing has changed", func() {
			w := newWorld(setup{})
			w.has(shop)
			path := "/meshes/default/traffic-routes/backend"
			etag := w.get(path).header.Get("ETag")
			Expect(etag).To(MatchRegexp(`^"[^"]+"$`))
			for _, tags := range []string{etag, `"other", ` + etag, "W/" + etag, "*"} {
				same := w.get(path, header{"If-None-Match", tags})
				Expect(same.status).To(Equal(http.StatusNotModified), tags)
				Expect(same.header.Get("ETag")).To(Equal(etag))
				Expect(same.body).To(BeEmpty())
			}
			Expect(w.get(path, header{"If-None-Match", `"other"`}).status).To(Equal(http.StatusOK))

			body := w.get(path).JSON()
			body["labels"] = map[string]any{"team": "front"}
			Expect(w.put(path, body).status).To(Equal(http.StatusOK))
			changed := w.get(path, header{"If-None-Match", etag})
			Expect(changed.status).To(Equal(http.StatusOK))
			Expect(changed.header.Get("ETag")).NotTo(Equal(etag))
		})
	})

	It("answers HEAD as GET, without the body", func() {
		w := newWorld(setup{})
		w.has(shop)
		got, head := w.get("/dataplanes"), w.do(http.MethodHead, "/dataplanes", nil)
		Expect(head.status).To(Equal(http.StatusOK))
		Expect(head.body).To(BeEmpty())
		for _, name := range []string{"Content-Type", "Content-Length"} {
			Expect(head.header.Get(name)).To(Equal(got.header.Get(name)))
		}
		Expect(w.do(http.MethodHead, "/meshes/nope", nil).status).To(Equal(http.StatusNotFound))
	})
})

var _ = Describe("the index", func() {
	It("says what this is, in a way that kumactl takes", func() {
		w := newWorld(setup{})
		Expect(w.get("/").JSON()).To(And(
			HaveKeyWithValue("product", "kuma-mirror"),
			// kumactl refuses a product that is not Kuma, unless the version
			// has this word.
			HaveKeyWithValue("version", And(HavePrefix("v1.2.3"), ContainSubstring("preview"))),
			HaveKey("hostname"), HaveKey("instanceId"), HaveKey("clusterId"), HaveKey("gui"),
		))
	})

	It("has the configuration it is given", func() {
		w := newWorld(setup{options: func(o *Options) { o.Config = map[string]any{"dataDir": "/var/lib/x"} }})
		Expect(w.get("/config").body).To(MatchJSON(`{"dataDir": "/var/lib/x"}`))
		Expect(newWorld(setup{}).get("/config").body).To(MatchJSON(`{}`))
	})

	It("describes the kinds there are, for kumactl export", func() {
		w := newWorld(setup{})
		var types struct{ Resources []resourceType }
		Expect(json.Unmarshal([]byte(w.get("/_resources").body), &types)).To(Succeed())
		var described []string
		for _, t := range types.Resources {
			described = append(described, t.Name+" "+t.Path+" "+t.Scope)
			Expect(t.ReadOnly).To(BeFalse())
			// Of which the path is served.
			Expect(w.get("/" + t.Path).status).To(Equal(http.StatusOK))
		}
		Expect(described).To(Equal([]string{
			"Dataplane dataplanes Mesh", "ExternalService external-services Mesh", "Mesh meshes Global", "TrafficRoute traffic-routes Mesh",
		}))
		Expect(w.get("/policies").JSON()["policies"]).To(ConsistOf(HaveKeyWithValue("name", string(api.KindTrafficRoute))))
	})

	It("serves the OpenAPI document", func() {
		w := newWorld(setup{})
		got := w.get("/openapi.yaml")
		Expect(got.header.Get("Content-Type")).To(Equal("application/yaml"))
		Expect(got.body).To(Equal(string(openAPI)))
		Expect(w.get("/openapi.yaml", header{"If-None-Match", got.header.Get("ETag")}).status).To(Equal(http.StatusNotModified))
	})
})
