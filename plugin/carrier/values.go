package carrier

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
)

const durationName protoreflect.FullName = "google.protobuf.Duration"

// wrapped is the value of a wrapper such as google.protobuf.BoolValue, nil for
// every other field.
func wrapped(fd protoreflect.FieldDescriptor) protoreflect.FieldDescriptor {
	if m := fd.Message(); m != nil && m.ParentFile().Path() == "google/protobuf/wrappers.proto" {
		return m.Fields().ByName("value")
	}
	return nil
}

// isSection reports whether a field has tags for its own fields instead of one
// value.
func isSection(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && fd.Message().FullName() != durationName && wrapped(fd) == nil
}

// format writes the value of a field that is no section, or of an entry of one.
func format(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if value := wrapped(fd); value != nil {
		return format(value, v.Message().Get(value))
	}
	switch fd.Kind() {
	case protoreflect.MessageKind:
		return strings.Trim(protojson.Format(v.Message().Interface()), `"`)
	case protoreflect.StringKind:
		return escape(v.String())
	case protoreflect.BytesKind:
		return escape(string(v.Bytes()))
	case protoreflect.EnumKind:
		if value := fd.Enum().Values().ByNumber(v.Enum()); value != nil {
			return string(value.Name())
		}
		return strconv.Itoa(int(v.Enum()))
	case protoreflect.FloatKind:
		return formatFloat(v.Float(), 32)
	case protoreflect.DoubleKind:
		return formatFloat(v.Float(), 64)
	default:
		return v.String() // a whole number, true or false
	}
}

// formatFloat has no sign of its own for what is infinite: Kuma allows no plus.
func formatFloat(f float64, bits int) string {
	return strings.TrimPrefix(strconv.FormatFloat(f, 'f', -1, bits), "+")
}

// parseMessage reads a wrapper or a duration into m.
func parseMessage(fd protoreflect.FieldDescriptor, text string, m protoreflect.Message) error {
	value := wrapped(fd)
	if value == nil {
		return parseDuration(text, m)
	}
	v, err := parseScalar(value, text)
	if err == nil {
		m.Set(value, v)
	}
	return err
}

// parseScalar is the inverse of format, and takes what people write instead.
func parseScalar(fd protoreflect.FieldDescriptor, text string) (protoreflect.Value, error) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		s, err := unescape(text)
		if err == nil && !utf8.ValidString(s) {
			err = fmt.Errorf("is %q, which is not UTF-8 text", text)
		}
		return protoreflect.ValueOfString(s), err
	case protoreflect.BytesKind:
		s, err := unescape(text)
		return protoreflect.ValueOfBytes([]byte(s)), err
	case protoreflect.BoolKind:
		if text != "true" && text != "false" {
			return protoreflect.Value{}, fmt.Errorf("is %q; must be true or false", text)
		}
		return protoreflect.ValueOfBool(text == "true"), nil
	case protoreflect.EnumKind:
		return parseEnum(fd.Enum().Values(), text)
	case protoreflect.FloatKind:
		f, err := parseFloat(text, 32)
		return protoreflect.ValueOfFloat32(float32(f)), err
	case protoreflect.DoubleKind:
		f, err := parseFloat(text, 64)
		return protoreflect.ValueOfFloat64(f), err
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		n, err := parseSigned(text, math.MinInt32, math.MaxInt32)
		return protoreflect.ValueOfInt32(int32(n)), err
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		n, err := parseSigned(text, math.MinInt64, math.MaxInt64)
		return protoreflect.ValueOfInt64(n), err
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		n, err := parseUnsigned(text, math.MaxUint32)
		return protoreflect.ValueOfUint32(uint32(n)), err
	default: // protoreflect.Uint64Kind, protoreflect.Fixed64Kind
		n, err := parseUnsigned(text, math.MaxUint64)
		return protoreflect.ValueOfUint64(n), err
	}
}

func parseFloat(text string, bits int) (float64, error) {
	f, err := strconv.ParseFloat(text, bits)
	if err != nil {
		return 0, fmt.Errorf("is %q; must be a number such as 90 or 0.5", text)
	}
	return f, nil
}

func parseSigned(text string, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("is %q; must be a whole number from %d to %d", text, least, most)
	}
	return n, nil
}

func parseUnsigned(text string, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > most {
		return 0, fmt.Errorf("is %q; must be a whole number from 0 to %d", text, most)
	}
	return n, nil
}

// parseEnum takes the numbers of values that the descriptor does not have, too:
// format may have written one.
func parseEnum(values protoreflect.EnumValueDescriptors, text string) (protoreflect.Value, error) {
	if value := values.ByName(protoreflect.Name(text)); value != nil {
		return protoreflect.ValueOfEnum(value.Number()), nil
	}
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(n)), nil
	}
	names := make([]string, values.Len())
	for i := range names {
		names[i] = string(values.Get(i).Name())
	}
	return protoreflect.Value{}, fmt.Errorf("is %q; must be one of %s", text, strings.Join(names, ", "))
}

// parseDuration takes Go's spelling, and protobuf's for what is longer than Go
// can say.
func parseDuration(text string, m protoreflect.Message) error {
	spelled := text
	if d, err := time.ParseDuration(text); err == nil {
		spelled = strings.Trim(protojson.Format(durationpb.New(d)), `"`)
	}
	if err := protojson.Unmarshal([]byte(strconv.Quote(spelled)), m.Interface()); err != nil {
		return fmt.Errorf("is %q; must be a duration with its unit, such as 15s or 500ms", text)
	}
	return nil
}

// formatKey writes the key of a map as one step of a path.
func formatKey(fd protoreflect.FieldDescriptor, key protoreflect.Value) string {
	return asStep(format(fd, key))
}

// asStep escapes the dots of a key, which would end the step.
func asStep(key string) string { return strings.ReplaceAll(key, ".", ":2e") }

// parseKey is the inverse of formatKey. A key is written in one way only, so
// that no two tags mean the same entry.
func parseKey(fd protoreflect.FieldDescriptor, text string) (protoreflect.Value, error) {
	key, err := parseScalar(fd, text)
	if err == nil && formatKey(fd, key) != text {
		err = fmt.Errorf("has the key %q, which is written %q", text, formatKey(fd, key))
	}
	return key, err
}
