package secure

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"log"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// headerTimeout is how long a request's headers, and a handshake, may take.
	headerTimeout = 5 * time.Second
	// requestTimeout is how long a whole request or answer may take.
	requestTimeout = 30 * time.Second
	// idleTimeout is how long a connection may be without a request.
	idleTimeout = 2 * time.Minute
	// maxHeaderBytes are those of all headers of a request.
	maxHeaderBytes = 32 << 10
	// maxStreams are the requests at once on one HTTP/2 connection.
	maxStreams = 64
)

// Server returns a server of the API, with limits, that lets to next what may
// pass. Errors that clients cause are logged at debug, panics as errors.
func (g *Guard) Server(next http.Handler) *http.Server {
	return &http.Server{
		Handler:           g.Handler(next),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams,
			// The deadlines of streams do not end a write to a connection whose
			// client reads nothing.
			WriteByteTimeout: requestTimeout,
		},
		ErrorLog: log.New(serverLog{g.log}, "", 0),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			if secured, ok := conn.(*tls.Conn); ok {
				conn = secured.NetConn()
			}
			return context.WithValue(ctx, connectionKey{}, conn)
		},
	}
}

type connectionKey struct{}

// API wraps the API's listener in limits and TLS.
func (g *Guard) API(l net.Listener) net.Listener {
	limited := g.limit(l, "the API", "api")
	if g.certificate == nil {
		return limited
	}
	config := g.tlsConfig()
	config.NextProtos = []string{"h2", "http/1.1"}
	return tls.NewListener(limited, config)
}

func (g *Guard) limit(l net.Listener, what, name string) *limited {
	return limit(l, maxConnections, maxConnectionsPerSource, func(from netip.AddrPort, why string) {
		g.onRefusal(name, why)
		g.refusals.add("refused a connection to "+what, why, "from", from)
	})
}

// Handler lets to next what may pass, with its Caller in the context.
//
// Who has a token may do what its role allows; see Needs. Without tokens
// everybody may do everything, but for web pages: on loopback a browser is
// inside, and what it shows is not. They are told by their Origin, and by a Host
// that is not of this machine (DNS rebinding).
func (g *Guard) Handler(next http.Handler) http.Handler {
	loopback := IsLoopback(g.options.APIAddress)
	audited := g.audit(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
		if loopback && !localHost(r.Host) {
			g.refuse(w, r, refusal{
				status: http.StatusMisdirectedRequest, title: "Not this host",
				detail: "on loopback the Host header has to be localhost, 127.0.0.1 or [::1], with or without a port",
			})
			return
		}
		if open(r.Method, r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		if g.foreign(r) {
			g.refuse(w, r, refusal{
				status: http.StatusForbidden, title: "Cross-origin request",
				detail: "web pages of other origins may not call this API; open the address itself",
			})
			return
		}
		if g.session(w, r) {
			return
		}
		caller, refused := g.authenticate(r)
		if refused != nil && OfGUI(r.URL.Path) && r.Header.Get("Authorization") == "" {
			g.toLogin(w, r, refused)
			return
		}
		if refused == nil && !caller.Role.may(Needs(r.Method, r.URL.Path)) {
			refused = &refusal{
				status: http.StatusForbidden, title: "Forbidden", caller: caller.Name,
				detail: "this takes a token of the role " + string(Admin) + "; the one of the request has the role " + string(caller.Role),
			}
		}
		if refused != nil {
			g.refuse(w, r, *refused)
			return
		}
		if conn, ok := r.Context().Value(connectionKey{}).(*counted); ok {
			conn.proved()
		}
		audited.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
	})
}

// foreign reports whether a browser says that a page of another origin asks.
// Reading counts as well: the page does not see the answer, but a profile or a
// backup is made for it.
func (g *Guard) foreign(r *http.Request) bool {
	unsafe := r.WithContext(r.Context()) // a copy
	unsafe.Method = http.MethodPost
	return g.origins.Check(unsafe) != nil
}

type callerKey struct{}

// CallerOf returns who has made a request that passed Handler; the zero value
// for one that needs no token.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// open paths take no token: probes have none, kumactl asks for the version before
// it has been given one, and a browser has to show where to log in.
func open(method, path string) bool {
	return (method == http.MethodGet || method == http.MethodHead) &&
		(slices.Contains([]string{"/", "/healthz", "/readyz"}, path) || openGUI(path))
}

// Needs returns the role that a request takes where there are tokens. A path that
// is spelled in another way than the API does takes more, never less.
func Needs(method, name string) Role {
	// What is behind next may take /backup/ for /backup.
	cleaned := path.Clean("/" + name)
	switch {
	case open(method, name):
		return Nobody
	case cleaned == "/backup", cleaned == "/debug", strings.HasPrefix(cleaned, "/debug/"):
		// All there is at once, and what is in memory.
		return Admin
	case method == http.MethodGet, method == http.MethodHead, method == http.MethodOptions:
		return Reader
	case method == http.MethodPost && name == "/plan":
		return Reader
	default:
		return Admin
	}
}

// localHost reports whether a Host header names this machine. A browser always
// sends one.
func localHost(host string) bool {
	if host == "" {
		return true
	}
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	return isLoopbackHost(name)
}

// authenticate returns who calls. Without tokens that is an admin.
func (g *Guard) authenticate(r *http.Request) (Caller, *refusal) {
	if g.tokens == nil {
		return Caller{Role: Admin}, nil
	}
	missing := &refusal{
		status: http.StatusUnauthorized, title: "No token", challenge: "Bearer",
		detail: "send a token in the header: Authorization: Bearer TOKEN",
	}
	values := r.Header.Values("Authorization")
	if len(values) == 0 && OfGUI(r.URL.Path) {
		if cookie, err := r.Cookie(tokenCookie); err == nil {
			return g.callerOf(r, cookie.Value)
		}
	}
	token, ok := bearer(values)
	if !ok {
		return Caller{}, missing
	}
	return g.callerOf(r, token)
}

// callerOf returns whose token it is that a request shows.
func (g *Guard) callerOf(r *http.Request, token string) (Caller, *refusal) {
	if caller, known := g.tokens.Value().Lookup(token); known {
		return caller, nil
	}
	if wait := g.guesses.fail(addressOf(remote(r)).Addr()); wait > 0 {
		return Caller{}, &refusal{
			status: http.StatusTooManyRequests, title: "Too many bad tokens", retryAfter: wait,
			detail: "the token of the request is unknown, as were too many from this address; wait as long as Retry-After says",
		}
	}
	return Caller{}, &refusal{
		status: http.StatusUnauthorized, title: "Unknown token", challenge: `Bearer error="invalid_token"`,
		detail: "the token of the request is none that this host knows",
	}
}

// bearer returns the token of Authorization headers, of which there may be one.
func bearer(values []string) (string, bool) {
	if len(values) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	token = strings.TrimLeft(token, " ")
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != ""
}

type remoteAddress string

func (remoteAddress) Network() string  { return "tcp" }
func (a remoteAddress) String() string { return string(a) }

func remote(r *http.Request) net.Addr { return remoteAddress(r.RemoteAddr) }

// refusal is an answer that lets nothing through.
type refusal struct {
	status        int
	title, detail string
	challenge     string
	retryAfter    time.Duration
	caller        string
}

// refuse answers as the rest of the API does.
func (g *Guard) refuse(w http.ResponseWriter, r *http.Request, f refusal) {
	if f.challenge != "" {
		w.Header().Set("WWW-Authenticate", f.challenge)
	}
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.retryAfter.Seconds()))))
	}
	attributes := []any{"method", r.Method, "path", r.URL.Path, "from", r.RemoteAddr}
	if f.caller != "" {
		attributes = append(attributes, "token", f.caller)
	}
	g.onRefusal("api", f.title)
	g.refusals.add("refused a request", f.title, attributes...)
	Problem(w, f.status, f.title, f.detail)
}

// Problem answers with an error in the form of the API.
func Problem(w http.ResponseWriter, code int, title, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(code)
	// Whoever has gone cannot be told.
	_ = json.NewEncoder(w).Encode(map[string]any{"type": "/std-errors", "status": code, "title": title, "detail": detail})
}

// serverLog takes what net/http writes: of connections that end badly, which
// clients can cause as they like, and of panics, which are mistakes here.
type serverLog struct{ log *slog.Logger }

func (s serverLog) Write(p []byte) (int, error) {
	message, stack, _ := strings.Cut(strings.TrimSpace(string(p)), "\n")
	if strings.HasPrefix(message, "http: panic") || strings.HasPrefix(message, "http2: panic") {
		s.log.Error(message, "stack", stack)
	} else {
		s.log.Debug(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}
