package v1alpha1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readJSON reads a stream of JSON values that begins on the given line into the
// nodes YAML would give.
func readJSON(data []byte, line int) ([]*yaml.Node, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	j := &jsonReader{data: data, decoder: decoder, line: line}
	var roots []*yaml.Node
	for {
		root, err := j.value(0)
		if errors.Is(err, io.EOF) {
			return roots, nil
		}
		if err != nil {
			j.advance()
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = errors.New("ends in the middle of a value")
			}
			return roots, fmt.Errorf("not JSON: line %d: %w", j.line, err)
		}
		roots = append(roots, root)
	}
}

// maxJSONDepth is that of the YAML parser.
const maxJSONDepth = 10_000

type jsonReader struct {
	data    []byte
	decoder *json.Decoder
	line    int
	offset  int
}

// advance moves line to where the decoder is.
func (j *jsonReader) advance() {
	to := int(j.decoder.InputOffset())
	j.line += bytes.Count(j.data[j.offset:to], []byte("\n"))
	j.offset = to
}

// value reads one value; its error is io.EOF only before any token of it.
func (j *jsonReader) value(depth int) (*yaml.Node, error) {
	token, err := j.decoder.Token()
	if err != nil {
		return nil, err
	}
	j.advance()
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: j.line}
	switch t := token.(type) {
	case json.Delim:
		if depth == maxJSONDepth {
			return nil, fmt.Errorf("nested deeper than %d levels", maxJSONDepth)
		}
		n.Kind, n.Tag = yaml.MappingNode, tagMap
		if t == '[' {
			n.Kind, n.Tag = yaml.SequenceNode, tagList
		}
		// More is false at the end of the input as well; the token that then
		// has to close the value tells.
		for j.decoder.More() {
			child, err := j.value(depth + 1)
			if err != nil {
				return nil, noEOF(err)
			}
			n.Content = append(n.Content, child)
		}
		if _, err := j.decoder.Token(); err != nil {
			return nil, noEOF(err)
		}
	case string:
		n.Tag, n.Value, n.Style = tagText, t, yaml.DoubleQuotedStyle
	case json.Number:
		n.Tag, n.Value = tagInt, t.String()
		if strings.ContainsAny(n.Value, ".eE") {
			n.Tag = tagFloat
		}
	case bool:
		n.Tag, n.Value = tagBool, fmt.Sprint(t)
	default:
		n.Tag = tagNull
	}
	return n, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
