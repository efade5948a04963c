package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/pprof"
	runtime "runtime/pprof"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/secure"
)

// apiRoutes are what the API's server answers.
type apiRoutes struct {
	// rest answers all that is not named here.
	rest http.Handler
	// metrics answers /metrics.
	metrics http.Handler
	// gui answers /gui and all below.
	gui http.Handler
	// level is that of the log.
	level *slog.LevelVar
	log   *slog.Logger
	ready *atomic.Bool
	// stale is what is not in use as it is written.
	stale func() []status.Stale
	// profiles says whether pprof is there.
	profiles bool
}

func (a apiRoutes) handler() http.Handler {
	const get, put = http.MethodGet, http.MethodPut
	own := map[string]http.Handler{
		"/healthz":   only(get, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") }),
		"/readyz":    only(get, a.readyz),
		"/log-level": methods{get: a.getLogLevel, put: a.putLogLevel},
		// As long as the store is large.
		"/backup":  secure.Unhurried(a.rest),
		"/restore": secure.Unhurried(a.rest),
	}
	if a.metrics != nil {
		own["/metrics"] = only(get, a.metrics.ServeHTTP)
	}
	if a.profiles {
		own["/debug/pprof/"] = only(get, pprof.Index)
		for _, p := range runtime.Profiles() {
			own["/debug/pprof/"+p.Name()] = pprof.Handler(p.Name())
		}
		own["/debug/pprof/cmdline"] = only(get, pprof.Cmdline)
		own["/debug/pprof/symbol"] = methods{get: pprof.Symbol, http.MethodPost: pprof.Symbol}
		// As long as they are asked to take.
		own["/debug/pprof/profile"] = secure.Unhurried(only(get, pprof.Profile))
		own["/debug/pprof/trace"] = secure.Unhurried(only(get, pprof.Trace))
	}
	// No ServeMux: it would redirect what is not clean, where rest says that
	// there is no such path.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, ok := own[r.URL.Path]
		switch {
		case a.gui != nil && secure.OfGUI(r.URL.Path):
			h = a.gui
		case ok:
			r.Pattern = r.URL.Path // for metrics
		default:
			h = a.rest
		}
		h.ServeHTTP(w, r)
	})
}

// methods answer a path.
type methods map[string]http.HandlerFunc

func only(method string, h http.HandlerFunc) methods { return methods{method: h} }

// ServeHTTP implements http.Handler.
func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if h, ok := m[method]; ok {
		h(w, r)
		return
	}
	names := append(slices.Collect(maps.Keys(m)), http.MethodOptions)
	if _, ok := m[http.MethodGet]; ok {
		names = append(names, http.MethodHead)
	}
	slices.Sort(names)
	allowed := strings.Join(names, ", ")
	w.Header().Set("Allow", allowed)
	if method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	secure.Problem(w, http.StatusMethodNotAllowed, "Method not allowed", r.Method+" is not a method of this path; allowed: "+allowed)
}

// readyz says whether Envoys can be served: both listeners are open, and the
// first resources are in place. It says no again when run ends. With ?verbose it
// counts what is stale, which keeps no Envoy from being served; names and reasons are
// for who has a token.
func (a apiRoutes) readyz(w http.ResponseWriter, r *http.Request) {
	if !a.ready.Load() {
		http.Error(w, "not ready: the first resources are not in place yet, or the host is ending", http.StatusServiceUnavailable)
		return
	}
	if r.URL.Query().Has("verbose") {
		n := map[status.StaleKind]int{}
		for _, s := range a.stale() {
			n[s.Kind]++
		}
		for _, kind := range status.StaleKinds() {
			if n[kind] == 0 {
				_, _ = fmt.Fprintf(w, "[+] %ss ok\n", kind)
			} else {
				_, _ = fmt.Fprintf(w, "[-] %ss: %d not in use as written; kuma-mirror status says why\n", kind, n[kind])
			}
		}
	}
	_, _ = io.WriteString(w, "ready\n")
}

// logLevel is the body of /log-level.
type logLevel struct {
	Level string `json:"level"`
}

func (a apiRoutes) getLogLevel(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(logLevel{Level: strings.ToLower(a.level.Level().String())})
}

// putLogLevel changes the level until the process ends.
func (a apiRoutes) putLogLevel(w http.ResponseWriter, r *http.Request) {
	var wanted logLevel
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&wanted)
	if err == nil && !slices.Contains(logLevels, wanted.Level) {
		err = fmt.Errorf("level %q has to be one of %s", wanted.Level, strings.Join(logLevels, ", "))
	} else if err != nil {
		err = errors.New(`the body has to be like {"level":"debug"}`)
	}
	if err != nil {
		secure.Problem(w, http.StatusBadRequest, "Not a log level", err.Error())
		return
	}
	var level slog.Level
	must(level.UnmarshalText([]byte(wanted.Level)))
	// Said at both levels: before for a quieter one, after for a louder one.
	before := a.level.Level()
	a.level.Set(min(before, level))
	a.log.Info("the log level changes", "from", strings.ToLower(before.String()), "to", wanted.Level, "by", secure.CallerOf(r.Context()).Name)
	a.level.Set(level)
	a.getLogLevel(w, r)
}
