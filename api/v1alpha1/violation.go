package v1alpha1

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Violation is one thing that is wrong with a resource, or that its author
// should know.
type Violation struct {
	// Source is where the resource was read, as in Resource.Source; may be
	// empty.
	Source string
	// Object names the resource, as Key.String does; may be empty where it
	// could not be read that far.
	Object string
	// Path is the field, in the words of the document, with the index of a
	// list in brackets: conf.http[0].mirror.percentage. Empty for the whole
	// resource.
	Path string
	// Message says what is wrong and what is allowed.
	Message string
}

// Violation says something of the field at a path of the resource.
func (r *Resource) Violation(at Path, format string, args ...any) Violation {
	return Violation{
		Source:  r.Source,
		Object:  r.Key().String(),
		Path:    string(at),
		Message: fmt.Sprintf(format, args...),
	}
}

// String gives "source: object: path: message" without the parts that are empty.
func (v Violation) String() string {
	parts := make([]string, 0, 4)
	for _, p := range []string{v.Source, v.Object, v.Path, v.Message} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ": ")
}

// Violations are all that is wrong with one or several resources. As an error
// it prints one line each.
type Violations []Violation

// Error implements error.
func (vs Violations) Error() string {
	lines := make([]string, len(vs))
	for i, v := range vs {
		lines[i] = v.String()
	}
	return strings.Join(lines, "\n")
}

// Is tells that an input has nothing in it, and that nothing else is wrong.
func (vs Violations) Is(target error) bool {
	return target == ErrNoResources && len(vs) == 1 && vs[0].Message == ErrNoResources.Error()
}

// OrNil returns the violations as an error, or nil where there are none.
func (vs Violations) OrNil() error {
	if len(vs) == 0 {
		return nil
	}
	return vs
}

// Sorted returns the violations ordered by source, object and path; those of
// one path keep their order.
func (vs Violations) Sorted() Violations {
	sorted := slices.Clone(vs)
	slices.SortStableFunc(sorted, func(a, b Violation) int {
		if c := strings.Compare(a.Source, b.Source); c != 0 {
			return c
		}
		if c := strings.Compare(a.Object, b.Object); c != 0 {
			return c
		}
		return strings.Compare(a.Path, b.Path)
	})
	return sorted
}

// Path builds the path of a field for a Violation. The zero value is the whole
// resource; a Path is never changed by its methods.
type Path string

// Field goes to a field of a message, or with a path of several steps further
// down; with an empty one it stays.
func (p Path) Field(name string) Path {
	switch {
	case name == "":
		return p
	case p == "":
		return Path(name)
	default:
		return p + "." + Path(name)
	}
}

// Index goes to the entry i, from 0, of a list.
func (p Path) Index(i int) Path {
	return p + Path(fmt.Sprintf("[%d]", i))
}

// Key goes to the entry of a map.
func (p Path) Key(key string) Path {
	return p + Path("["+strconv.Quote(key)+"]")
}

func quote(s string) string { return strconv.Quote(s) }
