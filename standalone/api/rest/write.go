package rest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
)

// putAnswer is the body of a successful PUT, as Kuma writes it.
type putAnswer struct {
	Warnings []string `json:"warnings,omitempty"`
}

func (s *server) put(k kind) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		key := k.key(r)
		if !k.isMesh() {
			if err := s.requireMesh(r); err != nil {
				return err
			}
		}
		memory := s.allowance()
		defer memory.free()
		resource, err := readResource(w, r, key, memory)
		if err != nil {
			return err
		}
		when, err := conditionOf(r)
		if err != nil {
			return err
		}
		before, _ := s.catalog.Get(key)
		entry, created, err := s.catalog.Put(r.Context(), resource, when)
		if err != nil {
			return aboutOne(err, key)
		}
		status := http.StatusOK
		if created {
			status = http.StatusCreated
		}
		w.Header().Set("ETag", entry.ETag)
		return writeJSON(w, status, putAnswer{Warnings: lostMirrors(r, before.Resource, resource)})
	}
}

func (s *server) delete(k kind) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if !k.isMesh() {
			if err := s.requireMesh(r); err != nil {
				return err
			}
		}
		when, err := conditionOf(r)
		if err != nil {
			return err
		}
		key := k.key(r)
		if err := s.catalog.Delete(r.Context(), key, when); err != nil {
			return aboutOne(err, key)
		}
		return writeJSON(w, http.StatusOK, struct{}{})
	}
}

// readResource reads the one resource of a PUT, which has to be that of the URL.
func readResource(w http.ResponseWriter, r *http.Request, key api.Key, memory *allowance) (*api.Resource, error) {
	body, err := memory.readBody(w, r)
	if err != nil {
		return nil, err
	}
	resources, err := api.Parse("body", body)
	if err != nil {
		return nil, aboutOne(err, key)
	}
	if len(resources) != 1 {
		return nil, newProblem(http.StatusBadRequest, "The body has %d resources; a PUT takes the one that the URL names, POST /apply takes several", len(resources))
	}
	resource := resources[0]
	p := newProblem(http.StatusBadRequest, "Resource is not valid")
	same := func(field, url, body string) {
		if url != body {
			p.InvalidParameters = append(p.InvalidParameters, invalidParameter{
				Field:  field,
				Reason: fmt.Sprintf("%s from the URL has to be the same as in body: %q, not %q", field, url, body),
			})
		}
	}
	same("type", string(key.Kind), string(resource.Kind))
	if resource.Kind == key.Kind { // else they have no mesh to compare
		same("mesh", key.Mesh, resource.Meta.Mesh)
	}
	same("name", key.Name, resource.Meta.Name)
	if len(p.InvalidParameters) > 0 {
		return nil, p
	}
	return resource, nil
}

// aboutOne makes an error that of a request about one resource, which need not
// be named again.
func aboutOne(err error, key api.Key) error {
	var violations api.Violations
	var invalid *catalog.InvalidError
	switch {
	case errors.As(err, &invalid):
		return invalidProblem(invalid.Violations, key.String())
	case errors.As(err, &violations):
		return invalidProblem(violations, key.String())
	default:
		return err
	}
}

// conditionOf reads If-Match and If-None-Match.
func conditionOf(r *http.Request) (when catalog.If, err error) {
	if when.Match, err = entityTags(r, "If-Match"); err == nil {
		when.NoneMatch, err = entityTags(r, "If-None-Match")
	}
	return when, err
}

// entityTags joins the values of a header. An empty one is an error: a client
// whose variable was not set would overwrite what it meant to protect.
func entityTags(r *http.Request, header string) (string, error) {
	values, given := r.Header[header]
	tags := strings.Join(values, ", ")
	if given && strings.Trim(tags, " \t,") == "" {
		return "", newProblem(http.StatusBadRequest, `%s is empty; it must be *, or entity tags as "0123456789abcdef"`, header)
	}
	return tags, nil
}
