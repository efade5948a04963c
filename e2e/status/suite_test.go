// Package status_test compares what the host says of mirrors with what backends
// behind real Envoys have counted.
package status_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/types/known/durationpb"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
)

func TestStatus(t *testing.T) {
	RegisterFailHandler(Fail)
	// Two cores may have a lot more to do.
	SetDefaultEventuallyTimeout(15 * time.Second)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "Status on real Envoys")
}

// interval is how often Envoys send their stats here, so that nobody waits long.
const interval = 200 * time.Millisecond

// scene is a world whose host has a Status.
type scene struct {
	*world.World
	version string
	status  *status.Status
	envoy   *envoytest.Envoy
}

// onEachEnvoy makes the specs for each version of Envoy.
func onEachEnvoy(what string, specs func(version string)) bool {
	for _, version := range envoytest.Versions() {
		Describe(what+" (Envoy "+version+")", func() { specs(version) })
	}
	return true
}

// serve starts the host, when files are written.
func serve(w *world.World, version string) *scene {
	GinkgoHelper()
	s := &scene{World: w, version: version}
	s.Host(func(h *host.Host) { s.status = status.New(h) })
	return s
}

// open starts the host and web's Envoy.
func open(ctx context.Context, w *world.World, version string) *scene {
	GinkgoHelper()
	s := serve(w, version)
	s.start(ctx)
	return s
}

// start starts web's Envoy.
func (s *scene) start(ctx context.Context) {
	GinkgoHelper()
	s.envoy = s.Envoy(ctx, envoytest.Binary(s.version), "web", ads.Delta, func(b *bootstrap.Bootstrap) {
		b.StatsFlushInterval = durationpb.New(interval)
	})
}

// mirror is the one at a path of the TrafficRoute.
func (s *scene) mirror(g Gomega, path string) status.Mirror {
	for _, m := range s.status.Snapshot() {
		if m.Path == path {
			return m
		}
	}
	g.Expect(path).To(BeEmpty(), "there is no such mirror")
	return status.Mirror{}
}

// figures waits until what is said of a mirror passes the check, and sees that
// it stays so: nothing more is counted.
func (s *scene) figures(ctx context.Context, path string, check func(Gomega, status.Window, status.Total)) {
	GinkgoHelper()
	checked := func(g Gomega) {
		m := s.mirror(g, path)
		g.Expect(m.Window).NotTo(BeNil())
		g.Expect(m.Total).NotTo(BeNil())
		check(g, *m.Window, *m.Total)
	}
	Eventually(ctx, checked).Should(Succeed())
	Consistently(checked, 2*interval).Should(Succeed())
}

// is waits for a state.
func (s *scene) is(ctx context.Context, path string, state status.State, reason string) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		m := s.mirror(g, path)
		g.Expect(m.State).To(Equal(state))
		g.Expect(m.Reason).To(ContainSubstring(reason))
		if state != status.Active {
			g.Expect(m.Reason).NotTo(BeEmpty())
		}
	}).Should(Succeed())
}

// send sends n requests from four clients.
func (s *scene) send(ctx context.Context, n int, r world.Request) {
	GinkgoHelper()
	const clients = 4
	var running sync.WaitGroup
	failures := make([]error, clients)
	for i := range clients {
		client := world.NewClient(GinkgoT(), s.URL, true)
		running.Go(func() {
			for range n / clients {
				if _, err := client.Send(ctx, r); err != nil {
					failures[i] = err
					return
				}
			}
		})
	}
	running.Wait()
	Expect(failures).To(HaveEach(BeNil()))
}

// got is how many requests a backend has got whose paths begin so, all of their
// bodies included.
func got(b *backend.HTTP, prefix string) int {
	n := 0
	for _, r := range b.Requests() {
		if strings.HasPrefix(r.Path, prefix) && r.BodyErr == nil {
			n++
		}
	}
	return n
}
