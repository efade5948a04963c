// Package mirroring_test says what becomes of requests and their copies on real
// Envoys that a real host configures.
package mirroring_test

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

func TestMirroring(t *testing.T) {
	RegisterFailHandler(Fail)
	// Two cores may have a lot more to do.
	SetDefaultEventuallyTimeout(10 * time.Second)
	SetDefaultConsistentlyDuration(100 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "Mirroring on real Envoys")
}

// scene is a world with its Envoy.
type scene struct {
	*world.World
	envoy *envoytest.Envoy
}

// onEachEnvoy makes the specs for each version of Envoy. open, which they call
// when files are written, starts a host and web's Envoy.
func onEachEnvoy(what string, specs func(open func(context.Context, *world.World) *scene)) bool {
	for _, version := range envoytest.Versions() {
		Describe(what+" (Envoy "+version+")", func() {
			specs(func(ctx context.Context, w *world.World) *scene {
				GinkgoHelper()
				return &scene{World: w, envoy: w.Start(ctx, envoytest.Binary(version))}
			})
		})
	}
	return true
}

// stat waits until a counter or gauge of Envoy is as expected.
func (s *scene) stat(ctx context.Context, name string, expected any) {
	GinkgoHelper()
	Eventually(ctx, func(ctx context.Context) (uint64, error) { return s.envoy.Stat(ctx, name) }).
		Should(beOrEqual(expected), name)
}

func beOrEqual(expected any) OmegaMatcher {
	if matcher, ok := expected.(OmegaMatcher); ok {
		return matcher
	}
	return BeEquivalentTo(expected)
}

// copyOf waits until a shadow has got a copy of the request, and returns it.
func copyOf(b *backend.HTTP, id string) *backend.Request {
	GinkgoHelper()
	var got *backend.Request
	Eventually(func() *backend.Request {
		got = world.Got(b, id)
		return got
	}).ShouldNot(BeNil(), "the shadow gets a copy of "+id)
	return got
}

// got waits until a backend has got exactly these requests, each once, and sees
// that it stays so.
func got(b *backend.HTTP, ids ...string) {
	GinkgoHelper()
	expected := map[string]int{}
	for _, id := range ids {
		expected[id] = 1
	}
	Eventually(world.IDs).WithArguments(b).Should(Equal(expected))
	Consistently(world.IDs).WithArguments(b).Should(Equal(expected))
}
