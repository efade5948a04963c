package rest

import (
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

var _ = Describe("overviews of data planes", func() {
	var w *world
	BeforeEach(func() {
		w = newWorld(setup{serves: true})
		w.has(shop)
	})

	insight := func(item any) any { return item.(object)["dataplaneInsight"] }

	It("say nothing of an Envoy that is not connected", func() {
		got := w.get("/meshes/default/dataplanes/web/_overview").JSON()
		Expect(got).To(And(HaveKeyWithValue("type", "DataplaneOverview"), HaveKeyWithValue("name", "web"), HaveKeyWithValue("mesh", "default")))
		Expect(got["dataplane"]).To(HaveKey("networking"))
		Expect(insight(got)).To(BeEmpty())
	})

	It("tell of the stream of one that is", func() {
		// The host may not have the Dataplane yet.
		w.connect("default.web")
		var subscription object
		Eventually(func(g Gomega) {
			got := insight(w.get("/meshes/default/dataplanes/web/_overview").JSON())
			g.Expect(got).To(HaveKeyWithValue("subscriptions", HaveLen(1)))
			subscription = got.(object)["subscriptions"].([]any)[0].(object)
			g.Expect(subscription["status"]).To(HaveKeyWithValue("total", And(
				HaveKeyWithValue("responsesSent", "1"),
				HaveKeyWithValue("responsesAcknowledged", "1"),
				Not(HaveKey("responsesRejected")),
			)))
		}, 5*time.Second).Should(Succeed())
		connected, err := time.Parse(time.RFC3339Nano, subscription["connectTime"].(string))
		Expect(err).NotTo(HaveOccurred())
		Expect(connected).To(BeTemporally("~", time.Now(), time.Minute))
		Expect(subscription["status"]).To(HaveKey("lastUpdateTime"))
		Expect(subscription).NotTo(HaveKey("disconnectTime"), "which would mean offline")
		Expect(subscription["controlPlaneInstanceId"]).To(Equal(w.get("/").JSON()["instanceId"]))
	})

	It("go on with a stream that begins before the broken one has ended", func() {
		s := streams{byNode: map[string]subscriptionStatus{}, open: map[string]int{}}
		for _, kind := range []ads.EventKind{ads.Connected, ads.Acknowledged, ads.Connected, ads.Acknowledged, ads.Disconnected} {
			s.Event(ads.Event{Node: "default.web", Kind: kind})
		}
		Expect(s.status("default.web").Total.Acknowledged).To(BeEquivalentTo(1))
		s.Event(ads.Event{Node: "default.web", Kind: ads.Disconnected})
		Expect(s.byNode).To(BeEmpty())
		Expect(s.open).To(BeEmpty())
	})

	It("are listed as the data planes are, under both of Kuma's names", func() {
		for _, path := range []string{"/dataplanes/_overview", "/dataplanes+insights"} {
			Expect(names(w.get(path))).To(Equal([]string{"default/web", "shop/backend-1", "shop/backend-2"}))
			Expect(names(w.get("/meshes/shop" + path + "?size=1"))).To(Equal([]string{"shop/backend-1"}))
		}
		Expect(w.get("/meshes/default/dataplanes+insights/web").body).To(Equal(w.get("/meshes/default/dataplanes/web/_overview").body))
		Expect(w.get("/meshes/default/dataplanes/nope/_overview").status).To(Equal(http.StatusNotFound))
	})
})
