package demo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// The paths of the demo: all, half and none of their requests are mirrored.
const (
	pathAll  = "/api/v1"
	pathHalf = "/api/v2"
	pathNone = "/api/v3"
)

const (
	// batch is how many requests are sent before their copies have to be
	// through: fewer than the 128 that a mirror has in flight by default, so
	// that even a shadow that stands still for a moment loses none.
	batch = 100
	// samples and chance make the sampling checks: of that many requests, how
	// many are copied may leave the accepted range by bad luck with a
	// probability of chance at most. Two checks draw, so a whole run fails by
	// bad luck less often than once in 10^9 runs.
	samples = 1000
	chance  = 1e-10
	// checkTimeout is far more than a run takes (a few seconds).
	checkTimeout = time.Minute
)

// check is one row of the table.
type check struct {
	kind     Kind
	name     string
	expected string
	// run says what was seen, and in err why that is not what was expected.
	run func(ctx context.Context, t *trial) (seen string, err error)
}

// checks are the test cases and the verifications of the documentation, by
// their names there and in their order. The last one kills the shadow.
func checks() []check {
	low, high, _ := binomialRange(samples, 0.5, chance)
	sampled := fmt.Sprintf("%d to %d of %d copied", low, high, samples)
	return []check{
		{TestCase, "test_100_percent_mirroring", "100 of 100 copied",
			func(ctx context.Context, t *trial) (string, error) { return t.rate(ctx, pathAll, 100, 1, 100, 100) }},
		{TestCase, "test_50_percent_mirroring_sampling", sampled,
			func(ctx context.Context, t *trial) (string, error) {
				return t.rate(ctx, pathHalf, samples, 1, low, high)
			}},
		{TestCase, "test_no_mirroring_baseline", "0 of 100 copied",
			func(ctx context.Context, t *trial) (string, error) { return t.rate(ctx, pathNone, 100, 1, 0, 0) }},
		{TestCase, "test_post_request_mirroring", "10 of 10 copied, bodies equal",
			func(ctx context.Context, t *trial) (string, error) { return t.bodies(ctx, t.posts()) }},
		{TestCase, "test_envoy_cluster_health", "both clusters healthy", health},
		{TestCase, "test_envoy_mirroring_stats", "total +50, completed +50, 2xx +50", stats},

		{Verification, "Primary Response Only", "primary answers everything", primaryOnly},
		{Verification, "Shadow Traffic", "Envoy sent what the shadow got", shadowTraffic},
		{Verification, "Sampling Rate", sampled,
			func(ctx context.Context, t *trial) (string, error) {
				return t.rate(ctx, pathHalf, samples, 8, low, high)
			}},
		{Verification, "POST Body Mirroring", "12 of 12 copied, bodies equal",
			func(ctx context.Context, t *trial) (string, error) { return t.bodies(ctx, t.uploads()) }},
		{Verification, "Cluster Health", "both clusters healthy", health},
		{Verification, "No Impact on Primary", "shadow killed: 300 of 300 answered", noImpact},
	}
}

// trial is a demo under check.
type trial struct {
	*environment
	ids atomic.Int64
}

func (t *trial) get(path string) outgoing {
	return outgoing{method: http.MethodGet, path: path, id: t.id()}
}

func (t *trial) id() string { return fmt.Sprintf("check-%d", t.ids.Add(1)) }

func (t *trial) gets(path string, n int) []outgoing {
	all := make([]outgoing, n)
	for i := range all {
		all[i] = t.get(path)
	}
	return all
}

// posts are small bodies as programs send them.
func (t *trial) posts() []outgoing {
	all := make([]outgoing, 10)
	for i := range all {
		all[i] = outgoing{method: http.MethodPost, path: pathAll, id: t.id(),
			body: fmt.Appendf(nil, `{"order": %d, "note": "checked by kuma-mirror"}`, i)}
	}
	return all
}

// uploads are bodies up to near the limit of 1 MiB, with a length and chunked.
func (t *trial) uploads() []outgoing {
	random := rand.NewChaCha8([32]byte{})
	var all []outgoing
	for _, method := range []string{http.MethodPost, http.MethodPut} {
		for _, size := range []int{10, 64 << 10, 1 << 20} {
			for _, chunked := range []bool{false, true} {
				body := make([]byte, size)
				_, _ = random.Read(body) // never fails
				all = append(all, outgoing{method: method, path: pathAll, id: t.id(), body: body, chunked: chunked})
			}
		}
	}
	return all
}

// traffic sends requests from several clients at once, and returns how long the
// answers took when all copies are through.
func (t *trial) traffic(ctx context.Context, requests []outgoing, clients int) ([]time.Duration, error) {
	var took []time.Duration
	var failures []error
	for part := range slices.Chunk(requests, batch) {
		times, err := t.burst(ctx, part, clients, func(int) {})
		took, failures = append(took, times...), append(failures, err)
		if _, err := t.client.settle(ctx); err != nil {
			failures = append(failures, err)
			break
		}
	}
	return took, errors.Join(failures...)
}

// burst is traffic that does not wait for the copies. answered is called, with
// their number so far, when requests are.
func (t *trial) burst(ctx context.Context, requests []outgoing, clients int, answered func(n int)) ([]time.Duration, error) {
	var (
		next, done atomic.Int64
		running    sync.WaitGroup
		took       = make([]time.Duration, len(requests))
		errs       = make([]error, len(requests))
	)
	for range clients {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(requests); i = int(next.Add(1)) - 1 {
				answer, err := t.client.send(ctx, requests[i])
				took[i], errs[i] = answer.took, err
				answered(int(done.Add(1)))
			}
		})
	}
	running.Wait()
	failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(failed) > 0 {
		return took, fmt.Errorf("%d of %d not answered by primary as they should: %w", len(failed), len(requests), failed[0])
	}
	return took, nil
}

// copies sends requests and returns how many of them the shadow got, each once
// and unchanged. Anything else it got meanwhile is an error.
func (t *trial) copies(ctx context.Context, requests []outgoing, clients int) (int, error) {
	before, err := t.client.inspect(ctx, t.shadow.url)
	if err != nil {
		return 0, err
	}
	_, sendErr := t.traffic(ctx, requests, clients)
	after, err := t.client.inspect(ctx, t.shadow.url)
	if err != nil {
		return 0, errors.Join(sendErr, err)
	}
	expected := map[string]outgoing{}
	for _, o := range requests {
		expected[o.id] = o
	}
	arrived := min(after.Count-before.Count, len(after.Recent))
	copied := 0
	for _, r := range after.Recent[len(after.Recent)-arrived:] {
		if o, ok := expected[r.ID]; ok && o.got(r) {
			delete(expected, r.ID) // a second copy is one too many
			copied++
		}
	}
	if wrong := after.Count - before.Count - copied; wrong > 0 {
		err = fmt.Errorf("the shadow got %d requests that are no true copies", wrong)
	}
	return copied, errors.Join(sendErr, err)
}

func (t *trial) rate(ctx context.Context, path string, n, clients, low, high int) (string, error) {
	copied, err := t.copies(ctx, t.gets(path, n), clients)
	if err == nil && (copied < low || copied > high) {
		err = errors.New("the rate is wrong")
	}
	seen := fmt.Sprintf("%d of %d copied", copied, n)
	if 0 < copied && copied < n {
		seen += fmt.Sprintf(" (%.1f %%)", 100*float64(copied)/float64(n))
	}
	return seen, err
}

func (t *trial) bodies(ctx context.Context, requests []outgoing) (string, error) {
	copied, err := t.copies(ctx, requests, 1)
	if err == nil && copied < len(requests) {
		err = errors.New("bodies are missing")
	}
	return fmt.Sprintf("%d of %d copied, bodies equal", copied, len(requests)), err
}

// health asks Envoy for its view of both clusters, and the backends themselves.
func health(ctx context.Context, t *trial) (string, error) {
	if _, err := t.client.get(ctx, t.client.admin+"/ready"); err != nil {
		return "Envoy is not ready", err
	}
	clusters, err := t.client.clusters(ctx)
	if err != nil {
		return "Envoy does not tell", err
	}
	var healthy []string
	var problems []error
	for name, backend := range map[string]*process{primaryService: t.primary, mirrorName: t.shadow} {
		err := clusterHealth(clusters, name, backend.url)
		if err == nil {
			_, err = t.client.inspect(ctx, backend.url)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
			continue
		}
		healthy = append(healthy, name)
	}
	if len(healthy) == 0 {
		return "none healthy", errors.Join(problems...)
	}
	slices.Sort(healthy)
	return strings.Join(healthy, ", ") + " healthy", errors.Join(problems...)
}

// clusterHealth returns why the cluster with that name in Envoy's stats is not
// just one healthy endpoint at url.
func clusterHealth(clusters []*adminv3.ClusterStatus, name, url string) error {
	i := slices.IndexFunc(clusters, func(c *adminv3.ClusterStatus) bool {
		return cmp.Or(c.GetObservabilityName(), c.GetName()) == name
	})
	if i < 0 {
		return errors.New("there is no such cluster")
	}
	endpoints := clusters[i].GetHostStatuses()
	if len(endpoints) != 1 {
		return fmt.Errorf("%d endpoints", len(endpoints))
	}
	socket := endpoints[0].GetAddress().GetSocketAddress()
	if at := fmt.Sprintf("http://%s:%d", socket.GetAddress(), socket.GetPortValue()); at != url {
		return fmt.Errorf("its endpoint is %s, the backend %s", at, url)
	}
	status := endpoints[0].GetHealthStatus()
	switch s := status.GetEdsHealthStatus(); {
	case s != core.HealthStatus_HEALTHY && s != core.HealthStatus_UNKNOWN:
		return fmt.Errorf("its endpoint is %s", s)
	case status.GetFailedOutlierCheck():
		return errors.New("its endpoint is ejected")
	case status.GetFailedActiveHealthCheck(), status.GetPendingDynamicRemoval():
		return errors.New("its endpoint is not used")
	default:
		return nil
	}
}

// stats sends 50 requests, as the documentation does, and looks what that adds
// to Envoy's counters.
func stats(ctx context.Context, t *trial) (string, error) {
	before, err := t.client.mirrorStats(ctx)
	if err != nil {
		return "", err
	}
	const n = 50
	if _, err := t.traffic(ctx, t.gets(pathAll, n), 1); err != nil {
		return "", err
	}
	after, err := t.client.mirrorStats(ctx)
	if err != nil {
		return "", err
	}
	var seen []string
	for _, name := range []string{"total", "completed", "2xx"} {
		added := after["upstream_rq_"+name] - before["upstream_rq_"+name]
		seen = append(seen, fmt.Sprintf("%s %+d", name, added))
		if added != n {
			err = errors.New("the stats do not show the copies")
		}
	}
	return strings.Join(seen, ", "), err
}

// primaryOnly adds every kind of request to what has been sent, and counts over
// all of it.
func primaryOnly(ctx context.Context, t *trial) (string, error) {
	var requests []outgoing
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		for _, path := range []string{pathAll, pathHalf, pathNone, "/elsewhere"} {
			o := outgoing{method: method, path: path, id: t.id()}
			if method != http.MethodGet {
				o.body = []byte("who are you?")
			}
			requests = append(requests, o)
		}
	}
	_, err := t.traffic(ctx, requests, 4)
	sent, answered := t.client.tally()
	if err == nil && answered < sent {
		err = errors.New("some of the earlier answers were not primary's")
	}
	return fmt.Sprintf("%d of %d answers so far", answered, sent), err
}

// shadowTraffic compares Envoy's count of all copies with the shadow's own.
func shadowTraffic(ctx context.Context, t *trial) (string, error) {
	if _, err := t.traffic(ctx, t.gets(pathAll, 10), 1); err != nil {
		return "", err
	}
	envoy, err := t.client.settle(ctx)
	if err != nil {
		return "", err
	}
	shadow, err := t.client.inspect(ctx, t.shadow.url)
	if err != nil {
		return "", err
	}
	sent := envoy["upstream_rq_total"]
	switch {
	case sent == 0:
		err = errors.New("nothing is mirrored")
	case sent != shadow.Count:
		err = errors.New("they differ")
	}
	return fmt.Sprintf("Envoy sent %d, shadow got %d", sent, shadow.Count), err
}

// noImpact kills the shadow in the middle of traffic. It comes last.
func noImpact(ctx context.Context, t *trial) (string, error) {
	const clients = 4
	usual, err := t.traffic(ctx, t.gets(pathAll, batch), clients)
	if err != nil {
		return "before the kill", err
	}
	before, err := t.client.mirrorStats(ctx)
	if err != nil {
		return "", err
	}
	requests := t.gets(pathAll, 280)
	for range 20 {
		requests = append(requests, outgoing{method: http.MethodPost, path: pathAll, id: t.id(),
			body: bytes.Repeat([]byte("0123456789"), 1000)})
	}
	_, answered := t.client.tally()
	took, sendErr := t.burst(ctx, requests, clients, func(n int) {
		if n == 50 {
			t.shadow.kill()
		}
	})
	after, err := t.client.settle(ctx)
	if err != nil {
		return "", errors.Join(sendErr, err)
	}
	lost := 0
	for _, name := range []string{"upstream_cx_connect_fail", "upstream_cx_none_healthy"} {
		lost += after[name] - before[name]
	}
	was, is := median(usual), median(took)
	switch {
	case sendErr != nil:
		err = sendErr
	case lost == 0:
		err = errors.New("no copy failed, so nothing was put to the test")
	case is > 10*was+50*time.Millisecond:
		err = errors.New("primary has become slow")
	}
	_, now := t.client.tally()
	return fmt.Sprintf("%d of %d in %s (before: %s), %d copies lost", now-answered, len(requests),
		milliseconds(is), milliseconds(was), lost), err
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
