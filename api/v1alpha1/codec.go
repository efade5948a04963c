package v1alpha1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
)

const (
	// MaxInputBytes is the longest input that Parse and Load take, 4 MiB. It
	// bounds what the node tree of a hostile input can cost.
	MaxInputBytes = 4 << 20

	// aliasBudget is how many nodes an input may reach through aliases beyond
	// those it writes down.
	aliasBudget = 100_000

	// maxViolations bounds the answer to an input that is nothing but mistakes.
	maxViolations = 1000

	// maxMergeDepth bounds `<<` inside of what `<<` names.
	maxMergeDepth = 16
)

const (
	apiVersion     = "kuma.io/v1alpha1"
	listAPIVersion = "v1"
	listKind       = "List"
)

// Top-level fields beside those of the spec. Kuma's REST answers carry `kri`,
// which follows from the others: it is taken and dropped.
var (
	universalFields  = []string{"type", "mesh", "name", "labels", "creationTime", "modificationTime"}
	kubernetesFields = []string{"apiVersion", "kind", "mesh", "metadata", "spec"}
	listFields       = []string{"apiVersion", "kind", "metadata", "items"}
	kumaListFields   = []string{"items", "next", "total"}
	metadataFields   = []string{"name", "namespace", "labels", "annotations", "creationTimestamp"}

	// A Kubernetes API server writes these; they mean nothing outside of it
	// and are taken and dropped, so that `kubectl get -o yaml` can be read.
	serverSetMetadata = []string{
		"deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generation",
		"managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid",
	}
)

// newSpec returns an empty spec of the kind, or nil where there is no such kind.
func newSpec(kind Kind) proto.Message {
	switch kind {
	case KindMesh:
		return &Mesh{}
	case KindDataplane:
		return &Dataplane{}
	case KindExternalService:
		return &ExternalService{}
	case KindTrafficRoute:
		return &TrafficRoute{}
	default:
		return nil
	}
}

// Parse reads resources from YAML or JSON: one document or several, each a
// resource in the Universal or the Kubernetes form, or a list of such as kubectl
// and kumactl print it. An empty `mesh` is DefaultMesh. source names the input in
// messages and in Resource.Source; where the input holds several resources,
// "#1", "#2" and so on is added.
//
// Parse is strict: unknown fields, wrong types and duplicate keys are errors,
// as is an input without any resource. The error is then Violations with all
// that is wrong (the first 1000 of it); the resources that could be read are
// returned beside it, without fields that are unknown, for messages that go
// further, and are not to be applied.
// Whether the values make sense is not checked here.
//
// The time Parse takes is linear in the length of data, of which at most
// MaxInputBytes are taken, with at most 750,000 values; ParseCost is what
// it takes of memory.
func Parse(source string, data []byte) ([]*Resource, error) {
	r := &reader{source: source, budget: len(data) + aliasBudget}
	if len(data) > MaxInputBytes {
		r.violations = Violations{tooLong(source, int64(len(data)))}
		return nil, r.violations
	}
	if nodes := nodesAtMost(data); nodes > maxNodes {
		r.fail("", nil, "has up to %d values, by its punctuation; at most %d are read: divide it", nodes, maxNodes)
		return nil, r.violations
	}
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if at := invalidUTF8(data); at >= 0 {
		r.fail("", nil, "is not UTF-8 text: byte 0x%02x on line %d", data[at], lineAt(data, at))
		return nil, r.violations
	}

	documents, syntaxErr := readDocuments(data)
	var roots []*yaml.Node
	for _, d := range documents {
		roots = append(roots, r.unfold(d)...)
	}

	var resources []*Resource
	for i, root := range roots {
		r.source = source
		if r.exhausted() {
			break
		}
		if len(roots) > 1 || syntaxErr != nil {
			r.source = fmt.Sprintf("%s#%d", source, i+1)
		}
		understood, listed := r.found-r.strangers, len(r.violations)
		res := r.resource(root)
		if res != nil && r.found-r.strangers == understood {
			resources = append(resources, res)
		}
		for i := range r.violations[listed:] {
			r.violations[listed+i].Object = res.object()
		}
	}

	r.source = source
	switch {
	case syntaxErr != nil:
		r.fail("", nil, "%s; nothing after that was read", syntaxErr)
	case len(roots) == 0 && r.found == 0:
		r.fail("", nil, "%s", ErrNoResources)
	}
	if r.found > len(r.violations) {
		r.violations = append(r.violations, Violation{Source: source, Message: fmt.Sprintf("and more: only the first %d mistakes are listed", maxViolations)})
	}
	return resources, r.violations.OrNil()
}

// ErrNoResources is what Parse's error is, as errors.Is has it, where an input is
// well-formed and has nothing in it: no text, comments alone, or empty documents.
var ErrNoResources = errors.New("nothing in it: expected at least one resource")

func tooLong(source string, size int64) Violation {
	return Violation{Source: source, Message: fmt.Sprintf("is %d bytes long; at most %d (4 MiB) are read", size, MaxInputBytes)}
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8, or -1.
func invalidUTF8(data []byte) int {
	for at := 0; at < len(data); {
		c, size := utf8.DecodeRune(data[at:])
		if c == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return -1
}

func lineAt(data []byte, offset int) int {
	return 1 + bytes.Count(data[:offset], []byte("\n"))
}

// separator parts documents. No JSON value and no YAML document holds such a
// line.
var separator = regexp.MustCompile(`(?m)^---[ \t]*\r?$`)

// opensJSON tells JSON from YAML, of which braces open the flow maps, where it
// is neither.
var opensJSON = regexp.MustCompile(`^\s*[{\[]\s*"`)

// readDocuments returns the root node of every document that is not empty. On
// a syntax error it returns those before it too.
func readDocuments(data []byte) ([]*yaml.Node, error) {
	var roots []*yaml.Node
	line := 1
	for len(data) > 0 {
		end, next := len(data), len(data)
		if at := separator.FindIndex(data); at != nil {
			end, next = at[0], at[1]
		}
		// JSON is read as JSON: YAML refuses some of its escapes and its tabs.
		// From the first document on that is none, all is read as YAML.
		read, jsonErr := readJSON(data[:end], line)
		if jsonErr != nil {
			flow, yamlErr := readYAML(data, line)
			if yamlErr != nil && len(flow) <= len(read) && opensJSON.Match(data) {
				return append(roots, read...), jsonErr
			}
			return append(roots, flow...), yamlErr
		}
		roots = append(roots, read...)
		line += bytes.Count(data[:next], []byte("\n"))
		data = data[next:]
	}
	return roots, nil
}

// readYAML reads a stream of YAML documents that begins on the given line.
func readYAML(data []byte, line int) ([]*yaml.Node, error) {
	// The lines before it make those of nodes and errors right.
	data = append(bytes.Repeat([]byte("\n"), line-1), data...)
	var roots []*yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return roots, nil
		}
		if err != nil {
			return roots, fmt.Errorf("not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		}
		for _, root := range document.Content {
			empty := root.Kind == yaml.ScalarNode && root.Tag == tagNull && root.Value == ""
			if !empty {
				roots = append(roots, root)
			}
		}
	}
}

// unfold returns the resources of a document: its root, or the items of a List
// of Kubernetes or of what Kuma's REST API and kumactl list.
func (r *reader) unfold(root *yaml.Node) []*yaml.Node {
	allowed := listFields
	if kind, ok := peek(root, "kind"); !ok || kind != listKind {
		if !isKumaList(root) {
			return []*yaml.Node{root}
		}
		allowed = kumaListFields
	}
	var items []*yaml.Node
	fields, _ := r.fields("", root)
	for _, f := range fields {
		switch f.name {
		case "apiVersion":
			r.constant("apiVersion", f.value, listAPIVersion)
		case "kind", "metadata":
		case "items":
			items, _ = r.list("items", f.value)
		default:
			if !slices.Contains(allowed, f.name) {
				r.unknown("", f, allowed)
			}
		}
	}
	return items
}

// isKumaList reports whether a document has items and does not say what it is.
func isKumaList(root *yaml.Node) bool {
	has := func(name string) bool {
		for i := 0; i+1 < len(root.Content); i += 2 {
			if root.Content[i].Value == name {
				return true
			}
		}
		return false
	}
	return root.Kind == yaml.MappingNode && has("items") && !has("type") && !has("kind") && !has("apiVersion")
}

// peek returns a field of a map without complaint. It stops at what only a
// walk with a budget may enter.
func peek(n *yaml.Node, name string) (string, bool) {
	if n.Kind != yaml.MappingNode {
		return "", false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1].Value, n.Content[i+1].Kind == yaml.ScalarNode
		}
	}
	return "", false
}

// resource reads one resource. What it returns counts only if nothing failed.
func (r *reader) resource(root *yaml.Node) *Resource {
	fields, ok := r.fields("", root)
	if !ok {
		return nil
	}
	has := func(name string) bool {
		return slices.ContainsFunc(fields, func(f field) bool { return f.name == name })
	}
	switch {
	case has("kind") || has("apiVersion"):
		return r.kubernetes(root, fields)
	case has("type"):
		return r.universal(root, fields)
	default:
		r.fail("", root, "is no resource: has neither `type` (Universal form) nor `apiVersion` and `kind` (Kubernetes form)")
		return nil
	}
}

func (r *reader) universal(root *yaml.Node, fields []field) *Resource {
	res := &Resource{Form: Universal, Source: r.source}
	var spec []field
	var name, mesh *yaml.Node
	for _, f := range fields {
		p := Path(f.name)
		switch f.name {
		case "type":
			res.Kind = r.kind(p, f.value)
		case "mesh":
			mesh = f.value
			res.Meta.Mesh = r.text(p, f.value)
		case "name":
			name = f.value
			res.Meta.Name = r.text(p, f.value)
		case "labels":
			res.Meta.Labels = r.texts(p, f.value)
		case "creationTime":
			res.Meta.CreationTime = r.time(p, f.value)
		case "modificationTime":
			res.Meta.ModificationTime = r.time(p, f.value)
		case "kri":
		default:
			spec = append(spec, f)
		}
	}
	if name == nil {
		r.fail("name", root, "is missing; every resource has a name")
	}
	r.identify(res, "name", name, mesh)
	if res.Spec = newSpec(res.Kind); res.Spec != nil {
		r.messageFields("", spec, res.Spec.ProtoReflect(), universalFields)
	}
	return res
}

func (r *reader) kubernetes(root *yaml.Node, fields []field) *Resource {
	res := &Resource{Form: Kubernetes, Source: r.source}
	var name, mesh, spec *yaml.Node
	versioned, kinded := false, false
	for _, f := range fields {
		p := Path(f.name)
		switch f.name {
		case "apiVersion":
			versioned = true
			r.constant(p, f.value, apiVersion)
		case "kind":
			kinded = true
			res.Kind = r.kind(p, f.value)
		case "mesh":
			mesh = f.value
			res.Meta.Mesh = r.text(p, f.value)
		case "metadata":
			name = r.metadata(p, f.value, &res.Meta)
		case "spec":
			spec = f.value
		default:
			r.unknown("", f, kubernetesFields)
		}
	}
	if !versioned {
		r.fail("apiVersion", root, "is missing; must be %s", apiVersion)
	}
	if !kinded {
		r.fail("kind", root, "is missing; allowed: %s", kinds())
	}
	if name == nil {
		r.fail("metadata.name", root, "is missing; every resource has a name")
	}
	r.identify(res, "metadata.name", name, mesh)
	if res.Spec = newSpec(res.Kind); res.Spec != nil && spec != nil {
		r.message("spec", spec, res.Spec.ProtoReflect())
	}
	return res
}

// metadata fills meta and returns the node of the name, nil where there is none.
func (r *reader) metadata(p Path, n *yaml.Node, meta *Meta) (name *yaml.Node) {
	fields, _ := r.fields(p, n)
	for _, f := range fields {
		at := p.Field(f.name)
		switch f.name {
		case "name":
			name = f.value
			meta.Name = r.text(at, f.value)
		case "namespace":
			meta.Namespace = r.text(at, f.value)
		case "labels":
			meta.Labels = r.texts(at, f.value)
		case "annotations":
			meta.Annotations = r.texts(at, f.value)
		case "creationTimestamp":
			meta.CreationTime = r.time(at, f.value)
		default:
			if !slices.Contains(serverSetMetadata, f.name) {
				r.unknown(p, f, metadataFields)
			}
		}
	}
	return name
}

// identify settles mesh and name, once the fields around the spec are read;
// the nodes are nil where the document has no such field.
func (r *reader) identify(res *Resource, namePath Path, name, mesh *yaml.Node) {
	switch {
	case res.Kind == KindMesh && res.Meta.Mesh != "":
		r.fail("mesh", mesh, "a Mesh is in no mesh; remove the field")
	case res.Kind != KindMesh && res.Meta.Mesh == "":
		res.Meta.Mesh = DefaultMesh
	}
	if res.Meta.Name == "" {
		if name != nil && isText(deref(name)) {
			r.fail(namePath, name, "is empty; every resource has a name")
		}
	}
}

// object names a resource that may be read in part, or not at all.
func (r *Resource) object() string {
	if r == nil || r.Kind == "" || r.Meta.Name == "" {
		return ""
	}
	return Key{Kind: r.Kind, Mesh: clip(r.Meta.Mesh), Name: clip(r.Meta.Name)}.String()
}

// kind returns "" where there is no such kind.
func (r *reader) kind(p Path, n *yaml.Node) Kind {
	kind := r.text(p, n)
	if newSpec(Kind(kind)) == nil {
		if n = deref(n); isText(n) {
			r.fail(p, n, "unknown %s %q; allowed: %s", p, clip(kind), kinds())
		}
		return ""
	}
	return Kind(kind)
}

func kinds() string {
	return strings.Join([]string{
		string(KindDataplane), string(KindExternalService), string(KindMesh), string(KindTrafficRoute),
	}, ", ")
}

func (r *reader) constant(p Path, n *yaml.Node, want string) {
	if got := deref(n); !isText(got) || got.Value != want {
		r.fail(p, got, "must be %s, %s", want, describe(got))
	}
}

// time reads a time; null, which Kubernetes clients write, is the zero time.
func (r *reader) time(p Path, n *yaml.Node) time.Time {
	n = deref(n)
	if n.Kind == yaml.ScalarNode && n.Tag == tagNull {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, n.Value)
	t = t.UTC()
	// A zone can carry a time over the edge of what can be written again.
	if !isText(n) || err != nil || t.Year() < 0 || t.Year() > 9999 {
		r.fail(p, n, "must be a time such as 2006-01-02T15:04:05Z, %s", describe(n))
		return time.Time{}
	}
	return t
}
