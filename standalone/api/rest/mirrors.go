package rest

import (
	"errors"
	"net/http"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
)

func (s *server) listMirrors(w http.ResponseWriter, r *http.Request) error {
	return s.answerMirrors(w, r, func() ([]status.Mirror, error) {
		if s.mirrors == nil {
			return nil, nil
		}
		return s.mirrors(r.Context(), r.PathValue("mesh"))
	})
}

func (s *server) inspectMirrors(w http.ResponseWriter, r *http.Request) error {
	return s.answerMirrors(w, r, func() ([]status.Mirror, error) {
		key := api.Key{Kind: api.KindDataplane, Mesh: r.PathValue("mesh"), Name: r.PathValue("name")}
		if _, ok := s.catalog.Get(key); !ok {
			return nil, &catalog.NotFoundError{Key: key}
		}
		if s.inspect == nil {
			return nil, nil
		}
		mirrors, err := s.inspect(r.Context(), key.Mesh, key.Name)
		if errors.Is(err, generate.ErrNoDataplane) {
			err = &catalog.NotFoundError{Key: key} // the host has not come to it yet
		}
		return mirrors, err
	})
}

// answerMirrors answers with the page of mirrors that is asked for.
func (s *server) answerMirrors(w http.ResponseWriter, r *http.Request, read func() ([]status.Mirror, error)) error {
	page, err := pageOf(r)
	if err != nil {
		return err
	}
	if page.after != nil {
		return badParameter("offset", "must be the offset of a next link of this list, a number")
	}
	if err := s.requireMesh(r); err != nil {
		return err
	}
	mirrors, err := read()
	if err != nil {
		return err
	}
	shown, next := cutByNumber(page, mirrors)
	return writeJSON(w, http.StatusOK, list[status.Mirror]{Total: len(mirrors), Items: shown, Next: nextLink(r, next)})
}
