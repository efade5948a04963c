package v1alpha1

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// MarshalYAML writes the resources, each in its own Form, as documents divided
// by `---`: first what identifies a resource, then the spec, its fields in the
// order of the proto. Parse of it gives equal resources, but for Source and
// for what a form has no place for (see Meta; the Kubernetes form has no
// ModificationTime). The error names a value that cannot be written, such as a
// NaN.
func MarshalYAML(resources ...*Resource) ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	for _, r := range resources {
		n, err := r.node()
		if err != nil {
			return nil, err
		}
		if err := encoder.Encode(n); err != nil {
			return nil, fmt.Errorf("%s: %w", r.Key(), err)
		}
	}
	if len(resources) == 0 {
		return nil, nil
	}
	if err := encoder.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// EncodeJSON writes the resource in its own Form on one line, which in the
// Universal form is what Kuma's REST API calls it. Order, round trip and error
// are those of MarshalYAML.
func EncodeJSON(r *Resource) ([]byte, error) {
	n, err := r.node()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := writeJSON(&out, n); err != nil {
		return nil, fmt.Errorf("%s: %w", r.Key(), err)
	}
	return out.Bytes(), nil
}

func (r *Resource) node() (*yaml.Node, error) {
	spec, err := messageNode("", r.Spec.ProtoReflect())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Key(), err)
	}
	doc := &yaml.Node{Kind: yaml.MappingNode}
	if r.Form == Kubernetes {
		metadata := &yaml.Node{Kind: yaml.MappingNode}
		addText(metadata, "name", r.Meta.Name)
		addText(metadata, "namespace", r.Meta.Namespace)
		addTexts(metadata, "labels", r.Meta.Labels)
		addTexts(metadata, "annotations", r.Meta.Annotations)
		addTime(metadata, "creationTimestamp", r.Meta.CreationTime)

		addText(doc, "apiVersion", apiVersion)
		addText(doc, "kind", string(r.Kind))
		addText(doc, "mesh", r.Meta.Mesh)
		add(doc, "metadata", metadata)
		add(doc, "spec", spec)
		return doc, nil
	}
	addText(doc, "type", string(r.Kind))
	addText(doc, "mesh", r.Meta.Mesh)
	addText(doc, "name", r.Meta.Name)
	addTexts(doc, "labels", r.Meta.Labels)
	addTime(doc, "creationTime", r.Meta.CreationTime)
	addTime(doc, "modificationTime", r.Meta.ModificationTime)
	doc.Content = append(doc.Content, spec.Content...)
	return doc, nil
}

func add(to *yaml.Node, name string, value *yaml.Node) {
	to.Content = append(to.Content, textNode(name), value)
}

func addText(to *yaml.Node, name, value string) {
	if value != "" {
		add(to, name, textNode(value))
	}
}

func addTexts(to *yaml.Node, name string, texts map[string]string) {
	if len(texts) == 0 {
		return
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, k := range slices.Sorted(maps.Keys(texts)) {
		add(n, k, textNode(texts[k]))
	}
	add(to, name, n)
}

func addTime(to *yaml.Node, name string, t time.Time) {
	if !t.IsZero() {
		addText(to, name, t.Format(time.RFC3339Nano))
	}
}

// notText matches plain words that YAML 1.1, which Kuma reads, takes for
// something else than text, and that the encoder would leave without quotes.
var notText = regexp.MustCompile(`^(?i:<<|=|y|n|yes|no|on|off|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)$`)

// oddBlock matches what a literal block (`|`) would not give back.
var oddBlock = regexp.MustCompile(`^\s|^$|[ \t]\n|\s$`)

func textNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: tagText, Value: s}
	odd := func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }
	block := strings.TrimSuffix(s, "\n")
	if notText.MatchString(s) || strings.ContainsFunc(s, odd) || (block != s || strings.Contains(s, "\n")) && oddBlock.MatchString(block) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// plainNode is a number or a boolean: a scalar that must not be quoted.
func plainNode(value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: value}
}

func messageNode(p Path, m protoreflect.Message) (*yaml.Node, error) {
	if m.Descriptor().FullName() == durationName {
		return durationNode(p, m)
	}
	if value := wrapped(m.Descriptor()); value != nil {
		return valueNode(p, value, m.Get(value))
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !m.Has(fd) {
			continue
		}
		value, err := fieldNode(p.Field(fd.JSONName()), fd, m.Get(fd))
		if err != nil {
			return nil, err
		}
		add(n, fd.JSONName(), value)
	}
	if len(n.Content) > 0 {
		return n, nil
	}
	// `health: {}` says "not ready" and reads as if it said nothing.
	for i := range fields.Len() {
		if fd := fields.Get(i); fd.Kind() == protoreflect.BoolKind && !fd.HasPresence() {
			add(n, fd.JSONName(), plainNode("false"))
		}
	}
	return n, nil
}

func fieldNode(p Path, fd protoreflect.FieldDescriptor, v protoreflect.Value) (*yaml.Node, error) {
	switch {
	case fd.IsMap():
		n := &yaml.Node{Kind: yaml.MappingNode}
		keys := make([]string, 0, v.Map().Len())
		v.Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
			keys = append(keys, k.String())
			return true
		})
		slices.Sort(keys)
		for _, k := range keys {
			value, err := valueNode(p.Key(k), fd.MapValue(), v.Map().Get(protoreflect.ValueOfString(k).MapKey()))
			if err != nil {
				return nil, err
			}
			add(n, k, value)
		}
		return n, nil
	case fd.IsList():
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.List().Len() {
			value, err := valueNode(p.Index(i), fd, v.List().Get(i))
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, value)
		}
		return n, nil
	default:
		return valueNode(p, fd, v)
	}
}

func valueNode(p Path, fd protoreflect.FieldDescriptor, v protoreflect.Value) (*yaml.Node, error) {
	switch fd.Kind() {
	case protoreflect.MessageKind:
		return messageNode(p, v.Message())
	case protoreflect.StringKind:
		return textNode(v.String()), nil
	case protoreflect.BoolKind:
		return plainNode(strconv.FormatBool(v.Bool())), nil
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return plainNode(strconv.FormatUint(v.Uint(), 10)), nil
	case protoreflect.DoubleKind:
		d, err := json.Marshal(v.Float())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		return plainNode(string(d)), nil
	case protoreflect.BytesKind:
		return textNode(base64.StdEncoding.EncodeToString(v.Bytes())), nil
	case protoreflect.EnumKind:
		value := fd.Enum().Values().ByNumber(v.Enum())
		if value == nil {
			return nil, fmt.Errorf("%s: %d is none of the values of %s", p, v.Enum(), fd.Enum().Name())
		}
		return textNode(string(value.Name())), nil
	default:
		return nil, fmt.Errorf("%s: cannot be written: a field of type %s", p, fd.Kind())
	}
}

func durationNode(p Path, m protoreflect.Message) (*yaml.Node, error) {
	quoted, err := protojson.Marshal(m.Interface())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	return textNode(strings.Trim(string(quoted), `"`)), nil
}

func writeJSON(out *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.MappingNode:
		out.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				out.WriteByte(',')
			}
			if err := writeJSON(out, n.Content[i]); err != nil {
				return err
			}
			out.WriteByte(':')
			if err := writeJSON(out, n.Content[i+1]); err != nil {
				return err
			}
		}
		out.WriteByte('}')
	case yaml.SequenceNode:
		out.WriteByte('[')
		for i, entry := range n.Content {
			if i > 0 {
				out.WriteByte(',')
			}
			if err := writeJSON(out, entry); err != nil {
				return err
			}
		}
		out.WriteByte(']')
	default:
		if n.Tag != tagText {
			out.WriteString(n.Value)
			return nil
		}
		if !utf8.ValidString(n.Value) {
			return fmt.Errorf("%q is not UTF-8 text", n.Value)
		}
		quoted, err := json.Marshal(n.Value)
		if err != nil {
			return err
		}
		out.Write(quoted)
	}
	return nil
}
