package secure

import (
	"cmp"
	"net/http"
)

// audit logs who has changed what, or tried to, once it is answered.
func (g *Guard) audit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if Needs(r.Method, r.URL.Path) != Admin || r.Method == http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		seen := &answer{ResponseWriter: w}
		defer func() {
			attributes := []any{"method", r.Method, "path", r.URL.Path, "status", cmp.Or(seen.status, http.StatusOK), "from", r.RemoteAddr}
			if name := CallerOf(r.Context()).Name; name != "" {
				attributes = append(attributes, "token", name)
			}
			if seen.status >= http.StatusBadRequest {
				g.log.Warn("a change over the API failed", attributes...)
				return
			}
			g.log.Info("a change over the API", attributes...)
		}()
		next.ServeHTTP(seen, r)
	})
}

// answer remembers its status.
type answer struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
