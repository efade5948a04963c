package carrier_test

import (
	"fmt"
	"math"
	"time"

	"cel.dev/expr/conformance/proto3"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kuma-mirror/kuma-mirror/plugin/carrier"
)

// A message with a field of every kind, alone, in a list, in maps and in a
// oneof, stands for the options that a mirror does not have yet.
var _ = Describe("A field of any kind", func() {
	every := (&proto3.TestAllTypes{}).ProtoReflect()

	It("travels and comes back as it was, in tags that Kuma takes", func() {
		kinds := map[protoreflect.Kind]bool{}
		tried := 0
		for i := range every.Descriptor().Fields().Len() {
			fd := every.Descriptor().Fields().Get(i)
			kinds[fd.Kind()] = true
			for _, m := range variants(every, fd, 2) {
				tried++
				tags := carrier.Tags(m)
				for name, value := range tags {
					if !tagName.MatchString(name) || !tagValue.MatchString(value) {
						Fail(fmt.Sprintf("Kuma would refuse %q: %q", name, value))
					}
				}
				read := m.New()
				if err := carrier.Read(read, tags); err != nil {
					Fail(fmt.Sprintf("%v\nof %s", err, tags))
				}
				if !proto.Equal(read.Interface(), m.Interface()) {
					Fail(fmt.Sprintf("%s\nbecame, by way of\n%s\n%s", prototext.Format(m.Interface()), tags, prototext.Format(read.Interface())))
				}
			}
		}
		AddReportEntry("messages", tried)
		for kind := protoreflect.BoolKind; kind <= protoreflect.Sint64Kind; kind++ {
			if kind.IsValid() && kind != protoreflect.GroupKind { // which proto3 does not have
				Expect(kinds).To(HaveKey(kind))
			}
		}
	})

	DescribeTable("is written as",
		func(text, tag, value string) {
			m := &proto3.TestAllTypes{}
			Expect(prototext.Unmarshal([]byte(text), m)).To(Succeed())
			Expect(carrier.Tags(m.ProtoReflect())).To(Equal(map[string]string{carrier.Prefix + tag: value}))
		},
		Entry("a flag that is set, and off", `single_bool_wrapper {}`, "singleBoolWrapper", "false"),
		Entry("a text that is set, and empty", `single_string_wrapper {}`, "singleStringWrapper", "::"),
		Entry("the text `empty`", `single_string_wrapper {value: "empty"}`, "singleStringWrapper", "empty"),
		Entry("a section with nothing in it", `standalone_message {}`, "standaloneMessage", "empty"),
		Entry("a value", `standalone_enum: BAR`, "standaloneEnum", "BAR"),
		Entry("a value without a name", `standalone_enum: 7`, "standaloneEnum", "7"),
		Entry("an entry of a list", `repeated_string: "a b"`, "repeatedString.0", "a:20b"),
		Entry("a duration in a list", `repeated_duration {nanos: 1000000}`, "repeatedDuration.0", "0.001s"),
		Entry("an entry of a map", `map_string_int32 {key: "a.b/c" value: 7}`, "mapStringInt32.a:2eb:2fc", "7"),
		Entry("a section in a map", `map_string_message {key: "" value: {bb: 1}}`, "mapStringMessage.::.bb", "1"),
		Entry("what is infinite", `single_double: inf`, "singleDouble", "Inf"),
	)

	DescribeTable("is refused with what is allowed where its value is",
		func(tag, value, message string) {
			m := &proto3.TestAllTypes{}
			Expect(carrier.Read(m.ProtoReflect(), map[string]string{carrier.Prefix + tag: value})).To(MatchError(message))
		},
		Entry("over 32 bits", "singleInt32", "2147483648", `is "2147483648"; must be a whole number from -2147483648 to 2147483647`),
		Entry("under 32 bits", "singleSint32", "-2147483649", `is "-2147483649"; must be a whole number from -2147483648 to 2147483647`),
		Entry("over 32 bits without a sign", "singleFixed32", "4294967296", `is "4294967296"; must be a whole number from 0 to 4294967295`),
		Entry("over 64 bits", "singleInt64", "9223372036854775808", `is "9223372036854775808"; must be a whole number from -9223372036854775808 to 9223372036854775807`),
		Entry("below nothing", "singleUint64", "-1", `is "-1"; must be a whole number from 0 to 18446744073709551615`),
		Entry("over what a float has", "singleFloat", "1e39", `is "1e39"; must be a number such as 90 or 0.5`),
		Entry("none of an enum's", "standaloneEnum", "FO", `is "FO"; must be one of FOO, BAR, BAZ`),
		Entry("not text", "singleString", ":ff", `is ":ff", which is not UTF-8 text`),
		Entry("no duration in a list", "repeatedDuration.0", "1", `is "1"; must be a duration with its unit, such as 15s or 500ms`),
		Entry("longer than any duration", "singleDuration", "315576000001s", `is "315576000001s"; must be a duration with its unit, such as 15s or 500ms`),
		Entry("at a negative index", "repeatedString.-1", "a", `is out of order: the entries of repeatedString are counted from 0 without a gap, and the next is 0`),
		Entry("behind a gap", "repeatedString.1", "a", `is out of order: the entries of repeatedString are counted from 0 without a gap, and the next is 0`),
		Entry("at no index", "repeatedString", "a", `is out of order: the entries of repeatedString are counted from 0 without a gap, and the next is 0`),
		Entry("below the entry of a list", "repeatedString.0.x", "a", `is not known; "mirror.kuma-mirror.io/repeatedString.0" has nothing below it`),
		Entry("at a key of another type", "mapInt32String.a", "a", `is "a"; must be a whole number from -2147483648 to 2147483647`),
		Entry("at a key that is written in another way", "mapStringString.:61", "a", `has the key ":61", which is written "a"`),
	)

	It("is found for what is wrong with it", func() {
		Expect(carrier.TagPath("host.value")).To(Equal("host.value"))
		Expect(carrier.TagPath("requestHeaders.add[10].name")).To(Equal("requestHeaders.add.10.name"))
		Expect(carrier.TagPath(`mapStringMessage["a.[b]"].bb`)).To(Equal("mapStringMessage.a:2e:5bb:5d.bb"))
	})
})

// variants are messages of m's type in which the field alone is set, to values
// that are easy to get wrong; of the messages below, so many levels have fields.
func variants(m protoreflect.Message, fd protoreflect.FieldDescriptor, levels int) []protoreflect.Message {
	var all []protoreflect.Message
	add := func(fill func(protoreflect.Message)) {
		filled := m.New()
		fill(filled)
		all = append(all, filled)
	}
	switch {
	case fd.IsMap():
		values := samples(fd.MapValue(), m.NewField(fd).Map().NewValue, levels)
		for i, key := range samples(fd.MapKey(), nil, 0) {
			add(func(m protoreflect.Message) { m.Mutable(fd).Map().Set(key.MapKey(), values[i%len(values)]) })
		}
		add(func(m protoreflect.Message) {
			for i, key := range samples(fd.MapKey(), nil, 0) {
				m.Mutable(fd).Map().Set(key.MapKey(), values[(i+1)%len(values)])
			}
		})
	case fd.IsList():
		add(func(m protoreflect.Message) {
			for _, v := range samples(fd, m.NewField(fd).List().NewElement, levels) {
				m.Mutable(fd).List().Append(v)
			}
		})
	default:
		for _, v := range samples(fd, func() protoreflect.Value { return m.NewField(fd) }, levels) {
			add(func(m protoreflect.Message) { m.Set(fd, v) })
		}
	}
	return all
}

func samples(fd protoreflect.FieldDescriptor, fresh func() protoreflect.Value, levels int) []protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return valuesOf(false, true)
	case protoreflect.EnumKind:
		return valuesOf[protoreflect.EnumNumber](0, 1, -7, math.MaxInt32)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return valuesOf[int32](0, 1, -1, math.MinInt32, math.MaxInt32)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return valuesOf[int64](0, 1, -1, math.MinInt64, math.MaxInt64)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return valuesOf[uint32](0, 1, math.MaxUint32)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return valuesOf[uint64](0, 1, math.MaxUint64)
	case protoreflect.FloatKind:
		return valuesOf(0, float32(math.Copysign(0, -1)), 0.1, math.SmallestNonzeroFloat32, -math.MaxFloat32,
			float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()))
	case protoreflect.DoubleKind:
		return valuesOf(0, math.Copysign(0, -1), 0.1, math.SmallestNonzeroFloat64, -math.MaxFloat64, math.Inf(1), math.Inf(-1), math.NaN())
	case protoreflect.StringKind:
		return valuesOf("", "a", "a.b", "::", "empty", "true", "-1", "Köln\x00 %REQ(a)%\n")
	case protoreflect.BytesKind:
		return valuesOf([]byte{}, []byte("a.b"), []byte{0, 0xff, ':'})
	}
	if fd.Message().FullName() == "google.protobuf.Duration" {
		var all []protoreflect.Value
		for _, d := range []*durationpb.Duration{{}, {Nanos: 1}, durationpb.New(-1500 * time.Millisecond), {Seconds: 315576000000}} {
			all = append(all, protoreflect.ValueOfMessage(d.ProtoReflect()))
		}
		return all
	}
	all := []protoreflect.Value{fresh()}
	if levels > 0 {
		m := fresh().Message()
		for i := range m.Descriptor().Fields().Len() {
			for _, filled := range variants(m, m.Descriptor().Fields().Get(i), levels-1) {
				all = append(all, protoreflect.ValueOfMessage(filled))
			}
		}
	}
	return all
}

func valuesOf[T any](all ...T) []protoreflect.Value {
	values := make([]protoreflect.Value, len(all))
	for i, v := range all {
		values[i] = protoreflect.ValueOf(v)
	}
	return values
}
