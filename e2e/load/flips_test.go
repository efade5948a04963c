package load_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

// state is what a TrafficRoute says: who answers, and who gets copies.
type state struct{ primary, shadow string }

// cycle changes one thing at a time; the fourth state is the first again.
var cycle = []state{
	{"v1", ""},
	{"v1", "v3"}, // mirror on
	{"v2", "v3"}, // to another primary
	{"v2", ""},   // mirror off
}

// flip is the TrafficRoute of a world in a revision.
func flip(revision int) string {
	s := cycle[revision%len(cycle)]
	mirror := ""
	if s.shadow != "" {
		mirror = fmt.Sprintf("\n  mirror: {destination: {kuma.io/service: backend, version: %s}}", s.shadow)
	}
	destination := fmt.Sprintf("destination: {kuma.io/service: backend, version: %s}", s.primary)
	return "mesh: default\n" + world.Route("web", fmt.Sprintf(`
http:
- match: {path: {prefix: /}}
  modify: {responseHeaders: {add: [{name: %s, value: "%d"}]}}
  %s%s
%s
`, revisionHeader, revision, destination, mirror, destination))
}

// applied is a world whose resources a host has in its store, and its Envoy.
func applied(t world.T, ctx context.Context, version string, protocol ads.Protocol) (*host, *flips) {
	t.Helper()
	w := &flips{World: world.New(t), backends: map[string]*backend.HTTP{}}
	for _, v := range []string{"v1", "v2", "v3"} {
		w.backends[v] = w.HTTP(v)
	}
	h := start(t, dataDir(t))
	files, err := filepath.Glob(filepath.Join(w.Dir, "*.yaml"))
	Expect(err).NotTo(HaveOccurred())
	documents := []string{flip(0)}
	for _, file := range files {
		text, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		documents = append(documents, string(text))
	}
	h.apply(ctx, documents)
	// A write is answered when it is on the disk, which is before it is served.
	Eventually(ctx, h.dataplanes).Should(BeEquivalentTo(len(files)))
	w.XDSAddress = h.xds
	binary, err := envoytest.Find(version)
	Expect(err).NotTo(HaveOccurred())
	w.Envoy(ctx, binary, "web", protocol)
	return h, w
}

// flips is a world with its backends by version.
type flips struct {
	*world.World
	backends map[string]*backend.HTTP
}

var _ = Describe("a route that is changed 100 times over the API under traffic", func() {
	for i, version := range envoytest.Versions() {
		protocol := []ads.Protocol{ads.Delta, ads.StateOfTheWorld}[i%2]
		It(fmt.Sprintf("fails no request, and holds for each whole (Envoy %s, %s)", version, protocol), func(ctx SpecContext) {
			h, w := applied(GinkgoT(), ctx, version, protocol)
			traffic := w.Traffic()
			const flips = 100
			for revision := range flips + 1 {
				if revision > 0 {
					h.do(ctx, http.MethodPut, routePath("web"), flip(revision))
				}
				Eventually(traffic.All).WithArguments(func(a *world.Answer) bool {
					return a.Header.Get(revisionHeader) == fmt.Sprint(revision)
				}).WithPolling(2*time.Millisecond).Should(BeTrue(), "revision %d", revision)
			}
			// Each request was answered, and copied, as its revision says.
			expected := map[string]map[string]int{"v1": {}, "v2": {}, "v3": {}}
			seen := map[int]bool{}
			for _, e := range traffic.Stop() {
				Expect(e.Err).NotTo(HaveOccurred(), e.ID)
				revision, err := strconv.Atoi(e.Answer.Header.Get(revisionHeader))
				Expect(err).NotTo(HaveOccurred())
				s := cycle[revision%len(cycle)]
				Expect(e.Answer.Backend).To(Equal(s.primary), "revision %d", revision)
				expected[s.primary][e.ID] = 1
				if s.shadow != "" {
					expected[s.shadow][e.ID] = 1
				}
				seen[revision] = true
			}
			Expect(seen).To(HaveLen(flips + 1))
			for v, ids := range expected {
				Eventually(world.IDs).WithArguments(w.backends[v]).Should(Equal(ids), v)
			}
		})
	}
})
