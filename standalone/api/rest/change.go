package rest

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/plan"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
)

// change is what POST /plan and POST /apply ask for: the documents of the body
// are put, what `delete` names is deleted.
//
// With `delete=body` the documents are deleted instead, of which only kind, mesh
// and name count then: a URL has no room for many names.
type change struct {
	puts    []*api.Resource
	deletes []api.Key
}

func changeOf(w http.ResponseWriter, r *http.Request, memory *allowance) (change, error) {
	var c change
	for _, header := range []string{"If-Match", "If-None-Match"} {
		if _, given := r.Header[header]; given {
			return change{}, newProblem(http.StatusBadRequest, "%s holds for one resource, as a PUT or DELETE of its own path", header)
		}
	}
	deleteBody := false
	for _, text := range r.URL.Query()["delete"] {
		if text == "body" {
			deleteBody = true
			continue
		}
		key, ok := parseKey(text)
		if !ok {
			return change{}, badParameter("delete", "%q must be KIND/MESH/NAME, or Mesh/NAME, with a kind of %s; or body", text, strings.Join(kindNames(), ", "))
		}
		c.deletes = append(c.deletes, key)
	}
	body, err := memory.readBody(w, r)
	if err != nil || len(body) == 0 && len(c.deletes) > 0 {
		return c, err
	}
	documents, err := api.Parse("body", body)
	if !deleteBody {
		c.puts = documents
		return c, err
	}
	for _, d := range documents {
		c.deletes = append(c.deletes, d.Key())
	}
	return c, err
}

// textOf writes KIND/MESH/NAME; a Mesh is in no mesh.
func textOf(key api.Key) string {
	if key.Kind == api.KindMesh {
		return string(key.Kind) + "/" + key.Name
	}
	return string(key.Kind) + "/" + key.Mesh + "/" + key.Name
}

// parseKey is the inverse of textOf.
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
	memory := s.allowance()
	defer memory.free()
	c, err := changeOf(w, r, memory)
	if err != nil {
		return err
	}
	free, err := s.plans.take("Two plans are being made, which is as many as can be at once; try again in a second")
	if err != nil {
		return err
	}
	defer free()
	planned, err := plan.For(r.Context(), s.catalog, c.puts, c.deletes)
	if err != nil {
		return aboutSeveral(err)
	}
	return writeJSON(w, http.StatusOK, planned)
}

func (s *server) apply(w http.ResponseWriter, r *http.Request) error {
	memory := s.allowance()
	defer memory.free()
	c, err := changeOf(w, r, memory)
	if err != nil {
		return err
	}
	applied, err := s.catalog.Change(r.Context(), c.puts, c.deletes)
	if err != nil {
		return aboutSeveral(err)
	}
	return writeJSON(w, http.StatusOK, plan.ResourcesOf(applied))
}

// aboutSeveral makes an error that of a request about several resources, where
// it has to be said which of them is not there.
func aboutSeveral(err error) error {
	if missing := (*catalog.NotFoundError)(nil); errors.As(err, &missing) {
		p := notFound(missing.Key)
		p.Detail = missing.Error()
		return p
	}
	return err
}
