package carrier

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// empty is the value of a section that is there with nothing in it.
const empty = "empty"

// flatten adds a tag for each field that is set in m, which stands at the path;
// the path of a section ends in a dot. Fields are not known by their names, so
// that a new one travels without a change here. Maps are left out: the one a
// mirror has is its destination.
func flatten(m protoreflect.Message, path string, tags map[string]string) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := path + fd.JSONName()
		switch {
		case fd.IsMap():
		case fd.IsList():
			for i := range v.List().Len() {
				flattenMessage(v.List().Get(i).Message(), name+"."+strconv.Itoa(i), tags)
			}
		case fd.Message() != nil:
			flattenMessage(v.Message(), name, tags)
		case fd.Kind() == protoreflect.StringKind:
			tags[Prefix+name] = escape(v.String())
		default:
			tags[Prefix+name] = v.String()
		}
		return true
	})
}

func flattenMessage(m protoreflect.Message, name string, tags map[string]string) {
	switch value := m.Interface().(type) {
	case *wrapperspb.DoubleValue:
		tags[Prefix+name] = strconv.FormatFloat(value.GetValue(), 'f', -1, 64)
	case *wrapperspb.UInt32Value:
		tags[Prefix+name] = strconv.FormatUint(uint64(value.GetValue()), 10)
	case *durationpb.Duration:
		tags[Prefix+name] = strings.Trim(protojson.Format(value), `"`)
	default:
		had := len(tags)
		flatten(m, name+".", tags)
		if len(tags) == had {
			tags[Prefix+name] = empty
		}
	}
}

// comparePaths orders the paths of fields so that the entries of a list come in
// theirs.
func comparePaths(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
	})
}

// set is the inverse of flatten for one field of m: the one at the path. The
// entries of a list have to come in their order. The error says what is wrong
// with the path or the value.
func set(m protoreflect.Message, path, value string) error {
	for rest := path; ; {
		here := strings.TrimSuffix(path, rest)
		step, below, more := strings.Cut(rest, ".")
		fd := m.Descriptor().Fields().ByJSONName(step)
		if fd == nil || fd.IsMap() {
			return fmt.Errorf("is not known; after %q there may be %s", Prefix+here, strings.Join(namesOf(m.Descriptor()), ", "))
		}
		if one := fd.ContainingOneof(); one != nil {
			if other := m.WhichOneof(one); other != nil && other != fd {
				return fmt.Errorf("excludes %s: only one of them may be there", Prefix+here+other.JSONName())
			}
		}
		switch {
		case fd.IsList():
			var index string
			index, below, more = strings.Cut(below, ".")
			list := m.Mutable(fd).List()
			i, err := strconv.Atoi(index)
			if err != nil || strconv.Itoa(i) != index || i < 0 || i > list.Len() {
				return fmt.Errorf("is out of order: the entries of %s are counted from 0 without a gap, and the next is %d", here+step, list.Len())
			}
			if i == list.Len() {
				list.AppendMutable()
			}
			m = list.Get(i).Message()
		case isSection(fd):
			m = m.Mutable(fd).Message()
		case more:
			return fmt.Errorf("is not known; %q has nothing below it", Prefix+here+step)
		default:
			v, err := parse(fd, value)
			if err != nil {
				return err
			}
			m.Set(fd, v)
			return nil
		}
		if !more {
			if value != empty {
				return fmt.Errorf("is %q; a section without fields is %q, others have tags for their fields alone", value, empty)
			}
			return nil
		}
		rest = below
	}
}

// namesOf lists the fields that a tag can stand for.
func namesOf(m protoreflect.MessageDescriptor) []string {
	var names []string
	for i := range m.Fields().Len() {
		if fd := m.Fields().Get(i); !fd.IsMap() {
			names = append(names, fd.JSONName())
		}
	}
	return names
}

// isSection reports whether a field has fields of its own.
func isSection(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && fd.Message().ParentFile().Package() != "google.protobuf"
}

// parse reads the value of a field that is no section.
func parse(fd protoreflect.FieldDescriptor, value string) (protoreflect.Value, error) {
	if fd.Message() != nil {
		m, err := parseMessage(fd.Message().FullName(), value)
		if err != nil {
			return protoreflect.Value{}, err
		}
		return protoreflect.ValueOfMessage(m), nil
	}
	switch fd.Kind() {
	case protoreflect.StringKind:
		text, err := unescape(value)
		if err == nil && !utf8.ValidString(text) {
			err = fmt.Errorf("is %q, which is not UTF-8 text", value)
		}
		return protoreflect.ValueOfString(text), err
	case protoreflect.BoolKind:
		if value != "true" && value != "false" {
			return protoreflect.Value{}, fmt.Errorf("is %q; must be true or false", value)
		}
		return protoreflect.ValueOfBool(value == "true"), nil
	default:
		return protoreflect.Value{}, fmt.Errorf("cannot be read: a field of type %s", fd.Kind())
	}
}

func parseMessage(name protoreflect.FullName, value string) (protoreflect.Message, error) {
	switch name {
	case (&wrapperspb.DoubleValue{}).ProtoReflect().Descriptor().FullName():
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("is %q; must be a number such as 90 or 0.5", value)
		}
		return wrapperspb.Double(number).ProtoReflect(), nil
	case (&wrapperspb.UInt32Value{}).ProtoReflect().Descriptor().FullName():
		number, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("is %q; must be a whole number from 0 to %d", value, ^uint32(0))
		}
		return wrapperspb.UInt32(uint32(number)).ProtoReflect(), nil
	case (&durationpb.Duration{}).ProtoReflect().Descriptor().FullName():
		d, err := time.ParseDuration(value)
		if err != nil {
			return nil, fmt.Errorf("is %q; must be a duration with its unit, such as 15s or 500ms", value)
		}
		return durationpb.New(d).ProtoReflect(), nil
	default:
		return nil, fmt.Errorf("cannot be read: a field of type %s", name)
	}
}
