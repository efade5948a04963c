package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	goyaml "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// document is what a file holds between two lines of dashes.
type document struct {
	source string
	// text as it is written, with its line of dashes if it has one.
	text []byte
	// line on which text begins, from 1.
	line int
	// holds is one element for each value in text: a single one, unless it is
	// a stream of JSON or has dots between documents. nil where it is neither
	// YAML nor JSON.
	holds []header
	// resources are what a document with TrafficRoutes has become; changed says
	// that they take the place of text.
	resources []*api.Resource
	changed   bool
}

// header is what tells apart what a document holds.
type header struct {
	Type, Kind string
	Items      []struct{ Type, Kind string }
	// Total is in lists of Kuma, which have no kind.
	Total *int
}

// conversion gives what takes the place of a resource, the resource itself where
// nothing does, and what is wrong with it.
type conversion func(*api.Resource) (*api.Resource, api.Violations)

// rewrite reads the documents of the paths and lets convert change each
// TrafficRoute. Documents that have none stay as they are written, whatever it
// is: Kuma has more kinds and fields than this program knows. So do those that
// convert does not change.
//
// The violations are all there are, of reading and of converting; the documents
// are those that could be read. The error is that of ctx.
func rewrite(ctx context.Context, paths []string, stdin io.Reader, convert conversion) ([]*document, api.Violations, error) {
	var documents []*document
	var violations api.Violations
	for input, err := range api.Inputs(ctx, paths, stdin) {
		if err != nil {
			violations = append(violations, violationsOf(err)...)
			continue
		}
		for _, d := range documentsOf(input) {
			found, err := d.convert(convert)
			violations = append(violations, found...)
			if err != nil {
				violations = append(violations, violationsOf(err)...)
				continue
			}
			documents = append(documents, d)
		}
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	return documents, violations, nil
}

// dashes matches the line that begins a YAML document.
var dashes = regexp.MustCompile(`(?m)^---([ \t].*)?\r?$`)

// documentsOf takes an input apart, without what holds nothing but comments.
func documentsOf(input api.Input) []*document {
	data := bytes.TrimPrefix(input.Data, []byte("\uFEFF"))
	var documents []*document
	from, line := 0, 1
	for _, to := range append(dashes.FindAllIndex(data, -1), []int{len(data)}) {
		d := &document{source: input.Source, text: data[from:to[0]], line: line}
		from, line = to[0], line+bytes.Count(d.text, []byte("\n"))
		var err error
		if d.holds, err = headersOf(d.text); err != nil || len(d.holds) > 0 {
			documents = append(documents, d)
		}
	}
	if len(documents) > 1 {
		for i, d := range documents {
			d.source = fmt.Sprintf("%s#%d", input.Source, i+1)
		}
	}
	return documents
}

// headersOf returns the headers of all values in a text that are not null.
func headersOf(text []byte) ([]header, error) {
	// YAML refuses some of JSON.
	headers, err := decodeHeaders(json.NewDecoder(bytes.NewReader(text)))
	if err != nil {
		headers, err = decodeHeaders(goyaml.NewDecoder(bytes.NewReader(text)))
	}
	return headers, err
}

func decodeHeaders(decoder interface{ Decode(any) error }) ([]header, error) {
	var headers []header
	for {
		var h *header
		switch err := decoder.Decode(&h); {
		case errors.Is(err, io.EOF):
			return headers, nil
		case err != nil:
			return nil, err
		case h != nil:
			headers = append(headers, *h)
		}
	}
}

// isList reports whether it is one of Kubernetes or of Kuma.
func (h header) isList() bool {
	return h.Kind == "List" || h.Type == "" && h.Kind == "" && h.Total != nil
}

// isOther reports whether there is certainly no TrafficRoute: something of
// another kind, or a list of such.
func (h header) isOther() bool {
	const kind = string(api.KindTrafficRoute)
	if h.isList() {
		return !slices.ContainsFunc(h.Items, func(item struct{ Type, Kind string }) bool {
			return item.Type == kind || item.Kind == kind
		})
	}
	return h.Type != kind && h.Kind != kind && h.Type+h.Kind != ""
}

// convert replaces what a document holds, if it holds TrafficRoutes.
func (d *document) convert(convert conversion) (api.Violations, error) {
	if len(d.holds) == 1 && d.holds[0].isOther() {
		return nil, nil
	}
	// The lines before it make those of messages right.
	resources, err := api.Parse(d.source, append(bytes.Repeat([]byte("\n"), d.line-1), d.text...))
	if err != nil {
		return nil, err
	}
	var violations api.Violations
	d.changed = len(d.holds) != 1 || d.holds[0].isList() // which become documents
	for _, r := range resources {
		converted, found := convert(r)
		violations = append(violations, found...)
		d.resources = append(d.resources, converted)
		d.changed = d.changed || converted != r
	}
	return violations, nil
}

// writeDocuments writes YAML documents, or JSON values one after the other.
func writeDocuments(w io.Writer, format string, documents []*document) error {
	var out bytes.Buffer
	for _, d := range documents {
		var err error
		if format == "json" {
			err = d.writeJSON(&out)
		} else {
			err = d.writeYAML(&out)
		}
		if err != nil {
			return err
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

func (d *document) writeYAML(out *bytes.Buffer) error {
	text := d.text
	if d.changed {
		var err error
		if text, err = api.MarshalYAML(d.resources...); err != nil {
			return err
		}
	}
	if out.Len() > 0 && !bytes.HasPrefix(text, []byte("---")) {
		out.WriteString("---\n")
	}
	out.Write(text)
	if !bytes.HasSuffix(text, []byte("\n")) {
		out.WriteByte('\n')
	}
	return nil
}

func (d *document) writeJSON(out *bytes.Buffer) error {
	var values [][]byte
	for _, r := range d.resources {
		value, err := api.EncodeJSON(r)
		if err != nil {
			return err
		}
		values = append(values, value)
	}
	if d.resources == nil {
		value := d.text
		if !json.Valid(value) {
			var err error
			if value, err = yaml.YAMLToJSON(value); err != nil {
				return fmt.Errorf("%s: %w", d.source, err)
			}
		}
		values = [][]byte{value}
	}
	for _, value := range values {
		if err := json.Indent(out, bytes.TrimSpace(value), "", "  "); err != nil {
			return err
		}
		out.WriteByte('\n')
	}
	return nil
}
