package promise_test

import (
	"context"
	"fmt"
	"time"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
)

// fault is something that is wrong about a mirror, or nothing.
type fault struct {
	// mirror is the entry's mirror, as YAML; empty for none.
	mirror string
	// files are the resources it needs, by the name of their file.
	files map[string]string
	// named says that Envoy asks for the shadow's name, and names answer; nil
	// never do.
	named bool
	names names
	// refused says that an Envoy refuses the mirror.
	refused bool
}

// times are how long a primary waited, and what its clients got meanwhile.
type times struct {
	// change is from the edit that moves the primary and adds the mirror to the
	// first answer of the new primary, other that of a later change of another
	// outbound, and restart from the start of an Envoy to the first answer on
	// both outbounds.
	change, other, restart time.Duration
	failed                 []world.Exchange
	// questions of the Envoys, for names.
	questions int64
	// states of the mirror after the change, and after the restart.
	states []status.Mirror
}

// run lets a data plane with two outbounds live through the fault.
func run(ctx context.Context, t world.T, version string, protocol ads.Protocol, f fault) times {
	t.Helper()
	w := world.New(t)
	port := envoytest.FreePorts(1)[0]
	w.Write("web.yaml", world.Caller("web", w.Port)+fmt.Sprintf("  - {port: %d, tags: {kuma.io/service: other}}\n", port))
	w.HTTP("v1")
	w.HTTP("v3")
	for _, name := range []string{"o1", "o2"} {
		w.Write(name+".yaml", world.Instance(name, "other", name, "http", world.StartHTTP(t, name).Port()))
	}
	route := func(version, mirror string) {
		w.Route(fmt.Sprintf("destination: {kuma.io/service: backend, version: %s}\n%s", version, mirror))
	}
	other := func(version string) {
		w.Write("other.yaml", fmt.Sprintf(`
type: TrafficRoute
name: other
sources: [{match: {kuma.io/service: web}}]
destinations: [{match: {kuma.io/service: other}}]
conf:
  destination: {kuma.io/service: other, version: %s}
`, version))
	}
	route("v1", "")
	other("o1")
	clients := map[string]*world.Client{
		"backend": world.NewClient(t, w.URL, false),
		"other":   world.NewClient(t, fmt.Sprintf("http://127.0.0.1:%d", port), false),
	}
	// until waits for an answer of the backend, and says how long it took.
	until := func(begun time.Time, service, expected string) time.Duration {
		t.Helper()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			answer, err := clients[service].Send(ctx, world.Request{})
			if err == nil && answer.Backend == expected {
				return time.Since(begun)
			}
			select {
			case <-ctx.Done():
				t.Fatalf("no answer of %s after %s: %v %v", expected, time.Since(begun), answer, err)
			case <-tick.C:
			}
		}
	}
	server, asked := f.names.serve(t)
	resolver := resolveAt(t, server)
	open := func() *envoytest.Envoy {
		t.Helper()
		return w.Envoy(ctx, envoytest.Binary(version), "web", protocol, resolver)
	}

	var mirrors *status.Status
	w.Host(func(h *host.Host) { mirrors = status.New(h) })
	envoy := open()
	until(time.Now(), "backend", "v1")
	until(time.Now(), "other", "o1")

	var out times
	traffic := w.Traffic()
	for name, content := range f.files {
		w.Write(name, content)
	}
	begun := time.Now()
	route("v3", f.mirror)
	out.change = until(begun, "backend", "v3")
	begun = time.Now()
	other("o2")
	out.other = until(begun, "other", "o2")
	traffic.Stop()
	observe := func() { out.states = append(out.states, mirrors.Snapshot()...) }
	observe()
	out.failed = traffic.Failed()

	if err := envoy.Stop(); err != nil {
		t.Fatalf("%v", err)
	}
	begun = time.Now()
	envoy = open()
	out.restart = max(until(begun, "backend", "v3"), until(begun, "other", "o2"))
	observe()
	out.questions = asked.Load()
	if err := envoy.Stop(); err != nil {
		t.Fatalf("%v", err)
	}
	return out
}
