package rest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// object is JSON to send.
type object = map[string]any

func dataplane(name string) object {
	return object{
		"type": "Dataplane", "mesh": "default", "name": name,
		"networking": object{"address": "127.0.0.1", "gateway": object{"tags": object{"kuma.io/service": "web"}}},
	}
}

var _ = Describe("writing", func() {
	It("creates with 201, replaces with 200, deletes with 200", func() {
		w := newWorld(setup{})
		path := "/meshes/default/dataplanes/web"
		created := w.put(path, dataplane("web"))
		Expect(created.status).To(Equal(http.StatusCreated))
		Expect(created.body).To(MatchJSON(`{}`))

		changed := dataplane("web")
		changed["labels"] = object{"team": "front"}
		replaced := w.put(path, changed)
		Expect(replaced.status).To(Equal(http.StatusOK))
		Expect(replaced.header.Get("ETag")).NotTo(Equal(created.header.Get("ETag")))
		Expect(w.get(path).header.Get("ETag")).To(Equal(replaced.header.Get("ETag")))
		Expect(w.get(path).JSON()).To(HaveKeyWithValue("labels", HaveKeyWithValue("team", "front")))

		deleted := w.delete(path)
		Expect(deleted.status).To(Equal(http.StatusOK))
		Expect(deleted.body).To(MatchJSON(`{}`))
		Expect(w.get(path).status).To(Equal(http.StatusNotFound))
		again := w.delete(path)
		Expect(again.status).To(Equal(http.StatusNotFound))
		Expect(again.problem().Title).To(Equal("Could not delete a resource"))
	})

	It("takes YAML, either form, and the fields that Kuma's clients send along", func() {
		w := newWorld(setup{})
		Expect(w.put("/meshes/m1", "type: Mesh\nname: m1\n").status).To(Equal(http.StatusCreated))
		Expect(w.put("/meshes/m2", "apiVersion: kuma.io/v1alpha1\nkind: Mesh\nmetadata: {name: m2}\nspec: {}\n").status).To(Equal(http.StatusCreated))
		Expect(w.put("/meshes/m3", object{
			"type": "Mesh", "name": "m3", "kri": "kri_m____m3_",
			"creationTime": "0001-01-01T00:00:00Z", "modificationTime": "0001-01-01T00:00:00Z",
		}).status).To(Equal(http.StatusCreated))
		Expect(w.get("/meshes/m3").JSON()).To(HaveKeyWithValue("creationTime", Not(HavePrefix("0001"))), "times are the host's")
		Expect(names(w.get("/meshes?name=m"))).To(Equal([]string{"m1", "m2", "m3"}))
		Expect(w.get("/meshes/m2").JSON()).To(HaveKeyWithValue("type", "Mesh"), "lists and answers have one form")
	})

	It("names all that is wrong, by its path", func() {
		w := newWorld(setup{})
		got := w.put("/meshes/default/traffic-routes/bad", `
type: TrafficRoute
name: bad
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: backend}}]
conf:
  http:
  - match: {path: {prefix: /}}
    destination: {kuma.io/service: backend}
    mirror: {destination: {version: v2}, percentage: 101}
  destination: {kuma.io/service: backend}
`)
		Expect(got.status).To(Equal(http.StatusBadRequest))
		p := got.problem()
		Expect(p.Title).To(Equal("Could not process a resource"))
		Expect(p.Detail).To(Equal("Resource is not valid"))
		Expect(p.InvalidParameters).To(ConsistOf(
			HaveField("Field", "conf.http[0].mirror.percentage"),
			HaveField("Field", HavePrefix("conf.http[0].mirror.destination")),
		))
		for _, ip := range p.InvalidParameters {
			Expect(ip.Reason).NotTo(ContainSubstring("TrafficRoute"), "it is clear what it is about")
		}
	})

	DescribeTable("refuses what is not a resource of that path",
		func(path string, body any, field string) {
			w := newWorld(setup{})
			w.has("type: Mesh\nname: shop")
			got := w.put(path, body)
			Expect(got.status).To(Equal(http.StatusBadRequest))
			Expect(got.problem().InvalidParameters).To(ContainElement(HaveField("Field", field)))
		},
		Entry("another name", "/meshes/default/dataplanes/other", dataplane("web"), "name"),
		Entry("another mesh", "/meshes/shop/dataplanes/web", dataplane("web"), "mesh"),
		Entry("another type", "/meshes/default/traffic-routes/web", dataplane("web"), "type"),
		Entry("a mesh that is said of a Mesh", "/meshes/m", object{"type": "Mesh", "name": "m", "mesh": "default"}, "mesh"),
		Entry("an unknown type", "/meshes/default/dataplanes/web", object{"type": "MeshTimeout", "name": "web"}, "type"),
		Entry("no type", "/meshes/default/dataplanes/web", object{"name": "web"}, ""),
		Entry("an unknown field", "/meshes/m", object{"type": "Mesh", "name": "m", "mtls": object{}}, "mtls"),
		Entry("nothing", "/meshes/m", "", ""),
		Entry("half of some JSON", "/meshes/m", `{"type":`, ""),
		Entry("duplicate keys", "/meshes/m", `{"type": "Mesh", "name": "m", "name": "m"}`, "name"),
		Entry("what is not UTF-8", "/meshes/m", "type: Mesh\nname: \"m\xff\"\n", ""),
		Entry("a name that is none", "/meshes/UP", object{"type": "Mesh", "name": "UP"}, "name"),
		Entry("a name of the directory above", "/meshes/default/dataplanes/x", dataplane("../x"), "name"),
		Entry("a name with a slash", "/meshes/default/dataplanes/a%2Fb", dataplane("a/b"), "name"),
		Entry("a long name", "/meshes/default/dataplanes/"+strings.Repeat("x", 254), dataplane(strings.Repeat("x", 254)), "name"),
		Entry("a very long name", "/meshes/default/dataplanes/"+strings.Repeat("x", 8000), dataplane(strings.Repeat("x", 8000)), "name"),
		Entry("a name with a zero byte", "/meshes/default/dataplanes/a%00", dataplane("a\x00"), "name"),
	)

	It("takes one resource at a time", func() {
		got := newWorld(setup{}).put("/meshes/m", "type: Mesh\nname: m\n---\ntype: Mesh\nname: n\n")
		Expect(got.status).To(Equal(http.StatusBadRequest))
		Expect(got.problem().Detail).To(ContainSubstring("/apply"))
	})

	It("takes names of every length up to 253", func() {
		w := newWorld(setup{})
		for _, length := range []int{1, 63, 253} {
			name := strings.Repeat("x", length)
			Expect(w.put("/meshes/default/dataplanes/"+name, dataplane(name)).status).To(Equal(http.StatusCreated))
			Expect(w.get("/meshes/default/dataplanes/" + name).status).To(Equal(http.StatusOK))
		}
	})

	It("refuses a resource of a mesh that is not there", func() {
		w := newWorld(setup{})
		got := w.put("/meshes/nope/dataplanes/web", object{"type": "Dataplane", "mesh": "nope", "name": "web"})
		Expect(got.status).To(Equal(http.StatusNotFound))
		Expect(got.problem().Title).To(Equal("Failed to retrieve Mesh"))
		Expect(w.delete("/meshes/nope/dataplanes/web").status).To(Equal(http.StatusNotFound))
	})

	It("does not delete a Mesh under its Dataplanes, and names them", func() {
		w := newWorld(setup{})
		w.has(shop)
		refused := w.delete("/meshes/shop")
		Expect(refused.status).To(Equal(http.StatusConflict))
		Expect(refused.problem().Detail).To(ContainSubstring("backend-1"))
		Expect(w.delete("/meshes/shop/dataplanes/backend-1").status).To(Equal(http.StatusOK))
		Expect(w.delete("/meshes/shop/dataplanes/backend-2").status).To(Equal(http.StatusOK))
		Expect(w.delete("/meshes/shop").status).To(Equal(http.StatusOK))
		Expect(w.get("/meshes/shop").status).To(Equal(http.StatusNotFound))
	})

	It("leaves what files hold to the files", func() {
		dir := GinkgoT().TempDir()
		file := filepath.Join(dir, "meshes.yaml")
		Expect(os.WriteFile(file, []byte("type: Mesh\nname: filed\n"), 0o600)).To(Succeed())
		w := newWorld(setup{files: []string{dir}})
		for _, refused := range []answer{
			w.put("/meshes/filed", object{"type": "Mesh", "name": "filed", "labels": object{"a": "b"}}),
			w.delete("/meshes/filed"),
			w.do(http.MethodPost, "/apply", "type: Mesh\nname: filed\nlabels: {a: b}\n"),
		} {
			Expect(refused.status).To(Equal(http.StatusConflict))
			Expect(refused.problem().Detail).To(ContainSubstring(file))
			Expect(refused.header).NotTo(HaveKey("Allow"), "the method is allowed")
		}
		Expect(w.put("/meshes/other", object{"type": "Mesh", "name": "other"}).status).To(Equal(http.StatusCreated))
	})

	It("writes nothing without a store, and says so", func() {
		w := newWorld(setup{noStore: true, files: []string{filed("type: Mesh\nname: filed\n")}})
		for _, refused := range []answer{
			w.put("/meshes/other", object{"type": "Mesh", "name": "other"}),
			w.delete("/meshes/filed"),
			w.do(http.MethodPost, "/apply", "type: Mesh\nname: other\n"),
			w.get("/backup"),
			w.do(http.MethodPost, "/restore", bytes.NewReader([]byte("x"))),
		} {
			Expect(refused.status).To(Equal(http.StatusMethodNotAllowed), refused.body)
			Expect(refused.problem().Detail).To(ContainSubstring("--data-dir"))
			Expect(refused.header).To(HaveKey("Allow"))
			Expect(refused.header.Get("Allow")).NotTo(Or(ContainSubstring("PUT"), ContainSubstring("POST")))
		}
		Expect(w.do(http.MethodPost, "/plan", "type: Mesh\nname: other\n").body).To(ContainSubstring(`"result": "created"`), "which writes nothing")
		Expect(w.do(http.MethodPost, "/plan", "type: Mesh\nname: filed\nlabels: {a: b}\n").status).To(Equal(http.StatusConflict), "as a write would be")
		Expect(w.do(http.MethodOptions, "/plan", nil).header.Get("Allow")).To(Equal("OPTIONS, POST"))
		Expect(w.do(http.MethodOptions, "/meshes/filed", nil).header.Get("Allow")).To(Equal("GET, HEAD, OPTIONS"))
		Expect(w.get("/_resources").body).To(ContainSubstring(`"readOnly": true`))
		Expect(w.get("/meshes/filed").status).To(Equal(http.StatusOK))
	})

	Describe("on a condition", func() {
		const path = "/meshes/default/dataplanes/web"

		DescribeTable("writes only if it holds",
			func(condition func(etag string) header, status int) {
				w := newWorld(setup{})
				etag := w.put(path, dataplane("web")).header.Get("ETag")
				changed := dataplane("web")
				changed["labels"] = object{"a": "b"}
				got := w.put(path, changed, condition(etag))
				Expect(got.status).To(Equal(status), got.body)
				if status == http.StatusPreconditionFailed {
					Expect(got.problem().Detail).To(ContainSubstring("If-Match"))
					Expect(w.get(path).header.Get("ETag")).To(Equal(etag), "nothing is written")
					Expect(w.delete(path, condition(etag)).status).To(Equal(status))
				}
			},
			Entry("the entity tag it has", func(etag string) header { return header{"If-Match", etag} }, http.StatusOK),
			Entry("one of several", func(etag string) header { return header{"If-Match", `"x", ` + etag} }, http.StatusOK),
			Entry("that it is there", func(string) header { return header{"If-Match", "*"} }, http.StatusOK),
			Entry("another entity tag", func(string) header { return header{"If-Match", `"x"`} }, http.StatusPreconditionFailed),
			Entry("a weak one, which is never enough to write", func(etag string) header { return header{"If-Match", "W/" + etag} }, http.StatusPreconditionFailed),
			Entry("that it is not there", func(string) header { return header{"If-None-Match", "*"} }, http.StatusPreconditionFailed),
			Entry("that it is not this one", func(etag string) header { return header{"If-None-Match", etag} }, http.StatusPreconditionFailed),
			Entry("that it is not another one", func(string) header { return header{"If-None-Match", `"x"`} }, http.StatusOK),
		)

		DescribeTable("refuses an empty one, which may be a variable that was not set",
			func(condition header) {
				w := newWorld(setup{})
				etag := w.put(path, dataplane("web")).header.Get("ETag")
				changed := dataplane("web")
				changed["labels"] = object{"a": "b"}
				for _, got := range []answer{w.put(path, changed, condition), w.delete(path, condition)} {
					Expect(got.status).To(Equal(http.StatusBadRequest), got.body)
					Expect(got.problem().Detail).To(HavePrefix(condition.name + " is empty"))
				}
				Expect(w.get(path).header.Get("ETag")).To(Equal(etag), "nothing is written")
			},
			Entry(nil, header{"If-Match", ""}),
			Entry("of nothing but white space", header{"If-Match", " \t"}),
			Entry("a list of nothing", header{"If-Match", ","}),
			Entry(nil, header{"If-None-Match", ""}),
		)

		It("creates only what is not there", func() {
			w := newWorld(setup{})
			Expect(w.put(path, dataplane("web"), header{"If-Match", "*"}).status).To(Equal(http.StatusPreconditionFailed))
			Expect(w.put(path, dataplane("web"), header{"If-None-Match", "*"}).status).To(Equal(http.StatusCreated))
			Expect(w.delete(path, header{"If-Match", `"x"`}).status).To(Equal(http.StatusPreconditionFailed))
			Expect(w.delete(path, header{"If-Match", w.get(path).header.Get("ETag")}).status).To(Equal(http.StatusOK))
		})

		It("lets exactly one of many writers win", func() {
			w := newWorld(setup{})
			etag := w.put(path, dataplane("web")).header.Get("ETag")
			var won, lost atomic.Int32
			var writers sync.WaitGroup
			for i := range 32 {
				writers.Go(func() {
					defer GinkgoRecover()
					mine := dataplane("web")
					mine["labels"] = object{"writer": fmt.Sprint(i)}
					switch got := w.put(path, mine, header{"If-Match", etag}); got.status {
					case http.StatusOK:
						won.Add(1)
					case http.StatusPreconditionFailed:
						lost.Add(1)
					default:
						Fail(got.body)
					}
				})
			}
			writers.Wait()
			Expect(won.Load()).To(BeEquivalentTo(1))
			Expect(lost.Load()).To(BeEquivalentTo(31))
		})

		It("lets exactly one of many creators win", func() {
			w := newWorld(setup{})
			var won atomic.Int32
			var writers sync.WaitGroup
			for i := range 32 {
				writers.Go(func() {
					defer GinkgoRecover()
					mine := dataplane("web")
					mine["labels"] = object{"writer": fmt.Sprint(i)}
					if got := w.put(path, mine, header{"If-None-Match", "*"}); got.status == http.StatusCreated {
						won.Add(1)
					} else {
						Expect(got.status).To(Equal(http.StatusPreconditionFailed), got.body)
					}
				})
			}
			writers.Wait()
			Expect(won.Load()).To(BeEquivalentTo(1))
		})
	})

	Describe("bodies", func() {
		It("have at most 4 MiB", func() {
			w := newWorld(setup{})
			padding := func(length int) string {
				document := `{"type": "Mesh", "name": "m"}`
				return document + strings.Repeat(" ", length-len(document))
			}
			Expect(w.put("/meshes/m", padding(api.MaxInputBytes), header{"Content-Type", "application/json"}).status).To(Equal(http.StatusCreated))
			for _, method := range []string{http.MethodPut, http.MethodPost} {
				path := map[string]string{http.MethodPut: "/meshes/m", http.MethodPost: "/apply"}[method]
				got := w.do(method, path, padding(api.MaxInputBytes+1))
				Expect(got.status).To(Equal(http.StatusRequestEntityTooLarge))
				Expect(got.problem().Detail).To(ContainSubstring("4194304"))
			}
		})

		DescribeTable("are JSON or YAML",
			func(contentType string, status int) {
				w := newWorld(setup{})
				got := w.put("/meshes/m", object{"type": "Mesh", "name": "m"}, header{"Content-Type", contentType})
				Expect(got.status).To(Equal(status))
				if status == http.StatusUnsupportedMediaType {
					Expect(got.problem().Detail).To(ContainSubstring("application/json"))
					Expect(got.header.Get("Accept")).To(ContainSubstring("application/yaml"))
				}
			},
			Entry("JSON", "application/json", http.StatusCreated),
			Entry("with a charset", "application/json; charset=utf-8", http.StatusCreated),
			Entry("in capitals", "Application/JSON", http.StatusCreated),
			Entry("YAML", "application/yaml", http.StatusCreated),
			Entry("an older name of YAML", "application/x-yaml", http.StatusCreated),
			Entry("a form, which curl says unless told otherwise", "application/x-www-form-urlencoded", http.StatusUnsupportedMediaType),
			Entry("text", "text/plain", http.StatusUnsupportedMediaType),
			Entry("what is no type", "json;;", http.StatusUnsupportedMediaType),
		)

		It("need not say what they are", func() {
			w := newWorld(setup{})
			req, err := http.NewRequest(http.MethodPut, w.url+"/meshes/m", strings.NewReader(`{"type": "Mesh", "name": "m"}`))
			Expect(err).NotTo(HaveOccurred())
			resp, err := http.DefaultClient.Do(req) // not the checked one: the document wants a type
			Expect(err).NotTo(HaveOccurred())
			resp.Body.Close()
			Expect(resp.StatusCode).To(Equal(http.StatusCreated))
		})

		It("that break off are the client's mistake", func() {
			w := newWorld(setup{})
			for method, path := range map[string]string{http.MethodPut: "/meshes/m", http.MethodPost: "/restore"} {
				conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
				Expect(err).NotTo(HaveOccurred())
				fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnot a chunk\r\n", method, path)
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				Expect(err).NotTo(HaveOccurred())
				Expect(resp.StatusCode).To(Equal(http.StatusBadRequest))
				Expect(conn.Close()).To(Succeed())
			}
		})

		It("are sent as they are", func() {
			w := newWorld(setup{})
			var packed bytes.Buffer
			zip := gzip.NewWriter(&packed)
			_, _ = zip.Write([]byte("type: Mesh\nname: m\n"))
			Expect(zip.Close()).To(Succeed())
			got := w.put("/meshes/m", packed.String(), header{"Content-Encoding", "gzip"})
			Expect(got.status).To(Equal(http.StatusUnsupportedMediaType))
			Expect(got.header.Get("Accept-Encoding")).To(Equal("identity"))
			Expect(w.put("/meshes/m", packed.String()).status).To(Equal(http.StatusBadRequest), "nor unpacked without being asked")
		})
	})
})

// filed writes resources to a file and returns its path.
func filed(documents string) string {
	GinkgoHelper()
	file := filepath.Join(GinkgoT().TempDir(), "resources.yaml")
	Expect(os.WriteFile(file, []byte(documents), 0o600)).To(Succeed())
	return file
}
