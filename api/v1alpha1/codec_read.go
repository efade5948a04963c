package v1alpha1

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Tags of YAML nodes. A timestamp is text here, as it is for Kuma.
const (
	tagMap   = "!!map"
	tagList  = "!!seq"
	tagText  = "!!str"
	tagInt   = "!!int"
	tagFloat = "!!float"
	tagBool  = "!!bool"
	tagNull  = "!!null"
	tagTime  = "!!timestamp"
	tagMerge = "!!merge"
)

// Numbers as JSON writes them, and what YAML users add to that: a sign, a bare
// point. A leading zero means octal to some readers, so it is left out.
var (
	intSyntax   = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)$`)
	floatSyntax = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][-+]?[0-9]+)?$`)
	plainName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// reader turns nodes into resources and collects what is wrong with them.
type reader struct {
	source     string
	violations Violations
	// found counts the mistakes, those beyond maxViolations too.
	found int
	// strangers counts those of them that are unknown fields.
	strangers int
	// budget is how many nodes may still be visited. Every node takes at least
	// a byte where it is written, so an input that is longer than its text
	// allows got there through aliases.
	budget int
}

func (r *reader) fail(p Path, n *yaml.Node, format string, args ...any) {
	r.found++
	if r.found > maxViolations {
		return
	}
	message := fmt.Sprintf(format, args...)
	if n != nil && n.Line > 0 {
		message += fmt.Sprintf(" (line %d)", n.Line)
	}
	r.violations = append(r.violations, Violation{Source: r.source, Path: string(p), Message: message})
}

func (r *reader) unknown(p Path, f field, allowed []string) {
	r.strangers++
	allowed = slices.Sorted(slices.Values(allowed))
	if len(allowed) == 0 {
		r.fail(p.named(f.name), f.key, "unknown field; none is allowed here")
		return
	}
	r.fail(p.named(f.name), f.key, "unknown field; allowed: %s", strings.Join(allowed, ", "))
}

// named goes to a field whose name may be anything.
func (p Path) named(name string) Path {
	if !plainName.MatchString(name) {
		return p.Key(clip(name))
	}
	return p.Field(clip(name))
}

// entry goes to the entry of a map of the spec's own, such as tags.
func (p Path) entry(key string) Path { return p.Key(clip(key)) }

// clip shortens what is quoted from the input: one long word must not make
// every message long.
func clip(s string) string {
	const longest = 100
	if len(s) <= longest {
		return s
	}
	cut := longest
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// exhausted reports whether the input deserves no further reading.
func (r *reader) exhausted() bool { return r.budget < 0 || r.found > maxViolations }

// spend accounts for n nodes and reports whether they may be visited.
func (r *reader) spend(at *yaml.Node, n int) bool {
	if r.exhausted() {
		return false
	}
	if r.budget -= n; r.budget < 0 {
		r.fail("", at, "aliases stand for too much: more than %d further values", aliasBudget)
		return false
	}
	return true
}

func deref(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isText(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.Tag == tagText || n.Tag == tagTime)
}

// describe continues "must be …, ".
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "is a map"
	case yaml.SequenceNode:
		return "is a list"
	}
	value := clip(n.Value)
	switch n.Tag {
	case tagNull:
		return "has no value"
	case tagBool:
		return "is the boolean " + value
	case tagText, tagTime:
		return fmt.Sprintf("is the text %q", value)
	case tagInt, tagFloat:
		if strings.ContainsAny(value, "0123456789") {
			return "is the number " + value
		}
		return "is " + value
	default:
		return "is tagged " + clip(n.Tag)
	}
}

// field is an entry of a map.
type field struct {
	name       string
	key, value *yaml.Node
}

// fields returns the fields of a message in their order, those it merges with
// `<<` last; false where n is no map.
func (r *reader) fields(p Path, n *yaml.Node) ([]field, bool) {
	return r.pairs(p, n, Path.named)
}

// entries is fields for a map whose keys are the user's own, such as tags.
func (r *reader) entries(p Path, n *yaml.Node) []field {
	entries, _ := r.pairs(p, n, Path.entry)
	return entries
}

func (r *reader) pairs(p Path, n *yaml.Node, step func(Path, string) Path) ([]field, bool) {
	n = deref(n)
	if n.Kind != yaml.MappingNode {
		r.fail(p, n, "must be a map, %s", describe(n))
		return nil, false
	}
	return r.merged(p, n, step, map[string]bool{}, 0), true
}

// merged returns the pairs of n whose keys are not in seen yet.
func (r *reader) merged(p Path, n *yaml.Node, step func(Path, string) Path, seen map[string]bool, depth int) []field {
	if !r.spend(n, len(n.Content)) {
		return nil
	}
	var fields []field
	var bases []*yaml.Node
	own := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content) && !r.exhausted(); i += 2 {
		key, value := deref(n.Content[i]), n.Content[i+1]
		if key.Kind == yaml.ScalarNode && key.Tag == tagMerge {
			bases = append(bases, value)
			continue
		}
		if !isText(key) {
			r.fail(p, key, "every key must be a string; one %s%s", describe(key), quoteHint(key))
			continue
		}
		if first, ok := own[key.Value]; ok {
			r.fail(step(p, key.Value), key, "is given twice, first on line %d", first.Line)
			continue
		}
		own[key.Value] = key
		if !seen[key.Value] {
			seen[key.Value] = true
			fields = append(fields, field{name: key.Value, key: key, value: value})
		}
	}
	for _, base := range bases {
		fields = append(fields, r.merge(p, base, step, seen, depth)...)
	}
	return fields
}

// merge reads the value of a `<<`: a map or a list of maps.
func (r *reader) merge(p Path, base *yaml.Node, step func(Path, string) Path, seen map[string]bool, depth int) []field {
	base = deref(base)
	if depth == maxMergeDepth {
		r.fail(p, base, "merges with << more than %d levels deep", maxMergeDepth)
		return nil
	}
	maps := []*yaml.Node{base}
	if base.Kind == yaml.SequenceNode {
		maps = base.Content
	}
	var fields []field
	for _, m := range maps {
		if m = deref(m); m.Kind != yaml.MappingNode {
			r.fail(p, m, "what << merges must be a map, %s", describe(m))
			continue
		}
		fields = append(fields, r.merged(p, m, step, seen, depth+1)...)
	}
	return fields
}

// list returns the entries of a list; false where n is none.
func (r *reader) list(p Path, n *yaml.Node) ([]*yaml.Node, bool) {
	n = deref(n)
	if n.Kind != yaml.SequenceNode {
		r.fail(p, n, "must be a list, %s", describe(n))
		return nil, false
	}
	if !r.spend(n, len(n.Content)) {
		return nil, false
	}
	return n.Content, true
}

func (r *reader) text(p Path, n *yaml.Node) string {
	n = deref(n)
	if !isText(n) {
		r.fail(p, n, "must be a string, %s%s", describe(n), quoteHint(n))
		return ""
	}
	return n.Value
}

func quoteHint(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && slices.Contains([]string{tagInt, tagFloat, tagBool}, n.Tag) {
		return "; put it in quotes"
	}
	return ""
}

// texts reads a map of strings; nil where it is empty or, as Kubernetes
// clients may write it, null.
func (r *reader) texts(p Path, n *yaml.Node) map[string]string {
	if n = deref(n); n.Kind == yaml.ScalarNode && n.Tag == tagNull {
		return nil
	}
	entries := r.entries(p, n)
	if len(entries) == 0 {
		return nil
	}
	texts := make(map[string]string, len(entries))
	for _, e := range entries {
		texts[e.name] = r.text(p.entry(e.name), e.value)
	}
	return texts
}

const durationName = protoreflect.FullName("google.protobuf.Duration")

// wrapped returns the field of a message that stands for its one value, such
// as DoubleValue, and nil for other messages.
func wrapped(m protoreflect.MessageDescriptor) protoreflect.FieldDescriptor {
	switch m.FullName() {
	case "google.protobuf.BoolValue", "google.protobuf.BytesValue", "google.protobuf.DoubleValue",
		"google.protobuf.StringValue", "google.protobuf.UInt32Value":
		return m.Fields().ByName("value")
	default:
		return nil
	}
}

// message reads n into m.
func (r *reader) message(p Path, n *yaml.Node, m protoreflect.Message) {
	if m.Descriptor().FullName() == durationName {
		r.duration(p, n, m)
		return
	}
	if value := wrapped(m.Descriptor()); value != nil {
		if v, ok := r.scalar(p, value, n); ok {
			m.Set(value, v)
		}
		return
	}
	if fields, ok := r.fields(p, n); ok {
		r.messageFields(p, fields, m, nil)
	}
}

// messageFields reads fields into m. siblings are the fields that belong to
// the same map of the document but not to m.
func (r *reader) messageFields(p Path, fields []field, m protoreflect.Message, siblings []string) {
	descriptors := m.Descriptor().Fields()
	given := map[protoreflect.FieldNumber]string{}
	chosen := map[protoreflect.FullName]string{}
	for _, f := range fields {
		if r.exhausted() {
			return
		}
		// Both spellings are those of protobuf's JSON form, and so Kuma's.
		fd := descriptors.ByJSONName(f.name)
		if fd == nil {
			fd = descriptors.ByTextName(f.name)
		}
		if fd == nil {
			r.unknown(p, f, append(jsonNames(descriptors), siblings...))
			continue
		}
		at := p.Field(f.name)
		if first, ok := given[fd.Number()]; ok {
			r.fail(at, f.key, "is given twice, first as %s", first)
			continue
		}
		given[fd.Number()] = f.name
		if one := fd.ContainingOneof(); one != nil {
			if first, ok := chosen[one.FullName()]; ok {
				r.fail(at, f.key, "excludes %s; give only one of %s", first, strings.Join(jsonNames(one.Fields()), ", "))
				continue
			}
			chosen[one.FullName()] = f.name
		}
		r.set(at, fd, f.value, m)
	}
}

func jsonNames(fields interface {
	Len() int
	Get(int) protoreflect.FieldDescriptor
}) []string {
	names := make([]string, fields.Len())
	for i := range names {
		names[i] = fields.Get(i).JSONName()
	}
	return names
}

// set reads n into the field fd of m.
func (r *reader) set(p Path, fd protoreflect.FieldDescriptor, n *yaml.Node, m protoreflect.Message) {
	switch {
	case fd.IsMap():
		entries := r.entries(p, n)
		if len(entries) == 0 {
			return
		}
		values := m.Mutable(fd).Map()
		for _, e := range entries {
			if v, ok := r.value(p.entry(e.name), fd.MapValue(), e.value, values.NewValue); ok {
				values.Set(protoreflect.ValueOfString(e.name).MapKey(), v)
			}
		}
	case fd.IsList():
		nodes, _ := r.list(p, n)
		if len(nodes) == 0 {
			return
		}
		values := m.Mutable(fd).List()
		for i, entry := range nodes {
			if v, ok := r.value(p.Index(i), fd, entry, values.NewElement); ok {
				values.Append(v)
			}
		}
	default:
		if v, ok := r.value(p, fd, n, func() protoreflect.Value { return m.NewField(fd) }); ok {
			m.Set(fd, v)
		}
	}
}

// value reads a single value; fresh returns an empty one, to fill where it is
// a message.
func (r *reader) value(p Path, fd protoreflect.FieldDescriptor, n *yaml.Node, fresh func() protoreflect.Value) (protoreflect.Value, bool) {
	if fd.Kind() != protoreflect.MessageKind {
		return r.scalar(p, fd, n)
	}
	v := fresh()
	r.message(p, n, v.Message())
	return v, true
}

func (r *reader) scalar(p Path, fd protoreflect.FieldDescriptor, n *yaml.Node) (v protoreflect.Value, ok bool) {
	n = deref(n)
	switch fd.Kind() {
	case protoreflect.StringKind:
		s := r.text(p, n)
		return protoreflect.ValueOfString(s), isText(n)
	case protoreflect.BoolKind:
		b, err := strconv.ParseBool(strings.ToLower(n.Value))
		if n.Kind != yaml.ScalarNode || n.Tag != tagBool || err != nil {
			r.fail(p, n, "must be true or false, %s", describe(n))
			return v, false
		}
		return protoreflect.ValueOfBool(b), true
	case protoreflect.Uint32Kind:
		u, ok := r.unsigned(p, n, 32)
		return protoreflect.ValueOfUint32(uint32(u)), ok
	case protoreflect.Uint64Kind:
		u, ok := r.unsigned(p, n, 64)
		return protoreflect.ValueOfUint64(u), ok
	case protoreflect.DoubleKind:
		d, err := strconv.ParseFloat(n.Value, 64)
		if !isNumber(n) || !floatSyntax.MatchString(n.Value) || err != nil {
			r.fail(p, n, "must be a number such as 90 or 0.5, %s", describe(n))
			return v, false
		}
		return protoreflect.ValueOfFloat64(d), true
	case protoreflect.BytesKind:
		b, err := base64.StdEncoding.DecodeString(n.Value)
		if !isText(n) || err != nil {
			// Not quoted back: it may be a key.
			r.fail(p, n, "must be base64 text")
			return v, false
		}
		return protoreflect.ValueOfBytes(b), true
	case protoreflect.EnumKind:
		values := fd.Enum().Values()
		if value := values.ByName(protoreflect.Name(n.Value)); isText(n) && value != nil {
			return protoreflect.ValueOfEnum(value.Number()), true
		}
		names := make([]string, values.Len())
		for i := range names {
			names[i] = string(values.Get(i).Name())
		}
		r.fail(p, n, "must be one of %s, %s", strings.Join(names, ", "), describe(n))
		return v, false
	default:
		r.fail(p, n, "cannot be read: a field of type %s", fd.Kind())
		return v, false
	}
}

// isNumber reports whether n may be a number: quoted ones count, since that is
// how protobuf's JSON form, and so Kuma's REST API, writes 64 bits.
func isNumber(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && slices.Contains([]string{tagInt, tagFloat, tagText}, n.Tag)
}

func (r *reader) unsigned(p Path, n *yaml.Node, bits int) (uint64, bool) {
	u, err := strconv.ParseUint(strings.TrimPrefix(n.Value, "+"), 10, bits)
	if !isNumber(n) || !intSyntax.MatchString(n.Value) || err != nil {
		r.fail(p, n, "must be a whole number from 0 to %d, %s", ^uint64(0)>>(64-bits), describe(n))
		return 0, false
	}
	return u, true
}

// duration takes Go's spelling, which protobuf's own ("15s", "0.5s") is part of.
func (r *reader) duration(p Path, n *yaml.Node, m protoreflect.Message) {
	n = deref(n)
	d, err := time.ParseDuration(n.Value)
	if !isText(n) || err != nil {
		r.fail(p, n, "must be a duration with its unit, such as 15s, 500ms or 1m30s, %s", describe(n))
		return
	}
	parsed := durationpb.New(d)
	fields := m.Descriptor().Fields()
	m.Set(fields.ByName("seconds"), protoreflect.ValueOfInt64(parsed.Seconds))
	m.Set(fields.ByName("nanos"), protoreflect.ValueOfInt32(parsed.Nanos))
}
