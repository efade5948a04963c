package rest

import (
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
)

// Kuma's sizes of a page.
const (
	defaultPageSize = 100
	maxPageSize     = 1000

	maxStart = 999_999_999
)

// page is the part of a list that a request asks for: size entries from the
// one at start, or, where there is an after, from the one that follows it.
type page struct {
	size  int
	start int
	after *api.Key
}

// list is the body of a page, as Kuma writes it.
type list[T any] struct {
	Total int     `json:"total"`
	Items []T     `json:"items"`
	Next  *string `json:"next"`
	// Files are those that items come from, by MESH/NAME; Kuma has none.
	Files map[string]string `json:"files,omitempty"`
}

// pageOf reads `size` and `offset`. An offset out of `next` names the last
// entry of the page before, so that nothing is left out or given twice when the
// list changes in between; a number of entries to leave out, as Kuma has it, is
// taken too.
func pageOf(r *http.Request) (page, error) {
	p := page{size: defaultPageSize}
	size, err := parameter(r, "size")
	if err != nil {
		return page{}, err
	}
	if size != "" {
		n, err := strconv.Atoi(size)
		if err != nil || n < 1 || n > maxPageSize {
			return page{}, badParameter("size", "must be a whole number from 1 to %d", maxPageSize)
		}
		p.size = n
	}
	offset, err := parameter(r, "offset")
	if err != nil {
		return page{}, err
	}
	if offset != "" {
		if mesh, name, ok := strings.Cut(offset, "/"); ok {
			p.after = &api.Key{Mesh: mesh, Name: name}
			return p, nil
		}
		n, err := strconv.ParseUint(offset, 10, 31)
		if err != nil || n > maxStart {
			return page{}, badParameter("offset", "must be the offset of a next link, or a number of entries to leave out from 0 to %d", maxStart)
		}
		p.start = int(n)
	}
	return p, nil
}

// cut returns the entries of the page, and the offset of the next one; empty
// after the last. entries are ordered by key.
func (p page) cut(entries []catalog.Entry) (items []catalog.Entry, next string) {
	start := min(p.start, len(entries))
	if p.after != nil {
		start = sort.Search(len(entries), func(i int) bool { return less(*p.after, entries[i].Resource.Key()) })
	}
	items = entries[start:min(start+p.size, len(entries))]
	if start+len(items) < len(entries) {
		last := items[len(items)-1].Resource.Key()
		next = last.Mesh + "/" + last.Name
	}
	return items, next
}

func less(a, b api.Key) bool {
	if a.Mesh != b.Mesh {
		return a.Mesh < b.Mesh
	}
	return a.Name < b.Name
}

// nextLink is the URL of the page at the offset; nil where there is none.
func nextLink(r *http.Request, offset string) *string {
	if offset == "" {
		return nil
	}
	query := r.URL.Query()
	query.Set("offset", offset)
	link := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: query.Encode()}
	if r.TLS != nil {
		link.Scheme = "https"
	}
	text := link.String()
	return &text
}
