package rest

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/semaphore"

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

// maxMemory is what the bodies of all requests together may take, read and
// parsed: more than the most costly one does.
const maxMemory = 256 << 20

// readCopies is how often a body that is read is in memory, as its buffer grows.
const readCopies = 3

// allowance is the memory that one request has taken.
type allowance struct {
	of    *semaphore.Weighted
	taken int64
}

// take says busy where there is not enough. Nobody waits: who waited would hold
// what they have sent, and many could.
func (a *allowance) take(bytes int64) error {
	if !a.of.TryAcquire(bytes) {
		return newProblem(http.StatusServiceUnavailable, "The requests at hand take all the memory there is for them; try again in a second").
			with("Retry-After", "1")
	}
	a.taken += bytes
	return nil
}

// free is to be called when the request is answered.
func (a *allowance) free() { a.of.Release(a.taken) }

// readBody reads the body with resources, and takes the memory for it and for
// what is parsed of it.
func (a *allowance) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if err := checkType(r, resourceTypes); err != nil {
		return nil, err
	}
	from := limitedBody(w, r, api.MaxInputBytes)
	from.allowance = a
	data, _ := io.ReadAll(from)
	if from.failed != nil {
		return nil, from.failed
	}
	return data, a.take(api.ParseCost(data))
}

// body is what a client sends. What fails in that is the client's, or the
// network's, and not this program's.
type body struct {
	from   io.Reader
	failed error
	// allowance, where there is one, is what the body takes memory from.
	allowance *allowance
}

func limitedBody(w http.ResponseWriter, r *http.Request, limit int64) *body {
	return &body{from: http.MaxBytesReader(w, r.Body, limit)}
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if b.allowance != nil {
		if busy := b.allowance.take(int64(n) * readCopies); busy != nil {
			b.failed = busy
			return n, busy
		}
	}
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
