package carrier_test

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// policies makes random TrafficRoutes that are valid, of all that a policy can
// say.
type policies struct{ *rand.Rand }

func policiesFrom(seed uint64) policies { return policies{rand.New(rand.NewPCG(seed, 0))} }

func (p policies) maybe() bool { return p.IntN(2) == 0 }

func oneOf[T any](p policies, choices ...T) T { return choices[p.IntN(len(choices))] }

func (p policies) route() *api.TrafficRoute {
	conf := &api.TrafficRoute_Conf{}
	for range p.IntN(4) {
		http := &api.TrafficRoute_Http{Match: &api.TrafficRoute_Http_Match{
			Path: &api.TrafficRoute_Http_Match_StringMatcher{
				MatcherType: &api.TrafficRoute_Http_Match_StringMatcher_Prefix{Prefix: "/" + p.word()},
			},
		}}
		http.Split, http.Destination = p.primary()
		http.Mirror, http.Mirrors = p.mirrors()
		conf.Http = append(conf.Http, http)
	}
	conf.Split, conf.Destination = p.primary()
	conf.Mirror, conf.Mirrors = p.mirrors()
	if p.maybe() {
		conf.LoadBalancer = &api.TrafficRoute_LoadBalancer{
			LbType: &api.TrafficRoute_LoadBalancer_Random_{Random: &api.TrafficRoute_LoadBalancer_Random{}},
		}
	}
	return &api.TrafficRoute{
		Sources:      []*api.Selector{{Match: p.tags()}},
		Destinations: []*api.Selector{{Match: api.Tags{api.ServiceTag: oneOf(p, p.word(), api.MatchAll)}}},
		Conf:         conf,
	}
}

func (p policies) primary() ([]*api.TrafficRoute_Split, map[string]string) {
	if p.maybe() {
		return nil, p.tags()
	}
	var split []*api.TrafficRoute_Split
	for range 1 + p.IntN(4) {
		weight := oneOf(p, 0, 1, 50, 100, p.Uint32N(1<<30))
		split = append(split, &api.TrafficRoute_Split{Weight: wrapperspb.UInt32(weight), Destination: p.tags()})
	}
	split[p.IntN(len(split))].Weight.Value++
	return split, nil
}

func (p policies) mirrors() (*api.TrafficRoute_Mirror, []*api.TrafficRoute_Mirror) {
	switch p.IntN(4) {
	case 0:
		return nil, nil
	case 1, 2:
		return p.mirror(), nil
	}
	var several []*api.TrafficRoute_Mirror
	for i := range 1 + p.IntN(oneOf(p, 1, 3, 16)) {
		m := p.mirror()
		m.Name = strings.TrimSuffix(m.Name+"-"+strconv.Itoa(i), "-0") // which keeps them apart
		several = append(several, m)
	}
	return nil, several
}

func (p policies) mirror() *api.TrafficRoute_Mirror {
	m := &api.TrafficRoute_Mirror{Destination: p.tags()}
	if p.maybe() {
		m.Percentage = wrapperspb.Double(oneOf(p, 0, 100, 0.0001, 99.9999, float64(p.IntN(101)),
			float64(p.IntN(1_000_001))/10_000, float64(p.IntN(1_000_001))*0.0001))
	}
	if p.maybe() {
		m.Name = oneOf(p, "shadow_cluster", "a", "-", "_", "true", "0", "null", p.word())
	}
	if p.maybe() {
		m.Limits = &api.TrafficRoute_Mirror_Limits{}
		if p.maybe() {
			m.Limits.MaxConcurrentRequests = wrapperspb.UInt32(oneOf(p, 1, 128, 1_000_000, 1+p.Uint32N(1_000_000)))
		}
		if p.maybe() {
			m.Limits.MaxRequestBodyBytes = wrapperspb.UInt32(oneOf(p, 0, 1<<20, 64<<20, p.Uint32N(64<<20)))
		}
		if p.maybe() {
			d := oneOf(p, time.Millisecond, 15*time.Second, time.Hour, time.Millisecond+time.Duration(p.Int64N(int64(time.Hour-time.Millisecond))))
			m.Limits.MaxDuration = durationpb.New(d)
		}
	}
	if p.maybe() {
		m.RequestHeaders = &api.TrafficRoute_Http_Modify_Headers{}
		for range p.IntN(oneOf(p, 1, 3, 15)) {
			m.RequestHeaders.Add = append(m.RequestHeaders.Add, &api.TrafficRoute_Http_Modify_Headers_Add{
				Name: p.headerName(), Value: p.headerValue(), Append: p.maybe(),
			})
		}
		for range p.IntN(oneOf(p, 1, 3, 15)) {
			m.RequestHeaders.Remove = append(m.RequestHeaders.Remove, &api.TrafficRoute_Http_Modify_Headers_Remove{Name: p.headerName()})
		}
	}
	if p.maybe() {
		m.Host = &api.TrafficRoute_Mirror_Host{Type: &api.TrafficRoute_Mirror_Host_Suffix{Suffix: true}}
		if p.maybe() {
			m.Host.Type = &api.TrafficRoute_Mirror_Host_Value{
				Value: oneOf(p, "shadow", "Shadow.Example.COM.", "a_b:8080", "[::1]", "[2001:db8::1]:443", "127.0.0.1:80"),
			}
		}
	}
	return m
}

func (p policies) headerName() string {
	return oneOf(p, "x-mirrored", "authorization", "!#$%&'*+-.^_`|~", "X_"+p.word())
}

func (p policies) headerValue() string {
	return oneOf(p, "true", "a b", `"quoted" 'text', {"a": [1]}`, "%REQ(x-user)%", "100%%", ":", "::20", "a:20b", "Köln 東京 🎏",
		"https://example.com/?a=b&c=d#e", "*", "a\tb", "\u00a0", strings.Repeat(p.word()+" ", 40)+".", strings.Repeat("ä", 100))
}

func (p policies) tags() map[string]string {
	tags := map[string]string{api.ServiceTag: oneOf(p, "backend", "backend_default_svc_80", "a/b", p.word(), api.MatchAll)}
	for range p.IntN(3) {
		name := oneOf(p, "version", "kuma.io/zone", "kuma.io/mesh", "mirror.kuma-mirror.io", "a:b/c", "x/"+p.word())
		tags[name] = oneOf(p, "v1", "1", "true", "a/b", ":", "empty", p.word(), api.MatchAll)
	}
	return tags
}

func (p policies) word() string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	word := make([]byte, 1+p.IntN(20))
	for i := range word {
		word[i] = letters[p.IntN(len(letters))]
	}
	return string(word)
}
