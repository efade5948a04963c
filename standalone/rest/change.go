package rest

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/catalog"
	"github.com/kuma-mirror/kuma-mirror/standalone/plan"
)

// change is what POST /plan and POST /apply ask for: the documents of the body
// are put, what `delete` names is deleted.
type change struct {
	puts    []*api.Resource
	deletes []api.Key
}

func changeOf(w http.ResponseWriter, r *http.Request) (change, error) {
	var c change
	for _, text := range r.URL.Query()["delete"] {
		key, ok := parseKey(text)
		if !ok {
			return change{}, badParameter("delete", "%q must be KIND/MESH/NAME, or Mesh/NAME, with a kind of %s", text, strings.Join(kindNames(), ", "))
		}
		c.deletes = append(c.deletes, key)
	}
	body, err := readBody(w, r)
	if err != nil || len(body) == 0 && len(c.deletes) > 0 {
		return c, err
	}
	c.puts, err = api.Parse("body", body)
	return c, err
}

// parseKey reads KIND/MESH/NAME; a Mesh is in no mesh.
func parseKey(text string) (api.Key, bool) {
	parts := strings.Split(text, "/")
	key := api.Key{Kind: api.Kind(parts[0]), Name: parts[len(parts)-1]}
	at := slices.IndexFunc(kinds(), func(k kind) bool { return k.Kind == key.Kind })
	if at < 0 || key.Name == "" {
		return api.Key{}, false
	}
	if kinds()[at].isMesh() {
		return key, len(parts) == 2
	}
	if len(parts) != 3 || parts[1] == "" {
		return api.Key{}, false
	}
	key.Mesh = parts[1]
	return key, true
}

func kindNames() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, string(k.Kind))
	}
	return names
}

func (s *server) plan(w http.ResponseWriter, r *http.Request) error {
	c, err := changeOf(w, r)
	if err != nil {
		return err
	}
	planned, err := plan.For(r.Context(), s.catalog, c.puts, c.deletes)
	if err != nil {
		return aboutSeveral(err)
	}
	return writeJSON(w, http.StatusOK, planned)
}

func (s *server) apply(w http.ResponseWriter, r *http.Request) error {
	c, err := changeOf(w, r)
	if err != nil {
		return err
	}
	applied, err := s.catalog.Change(r.Context(), c.puts, c.deletes, false)
	if err != nil {
		return aboutSeveral(err)
	}
	body := make([]plan.Resource, len(applied))
	for i, a := range applied {
		key := a.Resource.Key()
		body[i] = plan.Resource{Kind: key.Kind, Mesh: key.Mesh, Name: key.Name, Result: a.Result}
	}
	return writeJSON(w, http.StatusOK, body)
}

// aboutSeveral makes an error that of a request about several resources, where
// it has to be said which of them is not there.
func aboutSeveral(err error) error {
	if errors.Is(err, catalog.ErrNotFound) {
		return newProblem(http.StatusNotFound, "%s", err)
	}
	return err
}
