// Package client speaks to the REST API of a standalone host.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/kuma-mirror/kuma-mirror/standalone/serve/secure"
)

// DefaultAddress is where a host serves its API when nothing else is said.
const DefaultAddress = "http://127.0.0.1:5681"

// DefaultTimeout is how long one exchange may take.
const DefaultTimeout = 30 * time.Second

// Options of New.
type Options struct {
	// Address of the API, as http://HOST:PORT or https://HOST:PORT; empty
	// means DefaultAddress.
	Address string
	// Token proves who asks; empty where the host wants none. It is never
	// sent in clear text to another machine.
	Token string
	// CACertFile holds the PEM certificates that the host's must be signed by;
	// empty means those of the system.
	CACertFile string
	// Timeout of one exchange; 0 means DefaultTimeout. Backup and Restore have
	// it for each pause of the data instead.
	Timeout time.Duration
}

// Client is a client of one host. Its methods may be called from any goroutine.
type Client struct {
	base    *url.URL
	token   string
	timeout time.Duration
	http    *http.Client
}

// New returns a client; it does not connect yet. Its errors are mistakes in the
// options.
func New(o Options) (*Client, error) {
	if o.Address == "" {
		o.Address = DefaultAddress
	}
	base, err := parseAddress(o.Address)
	if err != nil {
		return nil, err
	}
	if o.Token != "" && base.Scheme == "http" && !isLoopback(base.Hostname()) {
		return nil, fmt.Errorf("a token is not sent to %s: anybody on the way could read it; use https://%s", o.Address, base.Host)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if o.CACertFile != "" {
		roots, err := parsed(o.CACertFile, func(content []byte) (*x509.CertPool, error) {
			return secure.ParseAuthorities([][]byte{content})
		})
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	return &Client{
		base:    base,
		token:   o.Token,
		timeout: o.Timeout,
		http: &http.Client{
			Transport: transport,
			// The API never sends anybody elsewhere, least of all with a token.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Address is the API's, as given to New.
func (c *Client) Address() string { return c.base.String() }

func parseAddress(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case !strings.Contains(address, "://"):
		return nil, fmt.Errorf("the address %q has to begin with http:// or https://, such as %s", address, DefaultAddress)
	case err != nil:
		return nil, fmt.Errorf("the address %q is no URL such as %s", address, DefaultAddress)
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "",
		u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, fmt.Errorf("the address %q has to be http://HOST:PORT or https://HOST:PORT and nothing more", address)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

// isLoopback reports whether what is sent to the host stays on this machine.
func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// ReadToken reads the token of a file; see secure.ParseToken.
func ReadToken(file string) (string, error) {
	return parsed(file, secure.ParseToken)
}

// parsed reads a file. What is wrong with its content is told with its name.
func parsed[T any](file string, parse func([]byte) (T, error)) (value T, err error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return value, err
	}
	if value, err = parse(content); err != nil {
		return value, fmt.Errorf("%s: %w", file, err)
	}
	return value, nil
}

// maxAnswerBytes bounds what is read of one answer, but for backups.
const maxAnswerBytes = 256 << 20

// request is one exchange with the API.
type request struct {
	method, path string
	query        url.Values
	contentType  string
	body         []byte
}

// GetJSON gets a path of the API, such as /meshes/default/mirrors, and decodes
// the JSON of its answer. What the host refuses is *Error; a host that is not
// reached or not trusted is *ConnectError.
func (c *Client) GetJSON(ctx context.Context, path string, query url.Values, into any) error {
	_, err := c.doJSON(ctx, request{method: http.MethodGet, path: path, query: query}, into)
	return err
}

// doJSON decodes the JSON of the answer, and returns its header.
func (c *Client) doJSON(ctx context.Context, r request, into any) (http.Header, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, timeoutError(c.timeout))
	defer cancel()
	send := func() (*http.Response, error) {
		return c.send(ctx, r.method, r.path, r.query, r.contentType, bytes.NewReader(r.body), int64(len(r.body)))
	}
	resp, err := send()
	for err != nil {
		if !waited(ctx, err) {
			return nil, err
		}
		resp, err = send()
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := readLimited(resp.Body, maxAnswerBytes)
	if err != nil {
		return nil, c.connectError(ctx, err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return nil, fmt.Errorf("%s %s: the answer is not what a kuma-mirror host gives: %w", r.method, c.url(r.path, r.query), err)
	}
	return resp.Header, nil
}

// waited waits as long as a host says that has too much to do; false where it
// says nothing, or ctx ends before.
func waited(ctx context.Context, err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.retryAfter == 0 {
		return false
	}
	select {
	case <-time.After(e.retryAfter):
		return true
	case <-ctx.Done():
		return false
	}
}

// url is the address of a path, which is escaped where it has to be.
func (c *Client) url(path string, query url.Values) string {
	address := c.base.String() + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	return address
}

// send returns the response where its status is 2xx; the caller closes its
// body.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, contentType string, body io.Reader, length int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url(path, query), body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = length
	if length == 0 {
		req.Body = http.NoBody
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if contentType == backupType {
		// A host that refuses it need not read it, and may never come to an end.
		req.Header.Set("Expect", "100-continue")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "kuma-mirror")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.connectError(ctx, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	// What cannot be read of the reason must not hide the status.
	reason, _ := readLimited(resp.Body, 1<<20)
	return nil, c.refusal(resp, reason)
}

func readLimited(from io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("the answer is longer than %d MiB", limit>>20)
	}
	return data, err
}

// timeoutError is the cause of a context that a timeout of this long has ended.
type timeoutError time.Duration

func (e timeoutError) Error() string { return fmt.Sprintf("no answer within %s", time.Duration(e)) }

func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}
