package rest

import (
	"errors"
	"net/http"
	"strconv"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
)

func (s *server) listMirrors(w http.ResponseWriter, r *http.Request) error {
	return answerNumbered(s, w, r, func(start, size int) ([]status.Mirror, int, error) {
		if s.mirrors == nil {
			return nil, 0, nil
		}
		all, err := s.mirrors(r.Context(), r.PathValue("mesh"))
		return cut(all, start, size), len(all), err
	})
}

func (s *server) listStale(w http.ResponseWriter, r *http.Request) error {
	return answerNumbered(s, w, r, func(start, size int) ([]status.Stale, int, error) {
		if s.stale == nil {
			return nil, 0, nil
		}
		all := s.stale()
		return cut(all, start, size), len(all), nil
	})
}

// cut returns size of all, or less, from start on.
func cut[T any](all []T, start, size int) []T {
	rest := all[min(start, len(all)):]
	return rest[:min(size, len(rest))]
}

func (s *server) inspectMirrors(w http.ResponseWriter, r *http.Request) error {
	return answerNumbered(s, w, r, func(start, size int) ([]status.Mirror, int, error) {
		key := api.Key{Kind: api.KindDataplane, Mesh: r.PathValue("mesh"), Name: r.PathValue("name")}
		if _, ok := s.catalog.Get(key); !ok {
			return nil, 0, &catalog.NotFoundError{Key: key}
		}
		if s.inspect == nil {
			return nil, 0, nil
		}
		mirrors, total, err := s.inspect(r.Context(), key.Mesh, key.Name, start, size)
		if errors.Is(err, generate.ErrNoDataplane) {
			err = &catalog.NotFoundError{Key: key} // the host has not come to it yet
		}
		return mirrors, total, err
	})
}

// answerNumbered answers with the page of items that is asked for, which read
// returns together with how many there are.
func answerNumbered[T any](s *server, w http.ResponseWriter, r *http.Request, read func(start, size int) ([]T, int, error)) error {
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
	items, total, err := read(page.start, page.size)
	if err != nil {
		return err
	}
	next := ""
	if end := page.start + len(items); end < total && len(items) > 0 {
		next = strconv.Itoa(end)
	}
	return writeJSON(w, http.StatusOK, list[T]{Total: total, Items: append([]T{}, items...), Next: nextLink(r, next)})
}
