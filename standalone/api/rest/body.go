package rest

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// resourceTypes are the media types of resources.
var resourceTypes = []string{"application/json", "application/yaml", "application/x-yaml"}

// checkType requires a body of one of the types, or of none that is said, as it
// is: whatever unpacks may make much of little.
func checkType(r *http.Request, types []string) error {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return newProblem(http.StatusUnsupportedMediaType, "The body is coded as %q; send it as it is", coding).
			with("Accept-Encoding", "identity")
	}
	given := r.Header.Get("Content-Type")
	if given == "" {
		return nil
	}
	mediaType, _, err := mime.ParseMediaType(given)
	if err != nil || !slices.Contains(types, mediaType) {
		return newProblem(http.StatusUnsupportedMediaType, "The Content-Type is %q; it must be one of %s", given, strings.Join(types, ", ")).
			with("Accept", strings.Join(types, ", "))
	}
	return nil
}

// readBody reads the body with resources.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if err := checkType(r, resourceTypes); err != nil {
		return nil, err
	}
	from := limitedBody(w, r, api.MaxInputBytes)
	data, _ := io.ReadAll(from)
	return data, from.failed
}

// body is what a client sends. What fails in that is the client's, or the
// network's, and not this program's.
type body struct {
	from   io.Reader
	failed error
}

func limitedBody(w http.ResponseWriter, r *http.Request, limit int64) *body {
	return &body{from: http.MaxBytesReader(w, r.Body, limit)}
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	var tooLong *http.MaxBytesError
	switch {
	case err == nil, errors.Is(err, io.EOF):
	case errors.As(err, &tooLong):
		b.failed = newProblem(http.StatusRequestEntityTooLarge, "The body is longer than %d bytes", tooLong.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.failed = newProblem(http.StatusRequestTimeout, "The body took too long")
	default:
		b.failed = newProblem(http.StatusBadRequest, "The body broke off: %s", err)
	}
	return n, err
}
