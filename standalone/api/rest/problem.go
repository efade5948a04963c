package rest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
)

// problem is the body of an answer that is an error: Kuma's.
type problem struct {
	Type   string `json:"type"`
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	// Instance finds the request in the log; set where there is more to find.
	Instance          string             `json:"instance,omitempty"`
	InvalidParameters []invalidParameter `json:"invalid_parameters,omitempty"`
	// Missing is the resource that is not there, as KIND/MESH/NAME: no other
	// server's 404, nor that of a path, has one.
	Missing string `json:"missing,omitempty"`
	// Stored is what would be lost.
	Stored catalog.Counts `json:"stored,omitempty"`

	// header is added to the answer.
	header http.Header
}

type invalidParameter struct {
	Field   string   `json:"field"`
	Reason  string   `json:"reason"`
	Choices []string `json:"choices,omitempty"`
}

// Error implements error.
func (p *problem) Error() string {
	text := fmt.Sprintf("%d: %s", p.Status, cmp.Or(p.Detail, p.Title))
	for _, ip := range p.InvalidParameters {
		text += fmt.Sprintf("; %s: %s", ip.Field, ip.Reason)
	}
	return text
}

func newProblem(status int, format string, args ...any) *problem {
	return &problem{Status: status, Detail: fmt.Sprintf(format, args...)}
}

// badParameter is the problem with a parameter of the query.
func badParameter(field, format string, args ...any) *problem {
	p := newProblem(http.StatusBadRequest, "The query parameter %s is not valid", field)
	p.InvalidParameters = []invalidParameter{{Field: field, Reason: fmt.Sprintf(format, args...)}}
	return p
}

// notFound is the problem with a resource that is not there.
func notFound(key api.Key) *problem {
	p := newProblem(http.StatusNotFound, "Not found")
	p.Missing = textOf(key)
	return p
}

func (p *problem) with(header, value string) *problem {
	if p.header == nil {
		p.header = http.Header{}
	}
	p.header.Set(header, value)
	return p
}

// statusClientGone is nginx's, and Kuma's, for an answer that nobody reads.
const statusClientGone = 499

// problemOf translates an error. What it does not know is an internal error,
// of which a client learns nothing.
func problemOf(err error) *problem {
	var (
		known       *problem
		invalid     *catalog.InvalidError
		violations  api.Violations
		missing     *catalog.NotFoundError
		conflict    *catalog.ConflictError
		notEmpty    *catalog.NotEmptyError
		readOnly    *catalog.ReadOnlyError
		unavailable *catalog.UnavailableError
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &invalid):
		return invalidProblem(invalid.Violations, "")
	case errors.As(err, &violations):
		return invalidProblem(violations, "")
	case errors.As(err, &missing):
		return notFound(missing.Key)
	case errors.Is(err, catalog.ErrPrecondition):
		return newProblem(http.StatusPreconditionFailed, "The resource is not what If-Match or If-None-Match says; read it again")
	case errors.As(err, &conflict):
		return newProblem(http.StatusConflict, "%s", conflict.Error())
	case errors.As(err, &notEmpty):
		p := newProblem(http.StatusConflict, "%s; with force=true it is replaced", notEmpty)
		p.Stored = notEmpty.Stored
		return p
	case errors.As(err, &readOnly) && readOnly.File == "":
		return newProblem(http.StatusMethodNotAllowed, "%s", readOnly.Error())
	case errors.As(err, &readOnly):
		return newProblem(http.StatusConflict, "%s", readOnly.Error())
	case errors.As(err, &unavailable):
		return newProblem(http.StatusServiceUnavailable, "%s", unavailable.Error())
	case errors.Is(err, context.Canceled):
		return newProblem(statusClientGone, "The client went away")
	default:
		return newProblem(http.StatusInternalServerError, "Internal Server Error")
	}
}

// invalidProblem names everything that is wrong. about is the object that the
// request is about, which need not be said again.
func invalidProblem(violations api.Violations, about string) *problem {
	p := newProblem(http.StatusBadRequest, "Resource is not valid")
	for _, v := range violations {
		var reason []string
		if strings.Contains(v.Source, "#") { // one of several documents
			reason = append(reason, v.Source)
		}
		if v.Object != "" && v.Object != about {
			reason = append(reason, v.Object)
		}
		reason = append(reason, v.Message)
		p.InvalidParameters = append(p.InvalidParameters, invalidParameter{Field: v.Path, Reason: strings.Join(reason, ": ")})
	}
	return p
}

// fail answers with what err means; title says what was not done.
func (s *server) fail(w http.ResponseWriter, r *http.Request, title string, err error) {
	p := *problemOf(err)
	p.Type = "/std-errors"
	p.Title = cmp.Or(p.Title, title)
	// One that is made here is no failure: it says what to do.
	if known := (*problem)(nil); p.Status >= http.StatusInternalServerError && !errors.As(err, &known) {
		p.Instance = newID(8)
		s.log.ErrorContext(r.Context(), "a request failed", "method", r.Method, "path", r.URL.Path, "status", p.Status, "instance", p.Instance, "error", err)
	}
	for name, values := range p.header {
		w.Header()[name] = slices.Clone(values)
	}
	_ = writeJSONAs(w, "application/problem+json", p.Status, p) // of texts and numbers
}
