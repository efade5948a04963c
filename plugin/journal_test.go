package plugin_test

import (
	"fmt"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
)

var _ = Describe("a journal", func() {
	web := api.Key{Kind: api.KindDataplane, Mesh: "default", Name: "web"}
	shop := api.Key{Kind: api.KindDataplane, Mesh: "default", Name: "shop"}

	It("tells of each finding once, and when it is over", func() {
		var j plugin.Journal
		begun, ended := j.Record(web, plugin.Note{Findings: []string{"a", "b", "a"}})
		Expect(begun).To(Equal([]string{"a", "b"}))
		Expect(ended).To(BeEmpty())

		begun, ended = j.Record(web, plugin.Note{Findings: []string{"a", "b"}})
		Expect(begun).To(BeEmpty())
		Expect(ended).To(BeEmpty())

		begun, ended = j.Record(web, plugin.Note{Findings: []string{"b", "c"}})
		Expect(begun).To(Equal([]string{"c"}))
		Expect(ended).To(Equal([]string{"a"}))

		begun, ended = j.Record(web, plugin.Note{})
		Expect(begun).To(BeEmpty())
		Expect(ended).To(Equal([]string{"b", "c"}))
	})

	It("keeps proxies apart and counts the mirrors of all", func() {
		var j plugin.Journal
		j.Record(web, plugin.Note{Findings: []string{"a"}, States: map[plugin.State]int{plugin.Injected: 2, plugin.Refused: 1}})
		begun, _ := j.Record(shop, plugin.Note{Findings: []string{"a"}, States: map[plugin.State]int{plugin.Injected: 1}})
		Expect(begun).To(Equal([]string{"a"}))
		Expect(j.States()).To(Equal(map[plugin.State]int{plugin.Injected: 3, plugin.Refused: 1}))

		j.Record(web, plugin.Note{States: map[plugin.State]int{plugin.Injected: 1}})
		Expect(j.States()).To(Equal(map[plugin.State]int{plugin.Injected: 2}))
	})

	It("takes down the problems of a report and counts its mirrors", func() {
		policy := api.Key{Kind: api.KindTrafficRoute, Mesh: "default", Name: "route"}
		shadow := api.Tags{api.ServiceTag: "shadow"}
		note := plugin.Report{
			{Proxy: web, Policy: policy, Path: "conf.mirror", Destination: shadow, Percentage: 50, State: plugin.Injected},
			{Proxy: web, Policy: policy, Path: "conf.http[0].mirror", Destination: shadow, Percentage: 50, State: plugin.Refused, Reason: "why"},
			{Proxy: web, Policy: policy, Path: "conf.http[1].split[2]", State: plugin.Damaged, Reason: "what"},
		}.Note()
		Expect(note.Findings).To(Equal([]string{
			`Dataplane "web" in mesh "default": TrafficRoute "route" in mesh "default": conf.http[0].mirror: mirror of 50 % to kuma.io/service=shadow: refused: why`,
			`Dataplane "web" in mesh "default": TrafficRoute "route" in mesh "default": conf.http[1].split[2]: damaged: what`,
		}))
		Expect(note.States).To(Equal(map[plugin.State]int{plugin.Injected: 1, plugin.Refused: 1, plugin.Damaged: 1}))
		Expect(plugin.Report{}.Note()).To(BeZero())
	})

	It("is safe for several goroutines", func() {
		var j plugin.Journal
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				proxy := api.Key{Kind: api.KindDataplane, Mesh: "default", Name: fmt.Sprint(i)}
				for range 100 {
					j.Record(proxy, plugin.Note{States: map[plugin.State]int{plugin.Injected: 1}})
					j.States()
				}
			})
		}
		group.Wait()
		Expect(j.States()).To(Equal(map[plugin.State]int{plugin.Injected: 8}))
	})
})
