package world

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

// idHeader tells requests, and their copies, apart.
const idHeader = "X-Test-Id"

var lastID atomic.Int64

// NewID is an id that no other request of this process has.
func NewID() string { return fmt.Sprintf("request-%d", lastID.Add(1)) }

// Request is one that a client sends.
type Request struct {
	Method string // GET if empty
	Path   string // "/" if empty
	Host   string
	Header http.Header
	// Body is sent with its length, or chunked.
	Body    string
	Chunked bool
	// ID is a new one if empty.
	ID string
}

// Answer is what a client gets.
type Answer struct {
	ID      string
	Status  int
	Backend string // who answered, as the answer says itself
	Header  http.Header
	Body    string
}

// Client sends requests to one URL.
type Client struct {
	url    string
	client *http.Client
}

// NewClient makes a client that keeps its connections, or has one for each
// request. It ends with the test.
func NewClient(t T, url string, keepAlive bool) *Client {
	transport := &http.Transport{DisableKeepAlives: !keepAlive, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &Client{url: url, client: &http.Client{Transport: transport, Timeout: 30 * time.Second}}
}

// Send sends a request. An answer other than 200 is no error.
func (c *Client) Send(ctx context.Context, r Request) (*Answer, error) {
	if r.ID == "" {
		r.ID = NewID()
	}
	var body io.Reader
	if r.Body != "" {
		body = strings.NewReader(r.Body)
		if r.Chunked {
			body = io.MultiReader(body) // of unknown length
		}
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, c.url+r.Path, body)
	if err != nil {
		return nil, err
	}
	// Go sends requests with a body again that it can read a second time, and
	// so would hide failures.
	request.GetBody = nil
	request.Host = r.Host
	if r.Header != nil {
		request.Header = r.Header.Clone()
	}
	request.Header.Set(idHeader, r.ID)
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	return &Answer{
		ID: r.ID, Status: response.StatusCode, Backend: response.Header.Get("X-Backend-Name"),
		Header: response.Header, Body: string(answer),
	}, nil
}

// Send sends a request through web's Envoy over a connection of its own, which
// has to succeed with 200.
func (w *World) Send(ctx context.Context, r Request) *Answer {
	w.t.Helper()
	answer, err := NewClient(w.t, w.URL, false).Send(ctx, r)
	w.g.Expect(err).NotTo(gomega.HaveOccurred())
	w.g.Expect(answer.Status).To(gomega.Equal(http.StatusOK), answer.Body)
	return answer
}

// Get is Send for the path alone.
func (w *World) Get(ctx context.Context, path string) *Answer {
	w.t.Helper()
	return w.Send(ctx, Request{Path: path})
}

// IDs returns which requests a backend has got, and how often.
func IDs(b *backend.HTTP) map[string]int {
	ids := map[string]int{}
	for _, r := range b.Requests() {
		ids[r.Header.Get(idHeader)]++
	}
	return ids
}

// Got returns the request of that id, as it came to a backend; nil if it did
// not.
func Got(b *backend.HTTP, id string) *backend.Request {
	for _, r := range b.Requests() {
		if r.Header.Get(idHeader) == id {
			return &r
		}
	}
	return nil
}
