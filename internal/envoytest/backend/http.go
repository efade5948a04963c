package backend

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
)

// maxKeptBody is how much of a body a Request keeps: enough to look at, while
// tests send bodies of many megabytes.
const maxKeptBody = 64 << 10

// Options of an HTTP or a gRPC backend.
type Options struct {
	// Name says who answered, in X-Backend-Name and in the answer.
	Name string
	// TLS turns TLS on; see CA.ServerConfig.
	TLS *tls.Config
	// Handle answers in place of the JSON of HTTP backends, when the request,
	// body included, has been recorded. It has to return when the request's
	// context ends. The response already has the two X- headers. gRPC backends
	// ignore it.
	Handle http.HandlerFunc
}

// Request is what an HTTP backend got.
type Request struct {
	Method string
	Path   string // with the query, as sent
	Host   string
	Proto  string // "HTTP/1.1" or "HTTP/2.0"
	Header http.Header
	// Body is its first 64 KiB.
	Body       []byte
	BodyLength int64  // bytes that arrived
	BodySHA256 string // hex, of all that arrived
	// BodyErr is not nil if the body ended early.
	BodyErr error
	// TransferEncoding is ["chunked"] for a chunked HTTP/1.1 body.
	TransferEncoding []string
	// ServerName is the SNI; empty without TLS.
	ServerName string
}

// HTTP is a backend that speaks HTTP/1.1 and HTTP/2, with TLS or without (h2c).
// It answers 200 with
//
//	{"backend": NAME, "method": …, "path": …, "host": …, "protocol": …,
//	 "body_length": …, "body_sha256": …, "request_count": …}
//
// and the headers X-Backend-Name and X-Request-Count. A request counts when its
// body has been read, before it is answered. Methods may be called concurrently.
type HTTP struct {
	listener
	options Options

	recorded sync.Mutex
	requests []Request
}

// StartHTTP starts a backend, which the caller has to Stop.
func StartHTTP(options Options) (*HTTP, error) {
	b := &HTTP{options: options}
	b.start = b.serve
	return b, b.Restart()
}

// RunHTTP is StartHTTP for the running spec.
func RunHTTP(options Options) *HTTP { return run(StartHTTP(options)) }

func (b *HTTP) serve(socket net.Listener) func() {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	var (
		mu       sync.Mutex
		closed   bool // a connection may have a last request at hand
		handlers sync.WaitGroup
	)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			if closed {
				mu.Unlock()
				return
			}
			handlers.Add(1)
			mu.Unlock()
			defer handlers.Done()
			b.handle(w, r)
		}),
		Protocols: protocols,
		// Connections that break are what some tests are about.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if b.options.TLS != nil {
			server.TLSConfig = b.options.TLS.Clone()
			_ = server.ServeTLS(socket, "", "")
			return
		}
		_ = server.Serve(socket)
	}()
	return func() {
		mu.Lock()
		closed = true
		mu.Unlock()
		_ = server.Close()
		<-done
		handlers.Wait()
	}
}

func (b *HTTP) handle(w http.ResponseWriter, r *http.Request) {
	request, count := b.record(r)
	w.Header().Set("X-Backend-Name", b.options.Name)
	w.Header().Set("X-Request-Count", strconv.Itoa(count))
	if b.options.Handle != nil {
		b.options.Handle(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"backend":       b.options.Name,
		"method":        request.Method,
		"path":          request.Path,
		"host":          request.Host,
		"protocol":      request.Proto,
		"body_length":   request.BodyLength,
		"body_sha256":   request.BodySHA256,
		"request_count": count,
	})
}

func (b *HTTP) record(r *http.Request) (Request, int) {
	request := Request{
		Method:           r.Method,
		Path:             r.RequestURI,
		Host:             r.Host,
		Proto:            r.Proto,
		Header:           r.Header.Clone(),
		TransferEncoding: slices.Clone(r.TransferEncoding),
	}
	if r.TLS != nil {
		request.ServerName = r.TLS.ServerName
	}
	hash := sha256.New()
	var kept prefix
	request.BodyLength, request.BodyErr = io.Copy(io.MultiWriter(hash, &kept), r.Body)
	request.Body = kept
	request.BodySHA256 = hex.EncodeToString(hash.Sum(nil))

	b.recorded.Lock()
	defer b.recorded.Unlock()
	b.requests = append(b.requests, request)
	return request, len(b.requests)
}

// Count is the number of requests since the start or the last Reset.
func (b *HTTP) Count() int {
	b.recorded.Lock()
	defer b.recorded.Unlock()
	return len(b.requests)
}

// Requests returns the requests in the order in which they ended.
func (b *HTTP) Requests() []Request {
	b.recorded.Lock()
	defer b.recorded.Unlock()
	return slices.Clone(b.requests)
}

// Reset forgets all requests.
func (b *HTTP) Reset() {
	b.recorded.Lock()
	defer b.recorded.Unlock()
	b.requests = nil
}

// prefix keeps the first maxKeptBody bytes written to it.
type prefix []byte

func (p *prefix) Write(data []byte) (int, error) {
	*p = append(*p, data[:min(len(data), maxKeptBody-len(*p))]...)
	return len(data), nil
}
