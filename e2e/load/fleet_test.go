package load_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

// fleet is a host with a mesh, and a proxy for each of its data planes.
type fleet struct {
	size
	*host
	proxies []*proxy // every other one speaks delta
	dir     string
}

func newFleet(ctx context.Context, t world.T, s size) *fleet {
	t.Helper()
	f := &fleet{size: s, dir: dataDir(t)}
	f.host = start(t, f.dir)
	f.apply(ctx, s.resources())
	for i := range s.proxies {
		protocol := ads.Delta
		if i%2 == 1 {
			protocol = ads.StateOfTheWorld
		}
		f.proxies = append(f.proxies, connect(t, f.host, name(i), protocol))
	}
	f.settle(ctx)
	return f
}

// settle waits until every proxy has all there is for it.
func (f *fleet) settle(ctx context.Context) {
	Eventually(ctx, f.inSync).WithTimeout(time.Minute).Should(BeEquivalentTo(f.size.proxies))
}

// counts are the pushes that each proxy has got so far.
func (f *fleet) counts() []int {
	counts := make([]int, len(f.proxies))
	for i, p := range f.proxies {
		counts[i] = p.count()
	}
	return counts
}

// have says which proxies have a revision of what governs shared.
func (f *fleet) have(revision int) func() []int {
	return func() (all []int) {
		for i, p := range f.proxies {
			if p.revision("shared") == revision {
				all = append(all, i)
			}
		}
		return all
	}
}

// stored are the revisions of each proxy's TrafficRoute, as the API of a host has
// them.
func (f *fleet) stored(ctx context.Context, h *host) ([]int, error) {
	var list struct {
		Items []struct {
			Name string
			Conf struct {
				HTTP []struct {
					Modify struct {
						ResponseHeaders struct {
							Add []struct{ Value string }
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(h.do(ctx, http.MethodGet, "/traffic-routes?size=1000", "")), &list); err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, item := range list.Items {
		for _, entry := range item.Conf.HTTP {
			for _, header := range entry.Modify.ResponseHeaders.Add {
				found[item.Name] += header.Value
			}
		}
	}
	revisions := make([]int, f.size.proxies)
	for i := range revisions {
		var err error
		if revisions[i], err = strconv.Atoi(found[name(i)]); err != nil {
			return nil, fmt.Errorf("TrafficRoute %s: %w", name(i), err)
		}
	}
	return revisions, nil
}

// storm is many writes at once, and reads among them.
type storm struct {
	// revisions of each proxy's TrafficRoute that were acknowledged last.
	revisions []int
	// writes, reads of one resource and lists of all are how long those that were
	// answered took, in order.
	writes, reads, lists []time.Duration
	// wrong are the answers that should not be.
	wrong []string
	took  time.Duration
}

// storm writes every proxy's TrafficRoute in turn, revision after revision,
// perSecond in all and for so long; each write begins when it is due, however
// long those before it take, and takes from then on. perSecond is 0 for as many
// as there are answers to. A hundred times a second it reads one of them, and
// once a second all.
func (f *fleet) storm(ctx context.Context, perSecond int, duration time.Duration) *storm {
	s := &storm{revisions: make([]int, f.size.proxies)}
	begun := time.Now()
	end := begun.Add(duration)
	var mu sync.Mutex
	done := func(of *[]time.Duration, since time.Time, problem string) {
		mu.Lock()
		defer mu.Unlock()
		if problem != "" {
			s.wrong = append(s.wrong, problem)
			return
		}
		*of = append(*of, time.Since(since))
	}
	request := func(method, path, body string) string {
		status, answer, err := f.send(ctx, method, path, body)
		if err != nil {
			return err.Error()
		}
		if status != http.StatusOK {
			return fmt.Sprintf("%s %s: %d %s", method, path, status, answer)
		}
		return ""
	}
	var running sync.WaitGroup
	for w := range min(writers, f.size.proxies) {
		// Each has TrafficRoutes of its own.
		running.Go(func() {
			for n := 0; ; n++ {
				// The slots of all writers, one after the other.
				slot := n*min(writers, f.size.proxies) + w
				due := time.Now()
				if perSecond > 0 {
					due = begun.Add(time.Duration(slot) * time.Second / time.Duration(perSecond))
					time.Sleep(time.Until(due))
				}
				if !due.Before(end) || ctx.Err() != nil {
					return
				}
				i := slot % f.size.proxies
				revision := s.revisions[i] + 1
				problem := request(http.MethodPut, routePath(name(i)), f.route(i, revision))
				if problem == "" {
					s.revisions[i] = revision
				}
				done(&s.writes, due, problem)
			}
		})
	}
	running.Go(func() {
		for n := 0; ; n++ {
			due := begun.Add(time.Duration(n) * 10 * time.Millisecond)
			time.Sleep(time.Until(due))
			if !due.Before(end) || ctx.Err() != nil {
				return
			}
			if n%100 == 0 {
				done(&s.lists, due, request(http.MethodGet, "/traffic-routes?size=1000", ""))
				continue
			}
			done(&s.reads, due, request(http.MethodGet, routePath(name(n%f.size.proxies)), ""))
		}
	})
	running.Wait()
	s.took = time.Since(begun)
	slices.Sort(s.writes)
	slices.Sort(s.reads)
	slices.Sort(s.lists)
	return s
}
