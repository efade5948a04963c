package load_test

import (
	"fmt"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

// small is what the specs make do with.
var small = size{proxies: 40, outbounds: 20}

var _ = Describe("a host with many proxies", func() {
	It("sends a change to those it touches, and nothing to the others", func(ctx SpecContext) {
		f := newFleet(ctx, GinkgoT(), small)
		generated, err := f.generations(ctx)
		Expect(err).NotTo(HaveOccurred())
		before := f.counts()
		for revision, touched := range []int{6, 7} { // one of each protocol
			revision++
			f.do(ctx, http.MethodPut, routePath(name(touched)), f.route(touched, revision))
			Eventually(f.proxies[touched].revision).WithArguments(f.neighbour(touched)).Should(Equal(revision))
			before[touched]++ // its route table
			Consistently(f.counts).Should(Equal(before))
			Expect(f.generations(ctx)).To(Equal(generated+float64(revision)), "nothing else is even looked at")
		}

		f.do(ctx, http.MethodPut, "/meshes/default/dataplanes/shared", shared(2))
		f.do(ctx, http.MethodPut, routePath("everyone"), everyone(1))
		for i := range before {
			before[i] += 2 // endpoints, and a route table
		}
		Eventually(f.counts).Should(Equal(before))
		Expect(f.have(1)()).To(HaveLen(f.size.proxies))

		f.do(ctx, http.MethodPut, routePath("everyone"), everyone(1))
		Consistently(f.counts).Should(Equal(before), "what says the same is no change")
		f.settle(ctx)
	})

	It("goes on for the others while some are stuck, serves those when they go on, and ends with them", func(ctx SpecContext) {
		f := newFleet(ctx, GinkgoT(), small)
		// Of both protocols: some read no more, some acknowledge no more.
		const stuck = 10
		for i, p := range f.proxies[:stuck] {
			if i < stuck/2 {
				p.wire.close()
			} else {
				p.answers.close()
			}
		}
		others := f.proxies[stuck:]
		const changes = 5 // a host cuts off who answers nothing for 40 s
		for revision := 1; revision <= changes; revision++ {
			f.apply(ctx, []string{everyone(revision), shared(1 + revision)})
			for _, p := range others {
				Expect(p.await("shared", revision)).To(BeTrue(), "revision %d", revision)
			}
		}
		Eventually(ctx, f.inSync).Should(BeEquivalentTo(len(others)))
		for _, p := range f.proxies[:stuck] {
			Expect(p.revision("shared")).To(BeNumerically("<", changes))
		}

		for i, p := range f.proxies[:stuck] {
			if i%2 == 0 {
				p.wire.open()
				p.answers.open()
			}
		}
		for i, p := range f.proxies[:stuck] {
			if i%2 == 0 {
				Expect(p.await("shared", changes)).To(BeTrue(), "proxy %d", i)
			}
		}
		Eventually(ctx, f.inSync).Should(BeEquivalentTo(len(others) + stuck/2))

		begun := time.Now()
		f.Terminate()
		Eventually(f.Session).Should(gexec.Exit(0))
		Expect(time.Since(begun)).To(BeNumerically("<", 5*time.Second))
	})

	It("loses no write of many at once, and serves the last of each", func(ctx SpecContext) {
		f := newFleet(ctx, GinkgoT(), small)
		s := f.storm(ctx, 0, time.Second)
		Expect(s.wrong).To(BeEmpty())
		Expect(s.writes).NotTo(BeEmpty())
		Expect(s.revisions).To(HaveEach(BeNumerically(">", 0)))
		Expect(f.stored(ctx, f.host)).To(Equal(s.revisions))
		for i, p := range f.proxies {
			Expect(p.await(f.neighbour(i), s.revisions[i])).To(BeTrue(), "proxy %d", i)
		}
		f.settle(ctx)
		f.Kill()
		Eventually(f.Session).Should(gexec.Exit())
		Expect(f.stored(ctx, start(GinkgoT(), f.dir))).To(Equal(s.revisions))
		AddReportEntry("writes", fmt.Sprintf("%d in %s", len(s.writes), s.took.Round(time.Millisecond)))
	})
})

var _ = Describe("a second host on a store", func() {
	It("is refused with what to do, and the first goes on", func(ctx SpecContext) {
		dir := dataDir(GinkgoT())
		first := start(GinkgoT(), dir)
		second := launch(GinkgoT(), dir)
		Eventually(second).Should(gexec.Exit(1))
		Expect(string(second.Err.Contents())).To(HaveSuffix(
			"store.db is in use by another kuma-mirror; stop that one, or give this one a directory of its own\n"))
		Expect(string(second.Out.Contents())).To(BeEmpty(), "it serves nothing")
		first.apply(ctx, []string{shared(1)})
		first.Terminate()
		Eventually(first.Session).Should(gexec.Exit(0))
		Expect(start(GinkgoT(), dir).do(ctx, http.MethodGet, "/dataplanes", "")).To(ContainSubstring(`"shared"`))
	})
})
