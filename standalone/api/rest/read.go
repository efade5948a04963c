package rest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
)

// view turns entries into what an answer says of them.
type view func(r *http.Request, entries []catalog.Entry) ([]json.RawMessage, error)

// requireMesh makes a mesh that is not there an error, as everything in it.
func (s *server) requireMesh(r *http.Request) error {
	name := r.PathValue("mesh")
	if name == "" { // a list over all of them
		return nil
	}
	key := api.Key{Kind: api.KindMesh, Name: name}
	if _, ok := s.catalog.Get(key); !ok {
		p := notFound(key)
		p.Title = "Failed to retrieve Mesh"
		return p
	}
	return nil
}

func (s *server) list(k kind, view view) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		page, err := pageOf(r)
		if err != nil {
			return err
		}
		keep, err := filterOf(k, r)
		if err != nil {
			return err
		}
		mesh := ""
		if !k.isMesh() {
			if err := s.requireMesh(r); err != nil {
				return err
			}
			mesh = r.PathValue("mesh")
		}
		var entries []catalog.Entry
		for _, e := range s.catalog.List(k.Kind, mesh) {
			if keep(e.Resource) {
				entries = append(entries, e)
			}
		}
		shown, next := page.cut(entries)
		items, err := view(r, shown)
		if err != nil {
			return err
		}
		body := list[json.RawMessage]{Total: len(entries), Items: items, Next: nextLink(r, next), Files: map[string]string{}}
		for _, e := range shown {
			if key := e.Resource.Key(); e.File != "" {
				body.Files[key.Mesh+"/"+key.Name] = e.File
			}
		}
		return writeJSON(w, http.StatusOK, body)
	}
}

func (s *server) get(k kind) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if !k.isMesh() {
			if err := s.requireMesh(r); err != nil {
				return err
			}
		}
		entry, ok := s.catalog.Get(k.key(r))
		if !ok {
			return &catalog.NotFoundError{Key: k.key(r)}
		}
		format, err := choice(r, "format", "universal", "kubernetes", "k8s")
		if err != nil {
			return err
		}
		form := api.Universal
		if format == "kubernetes" || format == "k8s" {
			form = api.Kubernetes
		}
		mode, err := mirrorMode(r)
		if err != nil {
			return err
		}
		resource, err := s.shown(entry.Resource, mode)
		if err != nil {
			return err
		}
		body, err := encode(resource, form)
		if err != nil {
			return err
		}
		w.Header().Set("ETag", entry.ETag)
		if entry.File != "" {
			w.Header().Set("Kuma-Mirror-File", (&url.URL{Path: entry.File}).EscapedPath())
		}
		if notModified(r, entry.ETag) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		return writeJSON(w, http.StatusOK, body)
	}
}

// resources is the view of what was written.
func (s *server) resources(r *http.Request, entries []catalog.Entry) ([]json.RawMessage, error) {
	mode, err := mirrorMode(r)
	if err != nil {
		return nil, err
	}
	items := make([]json.RawMessage, len(entries))
	for i, e := range entries {
		resource, err := s.shown(e.Resource, mode)
		if err != nil {
			return nil, err
		}
		if items[i], err = encode(resource, api.Universal); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// encode writes a resource in a form, whatever it was written in itself.
func encode(r *api.Resource, form api.Form) (json.RawMessage, error) {
	shown := *r
	shown.Form = form
	return api.EncodeJSON(&shown)
}

// notModified says whether the client has the representation already.
func notModified(r *http.Request, etag string) bool {
	return catalog.Matches(strings.Join(r.Header.Values("If-None-Match"), ", "), etag, true)
}
