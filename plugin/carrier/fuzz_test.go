package carrier_test

import (
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin/carrier"
)

// FuzzDecode reads its input as the splits of two entries, divided by a line
// `http`: paragraphs of a weight and of tags, in which ~ stands for the prefix.
// Whatever they are, an entry either has what is valid and travels again, or
// nothing beside its problems.
func FuzzDecode(f *testing.F) {
	const one = "100\nkuma.io/service=backend\n\n0\nkuma.io/service=a\n\n0\nkuma.io/service=a\n~carrier-version=1"
	for _, seed := range []string{
		"", "~", "1\n~=~", one,
		one + "\n~carrier-fields=5\n~percentage=90\n~name=x\n~limits.maxDuration=15s\n~limits.maxRequestBodyBytes=0\n~limits.maxConcurrentRequests=1",
		one + "\n~carrier-fields=4\n~requestHeaders.add.0.name=a\n~requestHeaders.add.0.value=:25REQ:28a:29:25\n~requestHeaders.remove.0.name=b\n~host.suffix=true",
		one + "\n~carrier-fields=3\n~carrier-list=1\n~carrier-primary=destination\n~carrier-any/version=true\n~limits=empty\n~host.value=a:3a80",
		one + "\nhttp\n" + one,
		one + "\n~carrier-list=2\n\n0\nkuma.io/service=b\n\n0\nkuma.io/service=b\n~carrier-version=1\n~carrier-list=2",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		http, conf, _ := strings.Cut(text, "\nhttp\n")
		policy := &api.TrafficRoute{Conf: &api.TrafficRoute_Conf{
			Http:  []*api.TrafficRoute_Http{{Split: splitFrom(http)}},
			Split: splitFrom(conf),
		}}
		before := proto.CloneOf(policy)
		decoded, problems := carrier.Decode(policy)
		if !proto.Equal(policy, before) {
			t.Fatal("changed its input")
		}
		again, twice := carrier.Decode(policy)
		if !proto.Equal(decoded, again) || len(problems) != len(twice) {
			t.Fatal("not the same twice")
		}

		damaged := func(at api.Path) bool {
			for _, p := range problems {
				if strings.HasPrefix(string(p.At), string(at.Field("split"))) {
					return true
				}
			}
			return false
		}
		original := entriesOf(policy)
		i := 0
		for at, e := range decoded.Entries() {
			switch {
			case damaged(at):
				if e.GetMirror() != nil || len(e.GetMirrors()) > 0 || len(e.GetSplit()) != len(original[i].GetSplit()) {
					t.Fatalf("%s is damaged, and changed: %v", at, e)
				}
			case carriersIn(e) > 0:
				t.Fatalf("%s has carriers left, and nothing is said: %v", at, e)
			}
			i++
		}
		for _, p := range problems {
			if p.At == "" || p.Message == "" {
				t.Fatalf("not addressed: %#v", p)
			}
		}

		// What was read is valid where the rest is, and travels again.
		decoded.Sources = []*api.Selector{{Match: api.Tags{api.ServiceTag: "a"}}}
		decoded.Destinations = decoded.Sources
		for at, e := range decoded.Entries() {
			for _, v := range validate(decoded) {
				for mirror := range api.MirrorsOf(at, e) {
					if strings.HasPrefix(v.Path, string(mirror)) {
						t.Fatalf("decoded, and not valid: %s", v)
					}
				}
			}
		}
		encoded, err := carrier.Encode(decoded)
		if err != nil {
			return // the rest is not valid, or an entry is damaged
		}
		if last, problems := carrier.Decode(encoded); len(problems) > 0 || !proto.Equal(last, decoded) {
			t.Fatalf("%v\nbecame, by way of\n%v\n%v\nwith %v", decoded, encoded, last, problems)
		}
	})
}

func splitFrom(text string) []*api.TrafficRoute_Split {
	var split []*api.TrafficRoute_Split
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		first, rest, _ := strings.Cut(paragraph, "\n")
		s := &api.TrafficRoute_Split{Destination: map[string]string{}}
		if weight, err := strconv.ParseUint(first, 10, 32); err == nil {
			s.Weight = wrapperspb.UInt32(uint32(weight))
		}
		for line := range strings.SplitSeq(rest, "\n") {
			if name, value, ok := strings.Cut(line, "="); ok {
				s.Destination[strings.Replace(name, "~", carrier.Prefix, 1)] = value
			}
		}
		split = append(split, s)
	}
	return split
}

func carriersIn(e api.Entry) int {
	n := 0
	for _, s := range e.GetSplit() {
		if isCarrier(s) {
			n++
		}
	}
	return n
}

// FuzzRoundTrip makes a policy of its bytes, with a text in every place that
// takes any.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte(nil), "a")
	f.Add([]byte("\x00\xff\x10\x20\x30\x40\x50\x60\x70"), "%REQ(a)%: \"ä\"")
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		tape := make([]byte, 400)
		for i := range tape {
			tape[i] = byte(random.Uint32())
		}
		f.Add(tape, "x:3a")
	}
	f.Fuzz(func(t *testing.T, tape []byte, text string) {
		text = strings.ToValidUTF8(text, "") // as all strings of protobuf are
		policy := policies{rand.New(&source{tape: tape, after: rand.NewPCG(0, 0)})}.route()
		for at, e := range policy.Entries() {
			for _, m := range api.MirrorsOf(at, e) {
				for _, add := range m.GetRequestHeaders().GetAdd() {
					add.Value = text
				}
				if host, ok := m.GetHost().GetType().(*api.TrafficRoute_Mirror_Host_Value); ok {
					host.Value = text
				}
			}
		}
		encoded, err := carrier.Encode(policy)
		if valid := len(validate(policy)) == 0; valid != (err == nil) {
			t.Fatalf("valid is %t, and yet: %v\n%s", valid, err, protojson.Format(policy))
		}
		if err != nil {
			return
		}
		decoded, problems := carrier.Decode(encoded)
		if len(problems) > 0 || !proto.Equal(decoded, policy) {
			t.Fatalf("%s\nbecame, by way of\n%s\n%s\nwith %v", protojson.Format(policy), protojson.Format(encoded), protojson.Format(decoded), problems)
		}
		for _, e := range encoded.Entries() {
			for _, s := range e.GetSplit() {
				for name, value := range s.GetDestination() {
					if strings.HasPrefix(name, carrier.Prefix) && (!tagName.MatchString(name) || !tagValue.MatchString(value)) {
						t.Fatalf("Kuma refuses %q: %q", name, value)
					}
				}
			}
		}
	})
}

// source is a tape of bytes in the place of randomness.
type source struct {
	tape  []byte
	after *rand.PCG
}

func (s *source) Uint64() uint64 {
	if len(s.tape) < 2 {
		return s.after.Uint64()
	}
	// The upper bits decide.
	n := uint64(binary.BigEndian.Uint16(s.tape)) << 48
	s.tape = s.tape[2:]
	return n
}
