package metrics

import (
	"errors"
	"regexp"
	"strconv"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
)

// fakeHost has one Envoy.
type fakeHost struct {
	envoy  ads.ProxyStatus
	others []ads.ProxyStatus
	// then happens right after the Envoy was asked for.
	then func()
}

func (f *fakeHost) Proxy(api.Key) ads.ProxyStatus {
	was := f.envoy
	if f.then != nil {
		f.then()
	}
	return was
}
func (f *fakeHost) Proxies() []ads.ProxyStatus { return append(f.others, f.envoy) }

var _ = Describe("the metrics of what Envoys are served", func() {
	web := &api.Resource{Kind: api.KindDataplane, Meta: api.Meta{Mesh: "default", Name: "web"}, Spec: &api.Dataplane{}}
	var h *fakeHost
	var m *hostMetrics

	BeforeEach(func() {
		h = &fakeHost{envoy: ads.ProxyStatus{Node: "default.web", Configured: true, Connected: true, InSync: true}}
		m = newHostMetrics(h)
	})

	change := func() {
		m.Updated(nil)
		m.Generated(host.Generated{Dataplane: web})
	}
	event := func(kind ads.EventKind, after time.Duration) {
		m.Event(ads.Event{Kind: kind, Node: "default.web", Type: resource.ClusterType, InSync: h.envoy.InSync, Time: m.began.Add(after)})
	}
	// pushed returns how many pushes there were, and how long they took in all.
	pushed := func() (count, seconds float64) {
		GinkgoHelper()
		for _, line := range scrapeOf(m) {
			if found := regexp.MustCompile(`^kuma_mirror_xds_push_duration_seconds_(count|sum) (\S+)$`).FindStringSubmatch(line); found != nil {
				value, err := strconv.ParseFloat(found[2], 64)
				Expect(err).NotTo(HaveOccurred())
				if found[1] == "sum" {
					seconds = value
				} else {
					count = value
				}
			}
		}
		return count, seconds
	}

	It("time a change until the last acknowledgement", func() {
		h.envoy.InSync = false
		change()
		event(ads.Acknowledged, 10*time.Millisecond) // clusters; the routes are to come
		count, _ := pushed()
		Expect(count).To(BeZero())
		h.envoy.InSync = true
		event(ads.Acknowledged, 30*time.Millisecond)
		event(ads.Acknowledged, 5*time.Second) // old clusters have gone
		count, seconds := pushed()
		Expect(count).To(BeEquivalentTo(1))
		Expect(seconds).To(BeNumerically("~", 0.03, 1e-9))
	})

	It("time from the first of several changes", func() {
		h.envoy.InSync = false
		change()
		first := m.began
		change()
		h.envoy.InSync = true
		m.Event(ads.Event{Kind: ads.Acknowledged, Node: "default.web", InSync: true, Time: first.Add(time.Second)})
		count, seconds := pushed()
		Expect(count).To(BeEquivalentTo(1))
		Expect(seconds).To(BeNumerically("~", 1, 1e-9))
	})

	It("count an Envoy that is faster than the host's own books", func() {
		m.Updated(nil)
		event(ads.Acknowledged, 2*time.Millisecond)
		m.Generated(host.Generated{Dataplane: web})
		count, seconds := pushed()
		Expect(count).To(BeEquivalentTo(1))
		Expect(seconds).To(BeNumerically("~", 0.002, 1e-9))
	})

	It("count an Envoy that acknowledges while it is looked at, once", func() {
		h.envoy.InSync = false
		m.Updated(nil)
		h.then = func() {
			h.then = nil
			h.envoy.InSync = true
			m.Event(ads.Event{Kind: ads.Acknowledged, Node: "default.web", InSync: true, Time: time.Now()})
		}
		m.Generated(host.Generated{Dataplane: web})
		count, _ := pushed()
		Expect(count).To(BeEquivalentTo(1))
		event(ads.Acknowledged, time.Hour)
		count, _ = pushed()
		Expect(count).To(BeEquivalentTo(1), "nothing was owed any more")
	})

	It("go on with a stream that begins before the broken one has ended", func() {
		event(ads.Connected, 0)
		event(ads.Connected, 0)
		h.envoy.InSync = false
		change()
		event(ads.Disconnected, time.Millisecond)
		h.envoy.InSync = true
		event(ads.Acknowledged, 20*time.Millisecond)
		count, seconds := pushed()
		Expect(count).To(BeEquivalentTo(1))
		Expect(seconds).To(BeNumerically("~", 0.02, 1e-9))
	})

	It("time nothing where nothing is pushed, or nobody is there", func() {
		change() // the configuration is what it was
		event(ads.Acknowledged, time.Hour)
		h.envoy.Connected, h.envoy.InSync = false, false
		change()
		h.envoy.Connected = true
		event(ads.Connected, 0)
		h.envoy.InSync = true
		event(ads.Acknowledged, time.Hour)
		count, _ := pushed()
		Expect(count).To(BeZero())
	})

	It("time nothing that is refused or cut off", func() {
		for _, kind := range []ads.EventKind{ads.Refused, ads.Disconnected} {
			h.envoy.InSync = false
			change()
			event(kind, 0)
			h.envoy.InSync = true
			event(ads.Acknowledged, 0)
		}
		count, _ := pushed()
		Expect(count).To(BeZero())
		Expect(scrapeOf(m)).To(ContainElements(
			`kuma_mirror_xds_pushes_total{result="refused",type="cluster"} 1`,
			`kuma_mirror_xds_pushes_total{result="accepted",type="cluster"} 2`,
			`kuma_mirror_xds_pushes_total{result="accepted",type="route"} 0`,
		))
	})

	It("count data planes, and those that cannot be generated", func() {
		change()
		Expect(scrapeOf(m)).To(ContainElements(`kuma_mirror_dataplanes 1`, `kuma_mirror_dataplanes_failing 0`, `kuma_mirror_changes_total 1`))
		m.Generated(host.Generated{Dataplane: web, Err: errors.New("no")})
		Expect(scrapeOf(m)).To(ContainElements(
			`kuma_mirror_dataplanes 1`, `kuma_mirror_dataplanes_failing 1`,
			`kuma_mirror_generations_total{result="ok"} 1`, `kuma_mirror_generations_total{result="failed"} 1`,
		))
		m.Removed(web.Key())
		Expect(scrapeOf(m)).To(ContainElements(`kuma_mirror_dataplanes 0`, `kuma_mirror_dataplanes_failing 0`))
	})

	It("say how each Envoy stands", func() {
		h.others = []ads.ProxyStatus{
			{Configured: true},
			{Configured: true, Connected: true},
			{Configured: true, Connected: true, Types: []ads.TypeStatus{{}, {Refused: &ads.Refusal{}}}},
			{Connected: true},
			{Connected: true},
		}
		Expect(scrapeOf(m)).To(ContainElements(
			`kuma_mirror_proxies{state="in_sync"} 1`, `kuma_mirror_proxies{state="not_connected"} 1`, `kuma_mirror_proxies{state="syncing"} 1`,
			`kuma_mirror_proxies{state="refusing"} 1`, `kuma_mirror_proxies{state="unknown"} 2`,
		))
	})
})
