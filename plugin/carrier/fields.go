package carrier

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// empty is the value of a section that is there with nothing in it.
const empty = "empty"

// destinationField has no tags of its own: the shadow's tags are the carrier's.
const destinationField protoreflect.FullName = "mirror.v1alpha1.TrafficRoute.Mirror.destination"

// flatten adds a tag for each field that is set in m, which stands at the path;
// the path of a section ends in a dot. Only the descriptor says which fields
// there are and how they are written, so that a new one travels without a
// change here. The entries of lists and maps follow their field as one more
// step of the path.
func flatten(m protoreflect.Message, path string, tags map[string]string) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := path + fd.JSONName()
		switch {
		case fd.FullName() == destinationField:
		case fd.IsMap():
			v.Map().Range(func(key protoreflect.MapKey, v protoreflect.Value) bool {
				flattenValue(fd.MapValue(), v, name+"."+formatKey(fd.MapKey(), key.Value()), tags)
				return true
			})
		case fd.IsList():
			for i := range v.List().Len() {
				flattenValue(fd, v.List().Get(i), name+"."+strconv.Itoa(i), tags)
			}
		default:
			flattenValue(fd, v, name, tags)
		}
		return true
	})
}

func flattenValue(fd protoreflect.FieldDescriptor, v protoreflect.Value, name string, tags map[string]string) {
	if !isSection(fd) {
		tags[Prefix+name] = format(fd, v)
		return
	}
	had := len(tags)
	flatten(v.Message(), name+".", tags)
	if len(tags) == had {
		tags[Prefix+name] = empty
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
	return setBelow(m, "", path, value)
}

// setBelow is set for a message that stands at the path here, which ends in a
// dot.
func setBelow(m protoreflect.Message, here, rest, value string) error {
	step, below, more := strings.Cut(rest, ".")
	fd := m.Descriptor().Fields().ByJSONName(step)
	if fd == nil || fd.FullName() == destinationField {
		return fmt.Errorf("is not known; after %q there may be %s", Prefix+here, strings.Join(namesOf(m.Descriptor()), ", "))
	}
	if choice := fd.ContainingOneof(); choice != nil {
		if other := m.WhichOneof(choice); other != nil && other != fd {
			return fmt.Errorf("excludes %s: only one of them may be there", Prefix+here+other.JSONName())
		}
	}
	name := here + step
	if fd.IsList() || fd.IsMap() {
		step, below, more = strings.Cut(below, ".")
		name += "." + step
	}
	var t target
	switch {
	case fd.IsMap():
		key, err := parseKey(fd.MapKey(), step)
		if err != nil {
			return err
		}
		entries := m.Mutable(fd).Map()
		t = target{
			fd:      fd.MapValue(),
			message: func() protoreflect.Value { return entries.Mutable(key.MapKey()) },
			put:     func(v protoreflect.Value) { entries.Set(key.MapKey(), v) },
		}
	case fd.IsList():
		list := m.Mutable(fd).List()
		i, err := strconv.Atoi(step)
		if err != nil || strconv.Itoa(i) != step || i < 0 || i > list.Len() {
			return fmt.Errorf("is out of order: the entries of %s are counted from 0 without a gap, and the next is %d", here+fd.JSONName(), list.Len())
		}
		t = target{fd: fd, put: list.Append, message: func() protoreflect.Value {
			if i == list.Len() {
				return list.AppendMutable()
			}
			return list.Get(i)
		}}
	default:
		t = target{
			fd:      fd,
			message: func() protoreflect.Value { return m.Mutable(fd) },
			put:     func(v protoreflect.Value) { m.Set(fd, v) },
		}
	}
	switch {
	case isSection(t.fd) && more:
		return setBelow(t.message().Message(), name+".", below, value)
	case more:
		return fmt.Errorf("is not known; %q has nothing below it", Prefix+name)
	default:
		return t.set(value)
	}
}

// target is a field, or an entry of a list or a map.
type target struct {
	fd protoreflect.FieldDescriptor
	// message returns what is there of a message, an empty one at first.
	message func() protoreflect.Value
	// put stores a scalar.
	put func(protoreflect.Value)
}

// set gives the target its value, which a section without fields has, too.
func (t target) set(value string) error {
	switch {
	case isSection(t.fd):
		t.message()
		if value != empty {
			return fmt.Errorf("is %q; a section without fields is %q, others have tags for their fields alone", value, empty)
		}
		return nil
	case t.fd.Message() != nil:
		return parseMessage(t.fd, value, t.message().Message())
	}
	v, err := parseScalar(t.fd, value)
	if err == nil {
		t.put(v)
	}
	return err
}

// namesOf lists the fields that a tag can stand for.
func namesOf(m protoreflect.MessageDescriptor) []string {
	var names []string
	for i := range m.Fields().Len() {
		if fd := m.Fields().Get(i); fd.FullName() != destinationField {
			names = append(names, fd.JSONName())
		}
	}
	return names
}
