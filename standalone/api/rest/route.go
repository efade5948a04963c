package rest

import (
	"net/http"
	"slices"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// endpoint answers one method of a path.
type endpoint struct {
	// failure is the title of an error, as Kuma words them: what was not done.
	failure string
	// handle answers, or returns the error to answer with; then it must not
	// have written anything.
	handle func(w http.ResponseWriter, r *http.Request) error
	// needsStore says that it does nothing without one.
	needsStore bool
}

func reads(failure string, handle func(http.ResponseWriter, *http.Request) error) endpoint {
	return endpoint{failure: failure, handle: handle}
}

func stores(failure string, handle func(http.ResponseWriter, *http.Request) error) endpoint {
	return endpoint{failure: failure, handle: handle, needsStore: true}
}

// methods are the endpoints of one path.
type methods map[string]endpoint

// allowed is the value of Allow; without a store nothing can be written.
func (m methods) allowed(readOnly bool) string {
	names := []string{http.MethodOptions}
	for method, e := range m {
		if readOnly && e.needsStore {
			continue
		}
		names = append(names, method)
		if method == http.MethodGet {
			names = append(names, http.MethodHead)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// routes are all paths of the API, as the OpenAPI document writes them.
func (s *server) routes() map[string]methods {
	routes := map[string]methods{
		"/":             {http.MethodGet: reads("Could not retrieve the index", s.getIndex)},
		"/config":       {http.MethodGet: reads("Could not retrieve the configuration", s.getConfig)},
		"/_resources":   {http.MethodGet: reads("Could not retrieve the resource types", s.getResourceTypes)},
		"/policies":     {http.MethodGet: reads("Could not retrieve the policies", s.getPolicies)},
		"/openapi.yaml": {http.MethodGet: reads("Could not retrieve the OpenAPI document", s.getOpenAPI)},

		"/stale":                 {http.MethodGet: reads("Could not retrieve what is stale", s.listStale)},
		"/mirrors":               {http.MethodGet: reads("Could not retrieve the mirrors", s.listMirrors)},
		"/meshes/{mesh}/mirrors": {http.MethodGet: reads("Could not retrieve the mirrors", s.listMirrors)},

		"/meshes/{mesh}/dataplanes/{name}/mirrors": {http.MethodGet: reads("Could not inspect the mirrors", s.inspectMirrors)},

		"/plan":    {http.MethodPost: reads("Could not plan the change", s.plan)},
		"/apply":   {http.MethodPost: stores("Could not apply the change", s.apply)},
		"/backup":  {http.MethodGet: stores("Could not back up the store", s.backup)},
		"/restore": {http.MethodPost: stores("Could not restore the store", s.restore)},
	}
	for _, k := range kinds() {
		list := methods{http.MethodGet: reads("Could not retrieve resources", s.list(k, s.resources))}
		item := methods{
			http.MethodGet:    reads("Could not retrieve a resource", s.get(k)),
			http.MethodPut:    stores("Could not process a resource", s.put(k)),
			http.MethodDelete: stores("Could not delete a resource", s.delete(k)),
		}
		if k.isMesh() {
			routes["/meshes"] = list
			routes["/meshes/{mesh}"] = item
			continue
		}
		routes["/"+k.path] = list
		routes["/meshes/{mesh}/"+k.path] = list
		routes["/meshes/{mesh}/"+k.path+"/{name}"] = item
		if k.Kind == api.KindDataplane {
			overviews := methods{http.MethodGet: reads("Could not retrieve resources", s.list(k, s.overviews))}
			overview := methods{http.MethodGet: reads("Could not retrieve a resource", s.getOverview(k))}
			// The second spelling is that of older clients.
			for _, path := range []string{"dataplanes/_overview", "dataplanes+insights"} {
				routes["/"+path] = overviews
				routes["/meshes/{mesh}/"+path] = overviews
			}
			routes["/meshes/{mesh}/dataplanes/{name}/_overview"] = overview
			routes["/meshes/{mesh}/dataplanes+insights/{name}"] = overview
		}
	}
	return routes
}

// router answers on all routes, and with Kuma's errors on everything else.
func (s *server) router() http.Handler {
	mux := http.NewServeMux()
	for path, methods := range s.routes() {
		if path == "/" {
			path = "/{$}"
		}
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { s.dispatch(w, r, methods) })
	}
	mux.HandleFunc("/", s.notFound)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The mux redirects what is not clean, as a browser would want it;
		// here that is nobody's name. A slash at the end is nothing, as in
		// Kuma.
		if len(r.URL.Path) > 1 && strings.HasSuffix(r.URL.EscapedPath(), "/") {
			asked := r
			r = r.Clone(r.Context())
			defer func() { asked.Pattern = r.Pattern }()
			r.URL.Path = strings.TrimSuffix(r.URL.Path, "/")
			r.URL.RawPath = strings.TrimSuffix(r.URL.RawPath, "/")
		}
		if !clean(r.URL.Path) {
			s.notFound(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *server) dispatch(w http.ResponseWriter, r *http.Request, methods methods) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet // the server leaves the body out
	}
	e, ok := methods[method]
	switch {
	case ok:
		if err := e.handle(w, r); err != nil {
			if problemOf(err).Status == http.StatusMethodNotAllowed {
				w.Header().Set("Allow", methods.allowed(s.readOnly))
			}
			s.fail(w, r, e.failure, err)
		}
	case method == http.MethodOptions:
		w.Header().Set("Allow", methods.allowed(s.readOnly))
		w.WriteHeader(http.StatusNoContent)
	default:
		allowed := methods.allowed(s.readOnly)
		w.Header().Set("Allow", allowed)
		s.fail(w, r, "Method not allowed", newProblem(http.StatusMethodNotAllowed, "%s is not a method of this path; allowed: %s", r.Method, allowed))
	}
}

func (s *server) notFound(w http.ResponseWriter, r *http.Request) {
	s.fail(w, r, "Not found", newProblem(http.StatusNotFound, "There is no such path; /openapi.yaml has those there are"))
}

// clean says whether no segment of the path is empty, "." or "..".
func clean(path string) bool {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	return len(segments) == 1 && segments[0] == "" ||
		!slices.ContainsFunc(segments, func(s string) bool { return s == "" || s == "." || s == ".." })
}
