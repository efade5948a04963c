package verdict

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
)

const (
	maxDepth  = 64
	maxLeaves = 20_000
)

// CompareBodies returns the fields in which the bodies of two answers differ,
// each once. Whole bodies that are JSON are compared by path, others by bytes,
// those that are truncated by size and by what is there of both.
func CompareBodies(p, o *Answer) []Field {
	a, b := p.Body, o.Body
	if a.Total == b.Total && bytes.Equal(a.Bytes, b.Bytes) {
		return nil
	}
	if a.Total > int64(len(a.Bytes)) || b.Total > int64(len(b.Bytes)) {
		var found []Field
		if a.Total != b.Total {
			found = append(found, Field{KindSize, "body.size"})
		}
		if n := min(len(a.Bytes), len(b.Bytes)); !bytes.Equal(a.Bytes[:n], b.Bytes[:n]) {
			found = append(found, Field{KindBytes, "body"})
		}
		return found
	}
	if v, ok := parseJSON(a.Bytes); ok {
		if w, ok := parseJSON(b.Bytes); ok {
			d := differ{found: map[Field]bool{}}
			d.compare("body", v, w, 0)
			return d.fields()
		}
	}
	return []Field{{KindBytes, "body"}}
}

// parseJSON reads a single JSON value, with numbers as text.
func parseJSON(text []byte) (any, bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	_, err := d.Token()
	return v, err == io.EOF
}

// differ collects the differences of two JSON values.
type differ struct {
	found  map[Field]bool
	leaves int
}

func (d *differ) fields() []Field {
	out := make([]Field, 0, len(d.found))
	for f := range d.found {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Field) int { return strings.Compare(a.String(), b.String()) })
	return out
}

func (d *differ) add(kind, name string) { d.found[Field{kind, clip(name)}] = true }

func (d *differ) compare(name string, a, b any, depth int) {
	if d.leaves++; depth > maxDepth || d.leaves > maxLeaves {
		// Beyond the limits values are compared as a whole.
		if text(a) != text(b) {
			d.add(KindBytes, name)
		}
		return
	}
	if from, to := typeOf(a), typeOf(b); from != to {
		d.add(KindType, name+" "+from+"→"+to)
		return
	}
	switch a := a.(type) {
	case map[string]any:
		b := b.(map[string]any)
		for k, v := range a {
			if w, ok := b[k]; ok {
				d.compare(name+"."+fieldName(k), v, w, depth+1)
			} else {
				d.add(KindMissing, name+"."+fieldName(k))
			}
		}
		for k := range b {
			if _, ok := a[k]; !ok {
				d.add(KindAdded, name+"."+fieldName(k))
			}
		}
	case []any:
		d.array(name, a, b.([]any), depth)
	case json.Number:
		b := b.(json.Number)
		if a == b {
			return
		}
		if equalNumbers(a, b) {
			d.add(KindNumber, name)
		} else {
			d.add(KindValue, name)
		}
	default:
		if a != b {
			d.add(KindValue, name)
		}
	}
}

// array compares the elements in their order, unless only the order differs.
func (d *differ) array(name string, a, b []any, depth int) {
	if len(a) == len(b) && len(a) > 1 {
		as, bs := make([]string, len(a)), make([]string, len(b))
		for i := range a {
			as[i], bs[i] = text(a[i]), text(b[i])
		}
		if slices.Equal(as, bs) {
			return
		}
		slices.Sort(as)
		slices.Sort(bs)
		if slices.Equal(as, bs) {
			d.add(KindOrder, name)
			return
		}
	}
	for i := range min(len(a), len(b)) {
		d.compare(name+"[]", a[i], b[i], depth+1)
	}
	if len(a) > len(b) {
		d.add(KindMissing, name+"[]")
	} else if len(a) < len(b) {
		d.add(KindAdded, name+"[]")
	}
}

// text is the canonical form of a value: keys are sorted.
func text(v any) string {
	t, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(t)
}

func typeOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case json.Number:
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

// equalNumbers compares values. Numbers that no float64 has exactly are equal
// only as text.
func equalNumbers(a, b json.Number) bool {
	const exact = 1 << 53
	x, err := strconv.ParseFloat(string(a), 64)
	y, err2 := strconv.ParseFloat(string(b), 64)
	return err == nil && err2 == nil && x == y && x < exact && x > -exact && significant(a) <= 15 && significant(b) <= 15
}

// significant is a bound for the digits of a number before its exponent.
func significant(n json.Number) int {
	digits, _, _ := strings.Cut(strings.ToLower(string(n)), "e")
	return len(strings.TrimLeft(strings.Replace(strings.TrimLeft(digits, "-"), ".", "", 1), "0"))
}

// fieldName is the name of a member; one that is data is a *.
func fieldName(k string) string {
	if k == "" || isData(k) || strings.ContainsAny(k, ". \t\n→[]*") {
		return "*"
	}
	return k
}
