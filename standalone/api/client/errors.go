package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
)

// Error is what the host answers where it refuses or fails.
type Error struct {
	// Status is the HTTP status, 300 to 599.
	Status int
	// Title says what failed, Detail why; one of them may be empty.
	Title, Detail string
	// Violations are all the mistakes in what was sent.
	Violations api.Violations
	// Missing is the resource that the host has not, as KIND/MESH/NAME or
	// Mesh/NAME; empty where the error is another.
	Missing string
	// Stored is what a Restore without force would have replaced.
	Stored catalog.Counts
	// Hint says what to do; may be empty.
	Hint string

	// retryAfter is how long to wait before the same is asked again; 0 where
	// that would be of no use.
	retryAfter time.Duration
}

// Error gives title, detail and hint on a line, and then a line for each
// mistake.
func (e *Error) Error() string {
	said := e.Title
	if e.Detail != "" && e.Detail != e.Title {
		if said != "" {
			said += ": "
		}
		said += e.Detail
	}
	if said == "" {
		said = fmt.Sprintf("the host answers %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.Hint != "" {
		said += "; " + e.Hint
	}
	for _, v := range e.Violations {
		said += "\n  " + v.String()
	}
	return said
}

// documentNumber is what an answer calls one of several documents.
var documentNumber = regexp.MustCompile(`^[a-z]+#([0-9]+): `)

// locate gives the mistakes the source and the name of the resource they are
// in, of those that were sent.
func (e *Error) locate(sent []*api.Resource) {
	for i := range e.Violations {
		v := &e.Violations[i]
		var r *api.Resource
		if len(sent) == 1 {
			r = sent[0]
		}
		if m := documentNumber.FindStringSubmatch(v.Message); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil || n < 1 || n > len(sent) {
				continue
			}
			r = sent[n-1]
			v.Message = v.Message[len(m[0]):]
		}
		if r == nil {
			continue
		}
		v.Source = r.Source
		if rest, ok := strings.CutPrefix(v.Message, r.Key().String()+": "); ok {
			v.Object, v.Message = r.Key().String(), rest
		}
	}
}

// IsNotFound reports whether the host has no such resource. A 404 of another
// server, or of a path that the host has not, says nothing of that.
func IsNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound && e.Missing != ""
}

// ConnectError is a host that is not reached, or not to be trusted, or that
// does not answer in time.
type ConnectError struct {
	// Address of the API.
	Address string
	// Err is what went wrong, Hint what to do; the hint may be empty.
	Err  error
	Hint string
}

func (e *ConnectError) Error() string {
	s := fmt.Sprintf("%s: %s", e.Address, e.Err)
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

func (e *ConnectError) Unwrap() error { return e.Err }

// refusal is the error of an answer that is not 2xx.
func (c *Client) refusal(resp *http.Response, body []byte) error {
	e := &Error{}
	if isJSON(resp.Header.Get("Content-Type")) {
		var answer struct {
			Title, Detail, Missing string
			Stored                 catalog.Counts
			InvalidParameters      []struct{ Field, Reason string } `json:"invalid_parameters"`
		}
		// Where this is not what it says, the status has to do.
		_ = json.Unmarshal(body, &answer)
		e.Title, e.Detail, e.Missing, e.Stored = answer.Title, answer.Detail, answer.Missing, answer.Stored
		for _, p := range answer.InvalidParameters {
			e.Violations = append(e.Violations, api.Violation{Path: p.Field, Message: p.Reason})
		}
	} else if text := strings.TrimSpace(string(body)); len(text) < 300 && !strings.Contains(text, "<") {
		e.Detail = text
	}
	e.Status = resp.StatusCode
	switch e.Status {
	case http.StatusUnauthorized:
		e.Hint = "name the file with the token by --token-file or KUMA_MIRROR_TOKEN_FILE"
		if c.token != "" {
			e.Hint = "the token of --token-file (or KUMA_MIRROR_TOKEN_FILE) is not one that this host takes"
		}
	case http.StatusForbidden:
		e.Hint = "use a token that may do this: --token-file or KUMA_MIRROR_TOKEN_FILE"
	case http.StatusNotFound:
		if e.Missing == "" {
			e.Hint = "see whether that is the address of a kuma-mirror host, and all of it: --address or KUMA_MIRROR_ADDRESS"
		}
	case http.StatusServiceUnavailable:
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
			e.retryAfter = time.Duration(seconds) * time.Second
		}
	case http.StatusBadRequest:
		// The very words of Go's server, which knows no other way to say it.
		if c.base.Scheme == "http" && strings.Contains(e.Detail, "HTTP request to an HTTPS server") {
			e.Detail, e.Hint = "the host speaks TLS", "use --address https://"+c.base.Host
		}
	}
	if e.Title == "" && e.Detail == "" {
		e.Detail = fmt.Sprintf("%s answers %s", c.Address(), resp.Status)
	}
	return e
}

// connectError explains why an exchange did not come to an answer.
func (c *Client) connectError(ctx context.Context, err error) error {
	e := &ConnectError{Address: c.Address(), Err: err}
	// The method and the address are in the way of what happened.
	if sent := (*url.Error)(nil); errors.As(err, &sent) {
		e.Err = sent.Err
	}
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		name     *net.DNSError
		alert    tls.AlertError
	)
	var timeout timeoutError
	switch {
	case errors.As(context.Cause(ctx), &timeout):
		e.Err = timeout
		e.Hint = "see whether the host is well, or allow more with --timeout"
	case ctx.Err() != nil:
		return context.Cause(ctx) // which names the signal
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Err = errors.New("nothing listens there")
		e.Hint = "start the host with 'kuma-mirror run --data-dir DIR', or say where it is with --address or KUMA_MIRROR_ADDRESS"
	case errors.As(err, &name):
		e.Hint = "say where the host is with --address or KUMA_MIRROR_ADDRESS"
	case errors.Is(err, http.ErrSchemeMismatch):
		e.Err = errors.New("the host does not speak TLS")
		e.Hint = "use --address http://" + c.base.Host
	case errors.As(err, &unknown):
		e.Err = errors.New("the host's certificate is signed by nobody that this machine trusts")
		e.Hint = "name the file with the certificate that signed it by --ca-cert-file or KUMA_MIRROR_CA_CERT_FILE"
	case errors.As(err, &hostname):
		e.Err = fmt.Errorf("the host's certificate is not for %s: %w", c.base.Hostname(), hostname)
		e.Hint = "use a name or address of the certificate in --address"
	case errors.As(err, &invalid):
		e.Err = fmt.Errorf("the host's certificate is not valid: %w", invalid)
	case errors.As(err, &alert):
		e.Hint = "the host ended the TLS handshake"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		e.Hint = "the host ended the connection; its log may say why"
	}
	return e
}
