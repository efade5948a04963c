package secure

import (
	"io"
	"net/http"
	"time"
)

// maxStep is how much of an answer is one step: a slow client gets time for each,
// not for all that a handler writes at once.
const maxStep = 32 << 10

// Unhurried lets next take longer than the server's limit, as long as the client
// goes on: long answers such as a backup, long bodies such as a restore. Each
// step, of sending or of receiving, has the limit to itself, since an answer that
// nobody takes may hold on to something, as a backup does to the store. While
// next is silent, as a profile is, no time counts. It must not read and write at
// once.
func Unhurried(next http.Handler) http.Handler { return unhurried(next, requestTimeout) }

func unhurried(next http.Handler, limit time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &steps{ResponseWriter: w, control: http.NewResponseController(w), limit: limit}
		if r.Body != nil && r.Body != http.NoBody {
			s.receives = true
			// The server looks at the Body of its own request when it answers.
			r = r.WithContext(r.Context())
			r.Body = &steadyBody{ReadCloser: r.Body, steps: s}
		}
		s.end() // the server has set its limits
		// The last step is the server's: it sends what is left, and receives
		// what next has not.
		defer s.begin()
		next.ServeHTTP(s, r)
	})
}

// steps give each thing that is done with the client a limit of its own. They
// end with it: a deadline that passes in between would end an HTTP/2 stream, too.
type steps struct {
	http.ResponseWriter
	control *http.ResponseController
	limit   time.Duration
	// receives is whether there may be more of a body. Without one the server
	// reads ahead, which a deadline would take for a client that has gone.
	receives bool
}

// begin a step. Whatever is done first may both send and receive: reading can
// send "100 Continue", and writing can read what is left of the body. A response
// without deadlines, as in tests, has none to set.
func (s *steps) begin() { s.until(time.Now().Add(s.limit)) }

func (s *steps) end() { s.until(time.Time{}) }

func (s *steps) until(deadline time.Time) {
	_ = s.control.SetWriteDeadline(deadline)
	if s.receives {
		_ = s.control.SetReadDeadline(deadline)
	}
}

// Write implements http.ResponseWriter.
func (s *steps) Write(p []byte) (int, error) {
	defer s.end()
	for written := 0; ; {
		s.begin()
		n, err := s.ResponseWriter.Write(p[written:min(len(p), written+maxStep)])
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// FlushError is for http.ResponseController.
func (s *steps) FlushError() error {
	defer s.end()
	s.begin()
	return s.control.Flush()
}

// Unwrap is for http.ResponseController.
func (s *steps) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// steadyBody is what a client sends, step by step.
type steadyBody struct {
	io.ReadCloser
	steps *steps
}

// Read implements io.Reader.
func (b *steadyBody) Read(p []byte) (int, error) {
	defer b.steps.end()
	b.steps.begin()
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		// At its end the server goes on as without a body. After a failure the
		// deadline stays: the server must not wait for the rest.
		b.steps.receives = false
	}
	return n, err
}
