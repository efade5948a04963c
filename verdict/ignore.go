package verdict

import (
	"fmt"
	"strings"
)

// Ignore has the patterns of what is not compared:
//
//	body.served.at      a field, with all below it
//	body.items[].price  in each element of an array
//	body.*.price        * is one name, ** any number of names
//	header.etag         a header
//	status, size        a kind of difference: any of the Kind constants
//	order body.items    a kind in a field
type Ignore []pattern

type pattern struct {
	kind string
	name []string
}

var kinds = map[string]bool{
	KindStatus: true, KindGRPCStatus: true, KindEnding: true, KindSize: true, KindMissing: true, KindAdded: true,
	KindType: true, KindValue: true, KindNumber: true, KindOrder: true, KindBytes: true,
}

// ParseIgnore reads patterns.
func ParseIgnore(patterns []string) (Ignore, error) {
	var out Ignore
	var wrong []string
	for _, p := range patterns {
		kind, name, _ := strings.Cut(strings.TrimSpace(p), " ")
		if !kinds[kind] {
			kind, name = "", strings.TrimSpace(p)
		}
		if kind == "" && name != "body" && !strings.HasPrefix(name, "body.") && !strings.HasPrefix(name, "body[") && !strings.HasPrefix(name, "header.") {
			wrong = append(wrong, fmt.Sprintf("%q", p))
			continue
		}
		out = append(out, pattern{kind, split(name)})
	}
	if wrong != nil {
		return nil, fmt.Errorf("ignore: %s: want body.FIELD, header.NAME or a kind of difference", strings.Join(wrong, ", "))
	}
	return out, nil
}

// split parts a field at its dots; the index of an array is a part as well.
func split(name string) []string {
	if name == "" {
		return nil
	}
	return strings.Split(strings.ReplaceAll(name, "[]", ".[]"), ".")
}

// Match says whether a difference is ignored.
func (ig Ignore) Match(f Field) bool {
	if len(ig) == 0 {
		return false
	}
	name, _, _ := strings.Cut(f.Name, " ")
	parts := split(name)
	for _, p := range ig {
		if (p.kind == "" || p.kind == f.Kind) && (p.name == nil || match(p.name, parts)) {
			return true
		}
	}
	return false
}

func match(pattern, name []string) bool {
	for i, p := range pattern {
		if p == "**" {
			for k := i; k <= len(name); k++ {
				if match(pattern[i+1:], name[k:]) {
					return true
				}
			}
			return false
		}
		if i >= len(name) || p != name[i] && (p != "*" || name[i] == "[]") {
			return false
		}
	}
	return true
}
