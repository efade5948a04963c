package carrier_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"sigs.k8s.io/yaml"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/plugin/carrier"
)

// How many random policies a property is held against: the one that matters
// most, and others.
const (
	many = 2000
	some = 300
)

// What Kuma's API server allows in the tags of a carrier; see validators.go of
// its mesh resources. It has no limit for their length.
var (
	tagName  = regexp.MustCompile(`^[a-zA-Z0-9.\-_:/]+$`)
	tagValue = regexp.MustCompile(`^[a-zA-Z0-9.\-_:]+$`)
)

var _ = Describe("A policy that travels", func() {
	var seed uint64

	BeforeEach(func() {
		seed = uint64(GinkgoRandomSeed())
		AddReportEntry("policies", fmt.Sprintf("policiesFrom(%d)", seed), ReportEntryVisibilityFailureOrVerbose)
	})

	forEach := func(samples int, check func(policy *api.TrafficRoute)) {
		GinkgoHelper()
		random := policiesFrom(seed)
		for range samples {
			policy := random.route()
			if v := validate(policy); len(v) > 0 {
				Fail("the generator is to give valid policies: " + v.Error())
			}
			check(policy)
		}
	}

	It("comes back as it was", func() {
		forEach(many, func(policy *api.TrafficRoute) {
			before := proto.CloneOf(policy)
			decoded, problems := carrier.Decode(encode(policy))
			Expect(problems).To(BeEmpty())
			expectSame(decoded, policy)
			expectSame(policy, before)
		})
	})

	It("is each of the golden cases, which have every field of a mirror", func() {
		inputs, err := filepath.Glob("../../testdata/golden/*/input.yaml")
		Expect(err).NotTo(HaveOccurred())
		fields := map[protoreflect.FullName]bool{}
		for _, input := range inputs {
			data, err := os.ReadFile(input)
			Expect(err).NotTo(HaveOccurred())
			resources, err := api.Parse(input, data)
			Expect(err).NotTo(HaveOccurred())
			for _, r := range resources {
				encoded, err := carrier.EncodeResource(r)
				Expect(err).NotTo(HaveOccurred())
				decoded, violations := carrier.DecodeResource(encoded)
				Expect(violations).To(BeEmpty())
				policy, ok := r.Spec.(*api.TrafficRoute)
				if !ok {
					continue
				}
				expectSame(decoded.Spec.(*api.TrafficRoute), policy)
				for at, e := range policy.Entries() {
					for _, m := range api.MirrorsOf(at, e) {
						collect(m.ProtoReflect(), fields)
					}
				}
				for at, e := range encoded.Spec.(*api.TrafficRoute).Entries() {
					expectKumaTakes(at, e)
				}
			}
		}
		var missing []protoreflect.FullName
		declared((&api.TrafficRoute_Mirror{}).ProtoReflect().Descriptor(), func(fd protoreflect.FieldDescriptor) {
			if !fields[fd.FullName()] {
				missing = append(missing, fd.FullName())
			}
		})
		Expect(missing).To(BeEmpty(), "an option without a golden case: add one")
	})

	It("is what Kuma takes, and valid here", func() {
		forEach(some, func(policy *api.TrafficRoute) {
			encoded := encode(policy)
			if v := validate(encoded); len(v) > 0 {
				Fail(v.Error())
			}
			for at, e := range encoded.Entries() {
				expectKumaTakes(at, e)
			}
		})
	})

	It("is text that Kuma's YAML reads as it is meant", func() {
		forEach(some, func(policy *api.TrafficRoute) {
			encoded := encode(policy)
			written, err := api.MarshalYAML(&api.Resource{Kind: api.KindTrafficRoute, Spec: encoded})
			Expect(err).NotTo(HaveOccurred())
			// This is the reader of kumactl and kubectl; it takes more for
			// numbers and booleans than others do.
			json, err := yaml.YAMLToJSON(written)
			Expect(err).NotTo(HaveOccurred())
			read := &api.TrafficRoute{}
			Expect(protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(json, read)).To(Succeed())
			expectSame(read, encoded)
		})
	})

	It("routes as it did", func() {
		forEach(some, func(policy *api.TrafficRoute) {
			encoded := entriesOf(encode(policy))
			for i, original := range entriesOf(policy) {
				Expect(primary(encoded[i])).To(Equal(primary(original)))
			}
		})
	})

	It("is the same each time, and twice over", func() {
		forEach(some, func(policy *api.TrafficRoute) {
			once := encode(policy)
			expectSame(encode(policy), once)
			Expect(encode(once)).To(BeIdenticalTo(once))
		})
	})

	It("says the same once Kuma has put an outbound's tags into its destinations", func() {
		outbound := api.Tags{api.ServiceTag: "backend", "version": "v7", "team": "a"}
		forEach(some, func(policy *api.TrafficRoute) {
			matched := encode(policy)
			for _, e := range matched.Entries() {
				for _, s := range e.GetSplit() {
					s.Destination = api.Tags(s.GetDestination()).Resolve(outbound)
				}
			}
			decoded, problems := carrier.Decode(matched)
			Expect(problems).To(BeEmpty())
			got := entriesOf(decoded)
			for i, original := range entriesOf(policy) {
				Expect(mirrorsFor(outbound, got[i])).To(Equal(mirrorsFor(outbound, original)))
			}
		})
	})

	It("without a mirror is left alone by both", func() {
		forEach(some, func(policy *api.TrafficRoute) {
			for _, http := range policy.GetConf().GetHttp() {
				http.Mirror, http.Mirrors = nil, nil
			}
			policy.Conf.Mirror, policy.Conf.Mirrors = nil, nil
			Expect(carrier.Has(policy)).To(BeFalse())
			Expect(encode(policy)).To(BeIdenticalTo(policy))
			Expect(carrier.Decode(policy)).To(BeIdenticalTo(policy))
		})
	})
})

func validate(spec *api.TrafficRoute) api.Violations {
	return plugin.ValidateTrafficRoute(&api.Resource{Kind: api.KindTrafficRoute, Spec: spec})
}

func encode(policy *api.TrafficRoute) *api.TrafficRoute {
	GinkgoHelper()
	encoded, err := carrier.Encode(policy)
	Expect(err).NotTo(HaveOccurred())
	return encoded
}

func expectSame(got, want *api.TrafficRoute) {
	GinkgoHelper()
	if !proto.Equal(got, want) {
		Expect(protojson.Format(got)).To(Equal(protojson.Format(want)))
		Fail("differs in what JSON does not show")
	}
}

// expectKumaTakes holds an entry against what Kuma would drop or refuse, and
// what would harm its zone ingress.
func expectKumaTakes(at api.Path, e api.Entry) {
	GinkgoHelper()
	for at := range api.MirrorsOf(at, e) {
		Fail(string(at) + " would be dropped")
	}
	Expect(len(e.GetSplit()) > 0).NotTo(Equal(len(e.GetDestination()) > 0), string(at))
	for i, s := range e.GetSplit() {
		if !isCarrier(s) {
			continue
		}
		for _, entry := range e.GetSplit()[i-1 : i+1] {
			Expect(entry.GetWeight()).NotTo(BeNil())
			Expect(entry.GetWeight().GetValue()).To(BeZero())
			Expect(entry.GetDestination()).To(HaveKey(api.ServiceTag))
			for name, value := range entry.GetDestination() {
				ours := strings.HasPrefix(name, carrier.Prefix)
				if ours && (!tagName.MatchString(name) || !tagValue.MatchString(value)) {
					Fail(fmt.Sprintf("%s: %q would be refused", name, value))
				}
				if name != api.ServiceTag && strings.Contains(value, "*") {
					Fail("* in a server name: Envoy would refuse the whole zone ingress")
				}
			}
		}
	}
}

func isCarrier(s *api.TrafficRoute_Split) bool {
	for name := range s.GetDestination() {
		if strings.HasPrefix(name, carrier.Prefix) {
			return true
		}
	}
	return false
}

// primary is where requests go, as Kuma reads it: a destination is a split of
// one, and entries of weight 0 are none.
func primary(e api.Entry) []string {
	split := e.GetSplit()
	if len(e.GetDestination()) > 0 {
		split = []*api.TrafficRoute_Split{{Weight: wrapperspb.UInt32(1), Destination: e.GetDestination()}}
	}
	split = slices.DeleteFunc(slices.Clone(split), func(s *api.TrafficRoute_Split) bool { return s.GetWeight().GetValue() == 0 })
	var clusters []string
	for _, s := range split {
		weight := s.GetWeight().GetValue()
		if len(split) == 1 {
			weight = 1 // one cluster alone gets everything, whatever its weight
		}
		clusters = append(clusters, fmt.Sprint(weight, " ", api.Tags(s.GetDestination())))
	}
	return clusters
}

// entriesOf returns the entries of a TrafficRoute, that of conf last.
func entriesOf(spec *api.TrafficRoute) []api.Entry {
	var entries []api.Entry
	for _, e := range spec.Entries() {
		entries = append(entries, e)
	}
	return entries
}

// mirrorsFor returns the mirrors of an entry as they are on an outbound.
func mirrorsFor(outbound api.Tags, e api.Entry) []string {
	var mirrors []string
	for _, m := range api.MirrorsOf("", e) {
		m = proto.CloneOf(m)
		m.Destination = api.Tags(m.GetDestination()).Resolve(outbound)
		mirrors = append(mirrors, protojson.Format(m))
	}
	return mirrors
}

// collect adds the fields that are set in m, and below it, to fields.
func collect(m protoreflect.Message, fields map[protoreflect.FullName]bool) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		fields[fd.FullName()] = true
		switch {
		case fd.IsList() && fd.Message() != nil:
			for i := range v.List().Len() {
				collect(v.List().Get(i).Message(), fields)
			}
		case fd.Message() != nil && !fd.IsMap():
			collect(v.Message(), fields)
		}
		return true
	})
}

// declared calls found for every field that a message of this module can have.
func declared(m protoreflect.MessageDescriptor, found func(protoreflect.FieldDescriptor)) {
	for i := range m.Fields().Len() {
		fd := m.Fields().Get(i)
		found(fd)
		if fd.Message() != nil && !fd.IsMap() && fd.Message().ParentFile() == m.ParentFile() {
			declared(fd.Message(), found)
		}
	}
}
