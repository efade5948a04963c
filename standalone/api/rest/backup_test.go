package rest

import (
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
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
			got := w.do(http.MethodPost, "/restore?force=true", strings.NewReader(backup.body))
			Expect(got.status).To(Equal(http.StatusOK), got.body)
			Expect(got.JSON()).To(HaveKeyWithValue("restored", Equal(object{"Mesh": 1.0, "Dataplane": 3.0, "ExternalService": 1.0, "TrafficRoute": 1.0})))
			Expect(got.JSON()).To(HaveKeyWithValue("replaced", HaveKey("Mesh")))
			Expect(names(w.get("/meshes"))).To(Equal([]string{"default", "shop"}))
			Expect(w.get("/meshes/default/traffic-routes/backend").body).To(Equal(route.body))
		}
	})

	It("replaces what is stored, hidden by files or not, only where that is asked for", func() {
		w := newWorld(setup{})
		w.has("type: Mesh\nname: old\n")
		file := filed("type: Mesh\nname: other\n")
		both := newWorld(setup{files: []string{file}})
		both.has("type: Mesh\nname: old\n")
		Expect(os.WriteFile(file, []byte("type: Mesh\nname: old\n"), 0o600)).To(Succeed())
		Eventually(func() http.Header { return both.get("/meshes/old").header }).Should(HaveKey("Kuma-Mirror-File"))

		backup := newWorld(setup{}).get("/backup").body
		for _, w := range []*world{w, both} {
			for _, query := range []string{"", "?force=false", "?force="} {
				got := w.do(http.MethodPost, "/restore"+query, strings.NewReader(backup))
				Expect(got.status).To(Equal(http.StatusConflict), got.body)
				Expect(got.problem().Detail).To(HavePrefix("the store holds 1 Mesh, which would be lost"))
				Expect(got.problem().Stored).To(Equal(catalog.Counts{api.KindMesh: 1}))
			}
			Expect(w.do(http.MethodPost, "/restore?force=yes", strings.NewReader(backup)).status).To(Equal(http.StatusBadRequest))
			Expect(w.do(http.MethodPost, "/restore?force=true", strings.NewReader(backup)).JSON()).To(Equal(object{
				"replaced": object{"Mesh": 1.0}, "restored": object{},
			}))
			Expect(w.do(http.MethodPost, "/restore", strings.NewReader(backup)).status).To(Equal(http.StatusOK), "it is empty")
		}
	})

	It("is not restored beside another one, which would take as much memory again", func() {
		w := newWorld(setup{})
		backup := w.get("/backup").body
		body, more := io.Pipe()
		first := make(chan int, 1)
		go func() {
			defer GinkgoRecover()
			// Not the checked client, which reads what it sends first.
			resp, err := http.Post(w.url+"/restore", backupType, body)
			Expect(err).NotTo(HaveOccurred())
			Expect(resp.Body.Close()).To(Succeed())
			first <- resp.StatusCode
		}()
		_, err := io.WriteString(more, backup[:10])
		Expect(err).NotTo(HaveOccurred())
		Eventually(func() int { return len(w.server.restores) }).Should(Equal(1))
		refused := w.do(http.MethodPost, "/restore", strings.NewReader(backup))
		Expect(refused.status).To(Equal(http.StatusServiceUnavailable))
		Expect(refused.header.Get("Retry-After")).To(Equal("1"))
		Expect(refused.problem().Detail).To(ContainSubstring("A backup is being restored"))
		_, err = io.WriteString(more, backup[10:])
		Expect(err).NotTo(HaveOccurred())
		Expect(more.Close()).To(Succeed())
		Eventually(first).WithTimeout(5 * time.Second).Should(Receive(Equal(http.StatusOK)))
		Expect(w.do(http.MethodPost, "/restore", strings.NewReader(backup)).status).To(Equal(http.StatusOK))
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
			got := w.do(http.MethodPost, "/restore?force=true", strings.NewReader(backup))
			Expect(got.status).To(Equal(http.StatusBadRequest), name)
			got.problem()
		}
		Expect(names(w.get("/meshes"))).To(Equal([]string{"default", "shop"}))
		Expect(w.do(http.MethodPost, "/restore", "type: Mesh\nname: m\n").status).To(Equal(http.StatusUnsupportedMediaType))
	})
})
