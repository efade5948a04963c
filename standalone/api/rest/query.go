package rest

import (
	"net/http"
	"slices"
	"strings"
)

// parameter reads a parameter of the query that can be given once. It is empty
// where it is not given.
func parameter(r *http.Request, name string) (string, error) {
	values := r.URL.Query()[name]
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	default:
		return "", badParameter(name, "is given %d times", len(values))
	}
}

// choice reads a parameter that takes one of several values.
func choice(r *http.Request, name string, choices ...string) (string, error) {
	value, err := parameter(r, name)
	if err == nil && value != "" && !slices.Contains(choices, value) {
		p := badParameter(name, "must be one of %s", strings.Join(choices, ", "))
		p.InvalidParameters[0].Choices = choices
		return "", p
	}
	return value, err
}
