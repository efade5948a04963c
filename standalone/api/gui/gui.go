// Package gui is the web page of the control plane, at /gui: made on the server,
// with a little script of its own that keeps it live. Who may see it is for
// secure.Guard to say.
package gui

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/secure"
)

//go:embed templates static
var content embed.FS

// maxRows bounds the table of mirrors; a filter shows the others.
const maxRows = 200

// maxInspected bounds how many mirrors of a data plane are searched for the one
// whose configuration is shown.
const maxInspected = 1000

// policy lets the page load what the control plane itself serves, and no script
// or style that is written into it.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Options are what the page shows.
type Options struct {
	// Mirrors are those of a mesh, or of all where it is empty.
	Mirrors func(ctx context.Context, mesh string) ([]status.Mirror, error)
	// Inspect is status.Status's.
	Inspect func(ctx context.Context, mesh, dataplane string, start, size int) ([]status.Mirror, int, error)
	Version string
	Log     *slog.Logger
}

// GUI answers requests below /gui. Its history is empty until Run is called.
type GUI struct {
	Options
	pages   map[string]*template.Template
	history history
	mux     *http.ServeMux
}

// New returns a GUI.
func New(o Options) *GUI {
	g := &GUI{Options: o, pages: map[string]*template.Template{}, mux: http.NewServeMux()}
	for _, name := range []string{"mirrors", "mirror", "graph", "login", "missing"} {
		g.pages[name] = template.Must(template.New("layout.html").Funcs(functions).
			ParseFS(content, "templates/layout.html", "templates/"+name+".html"))
	}
	static, err := fs.Sub(content, "static")
	if err != nil {
		panic(err) // the folder is embedded
	}
	g.mux.HandleFunc("/gui", g.mirrors)
	g.mux.HandleFunc("/gui/mirror", g.mirror)
	g.mux.HandleFunc("/gui/graph", g.graph)
	g.mux.HandleFunc("/gui/login", func(w http.ResponseWriter, r *http.Request) {
		g.show(w, r, http.StatusOK, "login", "Log in", r.URL.Query().Get("failed"))
	})
	g.mux.Handle("/gui/static/", http.StripPrefix("/gui/static/", http.FileServerFS(static)))
	g.mux.HandleFunc("/gui/", func(w http.ResponseWriter, r *http.Request) {
		g.show(w, r, http.StatusNotFound, "missing", "Not found", "There is no such page.")
	})
	return g
}

// ServeHTTP implements http.Handler.
func (g *GUI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		secure.Problem(w, http.StatusMethodNotAllowed, "Method not allowed", r.Method+" is not a method of this page; allowed: GET, HEAD")
		return
	}
	g.mux.ServeHTTP(w, r)
}

// page is what every template gets.
type page struct {
	Title, Version, Path, Caller string
	Data                         any
}

func (g *GUI) show(w http.ResponseWriter, r *http.Request, code int, name, title string, data any) {
	var out bytes.Buffer
	err := g.pages[name].Execute(&out, page{
		Title: title, Version: g.Version, Path: r.URL.Path, Caller: secure.CallerOf(r.Context()).Name, Data: data,
	})
	if err != nil {
		g.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = out.WriteTo(w) // whoever has gone cannot be told
}

func (g *GUI) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == nil {
		g.Log.Error("the web page could not be made", "path", r.URL.Path, "error", err)
	}
	secure.Problem(w, http.StatusInternalServerError, "Could not make the page", "the log of the control plane says why")
}

// mirrors is the table.
func (g *GUI) mirrors(w http.ResponseWriter, r *http.Request) {
	all, err := g.Mirrors(r.Context(), "")
	if err != nil {
		g.fail(w, r, err)
		return
	}
	var data struct {
		Filter string
		Rows   []status.Mirror
		Total  int
	}
	data.Filter = strings.TrimSpace(r.URL.Query().Get("q"))
	filter := strings.ToLower(data.Filter)
	for _, m := range all {
		words := strings.Join([]string{m.Mesh, m.Dataplane, m.Policy, m.Match, m.Outbound, shadowName(m), string(m.State)}, " ")
		if !strings.Contains(strings.ToLower(words), filter) {
			continue
		}
		if data.Total++; len(data.Rows) < maxRows {
			data.Rows = append(data.Rows, m)
		}
	}
	g.show(w, r, http.StatusOK, "mirrors", "Mirrors", data)
}

// mirror is the page of one.
func (g *GUI) mirror(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	wanted := keyOf(status.Mirror{
		Mesh: q.Get("mesh"), Dataplane: q.Get("dataplane"), Policy: q.Get("policy"), Path: q.Get("path"), Outbound: q.Get("outbound"),
	})
	all, err := g.Mirrors(r.Context(), wanted.mesh)
	if err != nil {
		g.fail(w, r, err)
		return
	}
	for _, m := range all {
		if keyOf(m) != wanted {
			continue
		}
		if m.Envoy, err = g.envoy(r.Context(), wanted); err != nil {
			g.fail(w, r, err)
			return
		}
		var drawn []chart
		if m.Dataplane != "" {
			drawn = charts(append(g.history.of(wanted)[1:], pointOf(m.Window)))
		}
		g.show(w, r, http.StatusOK, "mirror", m.Policy, struct {
			status.Mirror
			Charts []chart
		}{m, drawn})
		return
	}
	g.show(w, r, http.StatusNotFound, "missing", "Not found", "There is no such mirror, or no longer.")
}

// envoy is what Envoy is given of a mirror; nil where that is nothing.
func (g *GUI) envoy(ctx context.Context, wanted key) (*status.Envoy, error) {
	if wanted.dataplane == "" {
		return nil, nil
	}
	given, _, err := g.Inspect(ctx, wanted.mesh, wanted.dataplane, 0, maxInspected)
	if err != nil {
		return nil, err
	}
	for _, m := range given {
		if keyOf(m) == wanted {
			return m.Envoy, nil
		}
	}
	return nil, nil
}

var functions = template.FuncMap{
	"shadow": shadowName,
	"bad":    bad,
	"link": func(m status.Mirror) string {
		return "/gui/mirror?" + url.Values{
			"mesh": {m.Mesh}, "dataplane": {m.Dataplane}, "policy": {m.Policy}, "path": {m.Path}, "outbound": {m.Outbound},
		}.Encode()
	},
	"number": number,
	"percent": func(p *float64) string {
		if p == nil {
			return "–"
		}
		return number(*p) + " %"
	},
	"share": func(p *float64) string {
		if p == nil {
			return "–"
		}
		return number(*p*100) + " %"
	},
	"ms": func(l *status.Latency, p string) string {
		if l == nil {
			return "–"
		}
		return number(map[string]float64{"50": l.P50, "90": l.P90, "99": l.P99}[p]) + " ms"
	},
	"time": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"indent": func(raw json.RawMessage) (string, error) {
		var out bytes.Buffer
		err := json.Indent(&out, raw, "", "  ")
		return out.String(), err
	},
}

// number keeps three digits, which is what a reader can take in.
func number(f float64) string {
	switch {
	case f == math.Trunc(f) || math.Abs(f) >= 100:
		return fmt.Sprintf("%.0f", f)
	case math.Abs(f) >= 10:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}

func shadowName(m status.Mirror) string {
	if m.Shadow.Name != "" {
		return m.Shadow.Name
	}
	return m.Shadow.Tags.String()
}

// bad says how loudly a state is shown: "good", "idle" as was asked for, "bad".
func bad(s status.State) string {
	switch s {
	case status.Active:
		return "good"
	case status.Off, status.PendingACK, status.NoMatch:
		return "idle"
	}
	return "bad"
}
