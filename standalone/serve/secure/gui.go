package secure

import (
	"net/http"
	"strings"
)

// The web page, which a browser shows: its token is in a cookie, as a browser
// sends no Authorization of its own.
const (
	guiPath   = "/gui"
	guiLogin  = guiPath + "/login"
	guiLogout = guiPath + "/logout"
	guiStatic = guiPath + "/static/"
	// tokenCookie is sent to the web page alone.
	tokenCookie = "kuma-mirror-token"
	// maxLogin are the bytes of the form that has the token.
	maxLogin = 4 << 10
)

// OfGUI reports whether a path is that of the web page, or below it.
func OfGUI(path string) bool { return path == guiPath || strings.HasPrefix(path, guiPath+"/") }

// openGUI are the paths of the web page that take no token: to log in, and what
// that page is made of.
func openGUI(path string) bool {
	return path == guiLogin || strings.HasPrefix(path, guiStatic) && !strings.Contains(path, "..")
}

// session answers what begins and ends a browser's session, and reports whether
// it did. The request is one of the page itself.
func (g *Guard) session(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodPost {
		return false
	}
	switch r.URL.Path {
	case guiLogin:
		r.Body = http.MaxBytesReader(w, r.Body, maxLogin)
		token := r.PostFormValue("token")
		if g.tokens == nil {
			http.Redirect(w, r, guiPath, http.StatusSeeOther)
			return true
		}
		if _, refused := g.callerOf(r, token); refused != nil {
			g.onRefusal("api", refused.title)
			g.refusals.add("refused to log in", refused.title, "from", r.RemoteAddr)
			g.toLogin(w, r, refused)
			return true
		}
		g.setCookie(w, token, 0)
		http.Redirect(w, r, guiPath, http.StatusSeeOther)
		return true
	case guiLogout:
		g.setCookie(w, "", -1)
		http.Redirect(w, r, guiLogin, http.StatusSeeOther)
		return true
	}
	return false
}

// toLogin sends a browser whose token is missing or unknown to where it can give
// one. What it has is forgotten, so that it is not counted as a guess again.
func (g *Guard) toLogin(w http.ResponseWriter, r *http.Request, refused *refusal) {
	_, err := r.Cookie(tokenCookie)
	if err == nil {
		g.setCookie(w, "", -1)
	}
	to := guiLogin
	switch {
	case refused.status == http.StatusTooManyRequests:
		to += "?failed=wait"
	case err == nil || r.Method == http.MethodPost:
		to += "?failed=token"
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// setCookie ends with the browser, or at once where maxAge is negative.
func (g *Guard) setCookie(w http.ResponseWriter, token string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: tokenCookie, Value: token, Path: guiPath, MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: g.certificate != nil,
	})
}
