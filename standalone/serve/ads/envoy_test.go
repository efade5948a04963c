package ads_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	rpc "google.golang.org/genproto/googleapis/rpc/status"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// model does what Envoy does with what it is sent, as far as it matters to the
// order of things, and notes what would have failed a request.
type model struct {
	protocol ads.Protocol
	rng      *rand.Rand

	mu     sync.Mutex
	faults []string
	nacks  int
	// sets are the types; clusters of one that is not warm serve nothing.
	sets map[string]*modelSet
	// warming are clusters that wait for endpoints; serving are those that
	// have had some, in this or an earlier definition.
	warming, serving map[string]bool
	// active are the listeners in use; a new one waits for its route table.
	active map[string]modelListener
	// tables name a cluster each.
	tables map[string]string
	// held is the answer to clusters that Envoy withholds while any is warming.
	held func() error
	// log is what was taken and answered.
	log []string
}

type modelSet struct {
	resources map[string]*anypb.Any
	versions  map[string]string
	accepted  string // state of the world
	nonce     string
	interest  map[string]bool
	asked     bool // on this stream
}

type modelListener struct{ cluster, table string }

func newModel(p ads.Protocol, seed uint64) *model {
	m := &model{
		protocol: p, rng: rand.New(rand.NewPCG(seed, seed)),
		sets: map[string]*modelSet{}, warming: map[string]bool{}, serving: map[string]bool{},
		active: map[string]modelListener{}, tables: map[string]string{},
	}
	for _, t := range []string{CDS, EDS, LDS, RDS} {
		m.sets[t] = &modelSet{resources: map[string]*anypb.Any{}, versions: map[string]string{}, interest: map[string]bool{}}
	}
	return m
}

// run lives through one stream; it ends with the peer's stream.
func (m *model) run(p *peer) {
	m.mu.Lock()
	for _, s := range m.sets {
		s.asked, s.nonce = false, ""
	}
	m.held = nil
	m.log = append(m.log, "connects")
	err := m.sync(p)
	m.mu.Unlock()
	for err == nil {
		select {
		case got := <-p.pushes:
			time.Sleep(time.Duration(m.rng.IntN(2000)) * time.Microsecond)
			m.mu.Lock()
			err = m.take(p, got)
			m.mu.Unlock()
		case <-p.closed:
			return
		}
	}
}

// sync asks for what is wanted and not yet asked for.
func (m *model) sync(p *peer) error {
	want := map[string]map[string]bool{EDS: {}, RDS: {}}
	for name := range m.sets[CDS].resources {
		want[EDS][name] = true
	}
	for name, body := range m.sets[LDS].resources {
		if l := listens(body); l.table != "" {
			want[RDS][l.table] = true
		}
		if t := m.active[name].table; t != "" {
			want[RDS][t] = true
		}
	}
	return errors.Join(
		m.interest(p, CDS, nil), m.interest(p, EDS, want[EDS]), m.interest(p, LDS, nil), m.interest(p, RDS, want[RDS]))
}

func (m *model) interest(p *peer, typeURL string, want map[string]bool) error {
	s := m.sets[typeURL]
	if typeURL == CDS && len(m.warming) > 0 || typeURL == LDS && !m.sets[CDS].asked && len(s.resources) == 0 {
		return nil // paused; or not yet started
	}
	if s.asked && maps.Equal(want, s.interest) || want != nil && len(want) == 0 && !s.asked {
		return nil
	}
	var add, drop []string
	for name := range want {
		if !s.asked || !s.interest[name] {
			add = append(add, name)
		}
	}
	for name := range s.interest {
		if !want[name] {
			drop = append(drop, name)
			delete(s.resources, name)
			delete(s.versions, name)
			if typeURL == RDS {
				delete(m.tables, name)
			}
		}
	}
	first := !s.asked
	s.asked, s.interest = true, want
	if p.delta {
		req := &discovery.DeltaDiscoveryRequest{Node: &core.Node{Id: p.node}, TypeUrl: typeURL, ResourceNamesSubscribe: add, ResourceNamesUnsubscribe: drop}
		if first {
			req.InitialResourceVersions = maps.Clone(s.versions)
		}
		return p.deltaStream.Send(req)
	}
	return p.sotwStream.Send(&discovery.DiscoveryRequest{
		Node: &core.Node{Id: p.node}, TypeUrl: typeURL, ResourceNames: slices.Collect(maps.Keys(want)),
		VersionInfo: s.accepted, ResponseNonce: s.nonce,
	})
}

func (m *model) answer(p *peer, got push, complaint *rpc.Status) error {
	s := m.sets[got.Type]
	if p.delta {
		return p.deltaStream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: got.Type, ResponseNonce: got.Nonce, ErrorDetail: complaint})
	}
	return p.sotwStream.Send(&discovery.DiscoveryRequest{
		TypeUrl: got.Type, ResponseNonce: got.Nonce, ErrorDetail: complaint,
		ResourceNames: slices.Collect(maps.Keys(s.interest)), VersionInfo: s.accepted,
	})
}

// take applies a push. What it refuses are resources whose names or routes
// start with bad; it takes the others.
func (m *model) take(p *peer, got push) error {
	s := m.sets[got.Type]
	s.nonce = got.Nonce
	removed := got.Removed
	if !p.delta && (got.Type == CDS || got.Type == LDS) {
		for name := range s.resources {
			if got.Bodies[name] == nil {
				removed = append(removed, name)
			}
		}
	}
	var complaint *rpc.Status
	for _, name := range slices.Sorted(maps.Keys(got.Bodies)) {
		body := got.Bodies[name]
		if problem := m.refuses(got.Type, name, body); problem != "" {
			complaint = &rpc.Status{Code: 13, Message: problem}
			continue
		}
		old := s.resources[name]
		changed := old == nil || string(old.GetValue()) != string(body.GetValue())
		s.resources[name] = body
		switch got.Type {
		case CDS:
			if changed {
				m.warming[name] = true
			}
		case EDS:
			delete(m.warming, name)
			m.serving[name] = true
		case RDS:
			m.tables[name] = routes(body)
		}
	}
	for _, name := range removed {
		delete(s.resources, name)
		delete(s.versions, name)
		delete(m.warming, name) // of endpoints: it goes on without
		switch got.Type {
		case CDS:
			delete(m.serving, name)
		case LDS:
			delete(m.active, name)
		}
	}
	if complaint == nil {
		s.accepted = got.Version
		maps.Copy(s.versions, got.Resources)
	} else {
		m.nacks++
	}
	m.log = append(m.log, fmt.Sprintf("%s refused=%v warming=%v active=%v tables=%v", got, complaint != nil, m.warming, m.active, m.tables))
	m.check(got)

	answer := func() error { return m.answer(p, got, complaint) }
	if got.Type == CDS {
		m.held, answer = answer, func() error { return nil }
	}
	if err := errors.Join(answer(), m.sync(p)); err != nil {
		return err
	}
	if m.held != nil && len(m.warming) == 0 {
		held := m.held
		m.held = nil
		return held()
	}
	return nil
}

func (m *model) refuses(typeURL, name string, body *anypb.Any) string {
	to := ""
	switch typeURL {
	case CDS:
		if strings.HasPrefix(name, "bad") {
			return "cluster " + name
		}
	case RDS:
		if to = routes(body); strings.HasPrefix(to, "refused") {
			return "route to " + to
		}
	case LDS:
		to = listens(body).cluster
	}
	if to != "" && !m.serving[to] {
		m.faults = append(m.faults, fmt.Sprintf("%s names %s, which is not there or not warm", name, to))
	}
	return ""
}

// check notes routes to clusters that are gone, and lets listeners that have
// what they need take over.
func (m *model) check(after push) {
	for name, body := range m.sets[LDS].resources {
		if l := listens(body); l.table == "" || m.tables[l.table] != "" {
			m.active[name] = l
		}
	}
	for name, l := range m.active {
		to := l.cluster
		if l.table != "" {
			to = m.tables[l.table]
		}
		if !m.serving[to] {
			m.log = append(m.log, "FAULT")
			m.faults = append(m.faults, fmt.Sprintf("after %s: %s routes to %s, which is gone", after, name, to))
		}
	}
}

func routes(body *anypb.Any) string {
	t := &route.RouteConfiguration{}
	if err := body.UnmarshalTo(t); err != nil {
		panic(err)
	}
	return t.GetVirtualHosts()[0].GetRoutes()[0].GetRoute().GetCluster()
}

func listens(body *anypb.Any) modelListener {
	l := &listener.Listener{}
	if err := body.UnmarshalTo(l); err != nil {
		panic(err)
	}
	filter, err := l.GetFilterChains()[0].GetFilters()[0].GetTypedConfig().UnmarshalNew()
	if err != nil {
		panic(err)
	}
	switch f := filter.(type) {
	case *hcm.HttpConnectionManager:
		return modelListener{table: f.GetRds().GetRouteConfigName()}
	case *tcp.TcpProxy:
		return modelListener{cluster: f.GetCluster()}
	}
	panic(fmt.Sprintf("%T", filter))
}

// state is what the model runs.
func (m *model) state() (clusters []string, routesTo map[string]string, faults []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	routesTo = map[string]string{}
	for name, l := range m.active {
		routesTo[name] = l.cluster + m.tables[l.table]
	}
	return slices.Sorted(maps.Keys(m.sets[CDS].resources)), routesTo, slices.Clone(m.faults)
}

// anyProxy makes up a proxy: HTTP and TCP listeners to some of a few clusters,
// whose definitions and endpoints vary.
func anyProxy(rng *rand.Rand, bad bool) (*xds.ResourceSet, map[string]string) {
	var parts []part
	var names []string
	for i := range 6 {
		if rng.IntN(3) == 0 {
			continue
		}
		names = append(names, fmt.Sprint("c", i))
		parts = append(parts, edsWith(names[len(names)-1], uint32(1+rng.IntN(3)), 1+rng.Int64N(2)))
	}
	if len(names) == 0 {
		names, parts = []string{"c0"}, []part{eds("c0", 1)}
	}
	if bad {
		switch rng.IntN(6) {
		case 0:
			parts, names = append(parts, eds("bad", 1)), append(names, "bad")
		case 1:
			parts, names = append(parts, eds("refused", 1)), append(names, "refused")
		}
	}
	to := map[string]string{}
	for i := range 3 {
		target := names[rng.IntN(len(names))]
		http, tcp := fmt.Sprint("http", i), fmt.Sprint("tcp", i)
		if rng.IntN(3) > 0 {
			t := fmt.Sprint("table", i, rng.IntN(2))
			parts = append(parts, httpListener(http, t), table(t, target))
			to[http] = target
		}
		if rng.IntN(3) == 0 && !strings.HasPrefix(target, "refused") {
			parts = append(parts, tcpListener(tcp, target))
			to[tcp] = target
		}
	}
	return proxy(parts...), to
}

var _ = Describe("Any sequence of changes", func() {
	DescribeTable("fails no request and ends where it should",
		func(protocol ads.Protocol, bad, breaks, restarts bool) {
			seed := uint64(GinkgoRandomSeed())
			rng := rand.New(rand.NewPCG(seed, 1))
			h := newHostWith(ads.Options{Grace: time.Millisecond, Drain: 2 * time.Millisecond})
			m := newModel(protocol, seed)
			var p *peer
			var done chan struct{}
			connect := func() {
				p, done = h.connect(protocol, web), make(chan struct{})
				go func(p *peer, done chan struct{}) {
					defer close(done)
					defer GinkgoRecover()
					m.run(p)
				}(p, done)
			}
			disconnect := func() {
				p.close()
				Eventually(done).Should(BeClosed())
			}
			connect()

			var want *xds.ResourceSet
			var to map[string]string
			for i := range 100 {
				want, to = anyProxy(rng, bad && i < 99)
				if restarts && rng.IntN(15) == 0 {
					disconnect()
					h.stop()
					h = newHostWith(ads.Options{Grace: time.Millisecond, Drain: 2 * time.Millisecond})
					connect()
				} else if breaks && rng.IntN(10) == 0 {
					disconnect()
					connect()
				}
				Expect(h.Set(web, want)).To(Succeed())
				time.Sleep(time.Duration(rng.IntN(4000)) * time.Microsecond)
			}

			var names []string
			for _, c := range want.Clusters() {
				names = append(names, c.GetName())
			}
			Eventually(func(g Gomega) {
				clusters, routesTo, faults := m.state()
				g.Expect(faults).To(BeEmpty())
				g.Expect(routesTo).To(Equal(to))
				g.Expect(clusters).To(Equal(names))
				g.Expect(h.status(web).InSync).To(BeTrue())
			}).WithTimeout(10*time.Second).Should(Succeed(), func() string {
				return fmt.Sprintf("host: %+v\nwarming: %v\n%s", h.status(web), m.warming, strings.Join(m.log, "\n"))
			})
			if bad {
				Expect(m.nacks).To(BeNumerically(">", 0))
			} else {
				Expect(m.nacks).To(BeZero())
			}
			disconnect()
		},
		Entry("delta", ads.Delta, false, false, false),
		Entry("delta, with refusals", ads.Delta, true, false, false),
		Entry("delta, with broken streams", ads.Delta, false, true, false),
		Entry("delta, with refusals and broken streams", ads.Delta, true, true, false),
		Entry("delta, with restarts of the host", ads.Delta, false, true, true),
		Entry("state of the world", ads.StateOfTheWorld, false, false, false),
		Entry("state of the world, with refusals", ads.StateOfTheWorld, true, false, false),
		Entry("state of the world, with broken streams", ads.StateOfTheWorld, false, true, false),
	)
})
