package rest

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	"github.com/kuma-mirror/kuma-mirror/standalone/serve/secure"
)

var _ = Describe("the audit log", func() {
	var w *world
	var log *gbytes.Buffer
	BeforeEach(func() {
		log = gbytes.NewBuffer()
		audit := slog.New(slog.NewTextHandler(log, nil))
		w = newWorld(setup{audit: Audit(audit)})
	})

	const route = `
type: TrafficRoute
mesh: default
name: r
sources: [{match: {kuma.io/service: '*'}}]
destinations: [{match: {kuma.io/service: b}}]
conf: {destination: {kuma.io/service: b}, mirror: {destination: {kuma.io/service: `

	It("has a line for each resource, with what became of its mirrors", func() {
		Expect(w.do(http.MethodPost, "/apply", "type: Mesh\nname: shop\n---"+route+"v2}, percentage: 10}}").status).To(Equal(http.StatusOK))
		Expect(log).To(gbytes.Say(`INFO msg="a resource was written" kind=Mesh name=shop result=created\n`))
		Expect(log).To(gbytes.Say(`kind=TrafficRoute mesh=default name=r result=created mirrors="conf.mirror: none -> 10 % to kuma.io/service=v2"\n`))

		Expect(w.do(http.MethodPost, "/apply", route+"v3}, percentage: 50}}").status).To(Equal(http.StatusOK))
		Expect(log).To(gbytes.Say(`name=r result=configured mirrors="conf.mirror: 10 % to kuma.io/service=v2 -> 50 % to kuma.io/service=v3"\n`))

		Expect(w.do(http.MethodPost, "/apply", route+"v3}, percentage: 50}}").status).To(Equal(http.StatusOK))
		Expect(w.delete("/meshes/default/traffic-routes/r").status).To(Equal(http.StatusOK))
		Expect(log).To(gbytes.Say(`^time=\S+ level=INFO msg="a resource was written" kind=TrafficRoute mesh=default name=r result=deleted mirrors="conf.mirror: 50 % to kuma.io/service=v3 -> none"\n`),
			"nothing was written in between")
	})

	It("has those that go with their mesh", func() {
		w.has("type: Mesh\nname: shop\n---\ntype: ExternalService\nmesh: shop\nname: e\nnetworking: {address: '192.0.2.1:80'}\ntags: {kuma.io/service: e}\n")
		Expect(w.delete("/meshes/shop").status).To(Equal(http.StatusOK))
		Expect(log).To(gbytes.Say(`kind=Mesh name=shop result=deleted\n`))
		Expect(log).To(gbytes.Say(`kind=ExternalService mesh=shop name=e result=deleted\n`))
	})

	It("calls a write that failed by that name, with the reason", func() {
		Expect(w.delete("/meshes/default/traffic-routes/r").status).To(Equal(http.StatusNotFound))
		Expect(log).To(gbytes.Say(`WARN msg="a resource was not written" kind=TrafficRoute mesh=default name=r result=failed error="404: Not found"\n`))
		Expect(w.put("/meshes/default/dataplanes/web", dataplane("web"), header{"If-Match", `"x"`}).status).To(Equal(http.StatusPreconditionFailed))
		Expect(log).To(gbytes.Say(`kind=Dataplane mesh=default name=web result=failed error="412: `))
		Expect(log).NotTo(gbytes.Say("was written"))
	})

	It("says who, where there are tokens", func() {
		file := filepath.Join(GinkgoT().TempDir(), "tokens")
		Expect(os.WriteFile(file, []byte("0123456789abcdef admin alice\n"), 0o600)).To(Succeed())
		guard, err := secure.Open(secure.Options{APIAddress: "127.0.0.1:0", TokenFile: file})
		Expect(err).NotTo(HaveOccurred())
		w = newWorld(setup{audit: Audit(slog.New(slog.NewTextHandler(log, nil))), wrap: guard.Handler})
		Expect(w.delete("/meshes/shop", header{"Authorization", "Bearer 0123456789abcdef"}).status).To(Equal(http.StatusNotFound))
		Expect(log).To(gbytes.Say("kind=Mesh name=shop result=failed token=alice"))
	})
})
