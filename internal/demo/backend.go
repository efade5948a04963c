package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// backendHeader and countHeader are on every answer of a backend.
	backendHeader = "X-Backend-Name"
	countHeader   = "X-Request-Count"
	// idHeader, where a request has it, tells it from all others.
	idHeader = "X-Demo-Request"
	// inspectPath says what a backend has got so far; asking does not count.
	inspectPath = "/_demo/requests"
	// kept is how many of the last requests a backend remembers.
	kept = 2048
)

// BackendOptions of ServeBackend.
type BackendOptions struct {
	// Name of the backend, such as primary or shadow.
	Name string
	// Port on 127.0.0.1; 0 takes a free one.
	Port int
	// Log takes one line when the backend listens and one per request.
	Log io.Writer
}

// ServeBackend runs one backend of the demo until ctx ends; that end is no
// error. It speaks HTTP/1.1 and HTTP/2 without TLS and answers every request
// with 200 and
//
//	{"backend": "primary", "method": "POST", "path": "/api/v1",
//	 "request_count": 3, "body_bytes": 5, "body_sha256": "2cf2…"}
//
// on one line, with the headers X-Backend-Name and X-Request-Count.
func ServeBackend(ctx context.Context, o BackendOptions) error {
	listener, err := net.Listen("tcp4", net.JoinHostPort(loopback, strconv.Itoa(o.Port)))
	if err != nil {
		return fmt.Errorf("backend %s: %w", o.Name, err)
	}
	server := &http.Server{
		Handler:           &backend{name: o.Name, log: o.Log},
		Protocols:         new(http.Protocols),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)

	if _, err := fmt.Fprintln(o.Log, listeningLine(o.Name, listener.Addr().String())); err != nil {
		return errors.Join(err, listener.Close())
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("backend %s: %w", o.Name, err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if server.Shutdown(last) != nil {
		_ = server.Close()
	}
	<-served
	return nil
}

func logTag(name string) string { return "[" + strings.ToUpper(name) + "] " }

func listeningLine(name, address string) string {
	return logTag(name) + "listening on " + address
}

// Request is what a backend remembers of a request.
type Request struct {
	// ID is the request's X-Demo-Request header; often empty.
	ID     string `json:"id,omitempty"`
	Method string `json:"method"`
	// Path as sent, with the query.
	Path string `json:"path"`
	// BodyBytes and BodySHA256, in hex, are of the whole body.
	BodyBytes  int64  `json:"body_bytes"`
	BodySHA256 string `json:"body_sha256"`
}

// requestLog is the answer at inspectPath.
type requestLog struct {
	Backend string `json:"backend"`
	// Count of all requests since the backend started.
	Count int `json:"requests"`
	// Recent requests, at most kept, the last one last.
	Recent []Request `json:"recent"`
}

type backend struct {
	name string
	log  io.Writer

	mu     sync.Mutex // also keeps the log's lines in the order of the counts
	count  int
	recent []Request
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(backendHeader, b.name)
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == inspectPath {
		b.mu.Lock()
		seen := requestLog{Backend: b.name, Count: b.count, Recent: slices.Clone(b.recent)}
		b.mu.Unlock()
		_ = json.NewEncoder(w).Encode(seen)
		return
	}

	digest := sha256.New()
	size, err := io.Copy(digest, r.Body)
	if err != nil {
		// The client is gone; what did not arrive whole does not count.
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	request := Request{
		ID: r.Header.Get(idHeader), Method: r.Method, Path: r.RequestURI,
		BodyBytes: size, BodySHA256: hex.EncodeToString(digest.Sum(nil)),
	}
	count := b.record(request, r.Proto)

	w.Header().Set(countHeader, strconv.Itoa(count))
	_, _ = w.Write(answer(b.name, request, count))
}

func (b *backend) record(request Request, proto string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count++
	if len(b.recent) == kept {
		b.recent = slices.Delete(b.recent, 0, 1)
	}
	b.recent = append(b.recent, request)
	line := strconv.Quote(request.Method + " " + request.Path + " " + proto)
	_, _ = fmt.Fprintf(b.log, "%s%s 200 -\n", logTag(b.name), line)
	return b.count
}

// answer is JSON on one line with a blank after colons and commas, as the
// documentation shows it.
func answer(name string, r Request, count int) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, `{"backend": %s, "method": %s, "path": %s, "request_count": %d, "body_bytes": %d, "body_sha256": %s}`,
		quoteJSON(name), quoteJSON(r.Method), quoteJSON(r.Path), count, r.BodyBytes, quoteJSON(r.BodySHA256))
	out.WriteByte('\n')
	return out.Bytes()
}

func quoteJSON(s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always has a JSON form
	}
	return quoted
}
