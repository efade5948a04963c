package v1alpha1_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// difference says how two resources differ, Source aside; "" where they do not.
func difference(a, b *api.Resource) string {
	switch {
	case a.Kind != b.Kind || a.Form != b.Form:
		return fmt.Sprintf("%s %d against %s %d", a.Kind, a.Form, b.Kind, b.Form)
	case !reflect.DeepEqual(a.Meta, b.Meta):
		return fmt.Sprintf("%+v against %+v", a.Meta, b.Meta)
	case !proto.Equal(a.Spec, b.Spec):
		return fmt.Sprintf("%v against %v", a.Spec, b.Spec)
	default:
		return ""
	}
}

func expectRoundTrip(resources ...*api.Resource) {
	GinkgoHelper()
	written, err := api.MarshalYAML(resources...)
	Expect(err).NotTo(HaveOccurred())
	read, err := api.Parse("written.yaml", written)
	Expect(err).NotTo(HaveOccurred(), "%s", written)
	Expect(read).To(HaveLen(len(resources)))
	for i, r := range resources {
		Expect(difference(r, read[i])).To(BeEmpty(), "%s", written)

		object, err := api.EncodeJSON(r)
		Expect(err).NotTo(HaveOccurred())
		again, err := api.Parse("written.json", object)
		Expect(err).NotTo(HaveOccurred(), "%s", object)
		Expect(again).To(HaveLen(1))
		Expect(difference(r, again[0])).To(BeEmpty(), "%s", object)
	}
}

// filled sets every field of m. variant chooses among the members of a oneof
// and between zero and other values.
func filled(m protoreflect.Message, variant int) protoreflect.Message {
	if m.Descriptor().FullName() == "google.protobuf.Duration" {
		return durationpb.New(time.Duration(variant)*time.Second + time.Duration(variant)).ProtoReflect()
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if one := fd.ContainingOneof(); one != nil && one.Fields().Get(variant%one.Fields().Len()) != fd {
			continue
		}
		switch {
		case fd.IsMap():
			entries := m.Mutable(fd).Map()
			for _, key := range []string{"kuma.io/service", "version", "1", "yes", ""} {
				entries.Set(protoreflect.ValueOfString(key).MapKey(), filledValue(fd.MapValue(), entries.NewValue(), variant))
			}
		case fd.IsList():
			entries := m.Mutable(fd).List()
			for v := range 3 {
				entries.Append(filledValue(fd, entries.NewElement(), variant+v))
			}
		default:
			m.Set(fd, filledValue(fd, m.NewField(fd), variant))
		}
	}
	return m
}

func filledValue(fd protoreflect.FieldDescriptor, fresh protoreflect.Value, variant int) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.MessageKind:
		return protoreflect.ValueOfMessage(filled(fresh.Message(), variant))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString([]string{"", "text", "90", "true", "null", "a\nb\n", "~"}[variant%7])
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(variant%2 == 1)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(variant) * math.MaxUint32)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(variant) * math.MaxUint64)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64([]float64{0, 12.3456, 1e-9, 1e22, 100}[variant%5])
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{0xff, byte(variant)}[:variant%3])
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(variant % fd.Enum().Values().Len()))
	default:
		panic("the codec has no " + fd.Kind().String())
	}
}

var _ = Describe("MarshalYAML and EncodeJSON", func() {
	kinds := map[api.Kind]func() proto.Message{
		api.KindMesh:            func() proto.Message { return &api.Mesh{} },
		api.KindDataplane:       func() proto.Message { return &api.Dataplane{} },
		api.KindExternalService: func() proto.Message { return &api.ExternalService{} },
		api.KindTrafficRoute:    func() proto.Message { return &api.TrafficRoute{} },
	}
	meta := func(kind api.Kind, form api.Form) api.Meta {
		m := api.Meta{
			Mesh: "shop", Name: "n",
			Labels:       map[string]string{"kuma.io/zone": "east", "on": "off"},
			CreationTime: time.Date(2024, 5, 31, 8, 0, 0, 1, time.UTC),
		}
		if kind == api.KindMesh {
			m.Mesh = ""
		}
		if form == api.Universal {
			m.ModificationTime = time.Date(2025, 5, 31, 8, 0, 0, 0, time.UTC)
			return m
		}
		m.Namespace = "ns"
		m.Annotations = map[string]string{"a": "1"}
		return m
	}

	DescribeTable("lose nothing, whatever is set", func(form api.Form) {
		var all []*api.Resource
		for kind, newSpec := range kinds {
			all = append(all, &api.Resource{Kind: kind, Form: form, Meta: meta(kind, form), Spec: newSpec()})
			for variant := range 10 {
				spec := newSpec()
				filled(spec.ProtoReflect(), variant)
				all = append(all, &api.Resource{Kind: kind, Form: form, Meta: meta(kind, form), Spec: spec})
			}
		}
		expectRoundTrip(all...)
	},
		Entry("Universal form", api.Universal),
		Entry("Kubernetes form", api.Kubernetes),
	)

	It("agree with protobuf's JSON form, which Kuma speaks", func() {
		for kind, newSpec := range kinds {
			for variant := range 10 {
				spec := newSpec()
				filled(spec.ProtoReflect(), variant)

				// What Kuma writes is read.
				theirs, err := protojson.Marshal(spec)
				Expect(err).NotTo(HaveOccurred())
				read := parseOne(fmt.Sprintf(`{"apiVersion":"kuma.io/v1alpha1","kind":%q,"metadata":{"name":"n"},"spec":%s}`, kind, theirs))
				Expect(proto.Equal(read.Spec, spec)).To(BeTrue(), "%s", theirs)

				// What is written, Kuma reads.
				ours, err := api.EncodeJSON(&api.Resource{Kind: kind, Form: api.Kubernetes, Meta: api.Meta{Name: "n"}, Spec: spec})
				Expect(err).NotTo(HaveOccurred())
				_, object, found := strings.Cut(string(ours), `,"spec":`)
				Expect(found).To(BeTrue())
				back := newSpec()
				Expect(protojson.Unmarshal([]byte(strings.TrimSuffix(object, "}")), back)).To(Succeed(), "%s", object)
				Expect(proto.Equal(back, spec)).To(BeTrue(), "%s", object)
			}
		}
	})

	DescribeTable("keep text as it is", func(text string) {
		expectRoundTrip(&api.Resource{
			Kind: api.KindExternalService,
			Meta: api.Meta{Mesh: text, Name: text, Labels: map[string]string{text: text}},
			Spec: &api.ExternalService{Tags: map[string]string{text: text}},
		})
	},
		Entry(nil, "1"), Entry(nil, "1.0"), Entry(nil, "true"), Entry(nil, "yes"), Entry(nil, "null"), Entry(nil, "~"),
		Entry(nil, "<<"), Entry(nil, "="), Entry(nil, "0x1f"), Entry(nil, "12:30:00"), Entry(nil, "2024-01-01"), Entry(nil, ".nan"),
		Entry(nil, "*"), Entry(nil, "&a"), Entry(nil, "!x"), Entry(nil, "# c"), Entry(nil, "a # c"), Entry(nil, "a: b"), Entry(nil, "- a"),
		Entry(nil, " a "), Entry(nil, "\n"), Entry(nil, "a\n"), Entry(nil, "\na"), Entry(nil, "a\n\n b \nc"), Entry(nil, "a\r\nb"), Entry(nil, "\ta"),
		Entry(nil, "a\tb\n"), Entry(nil, "\x00\x07\x7f"), Entry(nil, "\u0085\u2028\u2029"), Entry(nil, "\uFEFFa"), Entry(nil, "äöü 😀"),
		Entry(nil, "\\ \" '"), Entry(nil, strings.Repeat("long ", 60)), Entry(nil, strings.Repeat("k", 2000)), Entry(nil, "---\na"), Entry(nil, "<script>&"),
	)

	It("quote what only Kuma's older YAML takes for something else than text", func() {
		written, err := api.MarshalYAML(&api.Resource{Kind: api.KindMesh, Meta: api.Meta{Name: "yes", Labels: map[string]string{"on": "1:30", "plain": "v1"}}, Spec: &api.Mesh{}})
		Expect(err).NotTo(HaveOccurred())
		Expect(string(written)).To(Equal("type: Mesh\nname: \"yes\"\nlabels:\n  \"on\": \"1:30\"\n  plain: v1\n"))
	})

	resource := func(form api.Form) *api.Resource {
		return &api.Resource{
			Kind: api.KindTrafficRoute, Form: form, Meta: meta(api.KindTrafficRoute, form),
			Spec: &api.TrafficRoute{
				Sources: []*api.Selector{{Match: map[string]string{"kuma.io/service": "*"}}},
				Conf: &api.TrafficRoute_Conf{
					LoadBalancer: &api.TrafficRoute_LoadBalancer{LbType: &api.TrafficRoute_LoadBalancer_RoundRobin_{RoundRobin: &api.TrafficRoute_LoadBalancer_RoundRobin{}}},
					Destination:  map[string]string{"kuma.io/service": "backend"},
					Mirror: &api.TrafficRoute_Mirror{
						Destination: map[string]string{"version": "v2", "kuma.io/service": "backend"},
						Percentage:  wrapperspb.Double(0.5),
						Limits:      &api.TrafficRoute_Mirror_Limits{MaxDuration: durationpb.New(1500 * time.Millisecond)},
						Host:        &api.TrafficRoute_Mirror_Host{Type: &api.TrafficRoute_Mirror_Host_Suffix{Suffix: false}},
					},
				},
			},
		}
	}

	It("write the Universal form in the order people read", func() {
		written, err := api.MarshalYAML(resource(api.Universal))
		Expect(err).NotTo(HaveOccurred())
		Expect(string(written)).To(Equal(`type: TrafficRoute
mesh: shop
name: "n"
labels:
  kuma.io/zone: east
  "on": "off"
creationTime: "2024-05-31T08:00:00.000000001Z"
modificationTime: "2025-05-31T08:00:00Z"
sources:
  - match:
      kuma.io/service: '*'
conf:
  loadBalancer:
    roundRobin: {}
  destination:
    kuma.io/service: backend
  mirror:
    destination:
      kuma.io/service: backend
      version: v2
    percentage: 0.5
    limits:
      maxDuration: 1.500s
    host:
      suffix: false
`))
	})

	It("write the Kubernetes form in the order people read", func() {
		written, err := api.MarshalYAML(resource(api.Kubernetes))
		Expect(err).NotTo(HaveOccurred())
		Expect(string(written)).To(HavePrefix(`apiVersion: kuma.io/v1alpha1
kind: TrafficRoute
mesh: shop
metadata:
  name: "n"
  namespace: ns
  labels:
    kuma.io/zone: east
    "on": "off"
  annotations:
    a: "1"
  creationTimestamp: "2024-05-31T08:00:00.000000001Z"
spec:
  sources:
    - match:
        kuma.io/service: '*'
  conf:
`))
	})

	It("write JSON on one line in the same order", func() {
		written, err := api.EncodeJSON(parseOne("{type: Dataplane, name: d, networking: {address: 10.0.0.1, inbound: [{tags: {b: <x>, a: '1'}, port: 80}]}}"))
		Expect(err).NotTo(HaveOccurred())
		Expect(string(written)).To(Equal(`{"type":"Dataplane","mesh":"default","name":"d","networking":{"address":"10.0.0.1","inbound":[{"port":80,"tags":{"a":"1","b":"\u003cx\u003e"}}]}}`))
	})

	It("divide documents by ---", func() {
		mesh := func(name string) *api.Resource {
			return &api.Resource{Kind: api.KindMesh, Meta: api.Meta{Name: name}, Spec: &api.Mesh{}}
		}
		Expect(api.MarshalYAML(mesh("a"), mesh("b"))).To(BeEquivalentTo("type: Mesh\nname: a\n---\ntype: Mesh\nname: b\n"))
		Expect(api.MarshalYAML()).To(BeEmpty())
	})

	DescribeTable("spell out a false that decides something", func(health string, want string) {
		r := parseOne("{type: Dataplane, name: d, networking: {inbound: [{port: 1" + health + "}]}}")
		expectRoundTrip(r)
		written, err := api.MarshalYAML(r)
		Expect(err).NotTo(HaveOccurred())
		Expect(string(written)).To(HaveSuffix("- port: 1\n" + want))
	},
		Entry("not ready", ", health: {ready: false}", "      health:\n        ready: false\n"),
		Entry("not ready, unsaid", ", health: {}", "      health:\n        ready: false\n"),
		Entry("ready", ", health: {ready: true}", "      health:\n        ready: true\n"),
		Entry("no health", "", ""),
	)

	DescribeTable("refuse what cannot be read again and say where", func(spec proto.Message, kind api.Kind, message string) {
		r := &api.Resource{Kind: kind, Meta: api.Meta{Mesh: "default", Name: "r"}, Spec: spec}
		_, err := api.MarshalYAML(r)
		Expect(err).To(MatchError(ContainSubstring(message)))
		_, err = api.EncodeJSON(r)
		Expect(err).To(MatchError(ContainSubstring(message)))
	},
		Entry("NaN", &api.TrafficRoute{Conf: &api.TrafficRoute_Conf{Mirrors: []*api.TrafficRoute_Mirror{{Percentage: wrapperspb.Double(math.NaN())}}}},
			api.KindTrafficRoute, `TrafficRoute "r" in mesh "default": conf.mirrors[0].percentage: `),
		Entry("a duration out of range", &api.TrafficRoute{Conf: &api.TrafficRoute_Conf{Mirror: &api.TrafficRoute_Mirror{
			Limits: &api.TrafficRoute_Mirror_Limits{MaxDuration: &durationpb.Duration{Nanos: -1, Seconds: 1}},
		}}}, api.KindTrafficRoute, "conf.mirror.limits.maxDuration: "),
		Entry("an enum's unknown value", &api.Dataplane{Networking: &api.Dataplane_Networking{Gateway: &api.Dataplane_Networking_Gateway{Type: 9}}},
			api.KindDataplane, `networking.gateway.type: 9 is none of the values of GatewayType`),
		Entry("text that is not UTF-8", &api.Dataplane{Networking: &api.Dataplane_Networking{Address: "\xff"}},
			api.KindDataplane, "UTF-8"),
	)
})
