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
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	"google.golang.org/protobuf/encoding/protojson"
)

// client speaks to Envoy, its admin API and the backends.
type client struct {
	http *http.Client
	// envoy and admin are base URLs.
	envoy, admin string

	mu sync.Mutex
	// sent counts the requests; answered those among the answers that were
	// primary's and right.
	sent, answered int
}

func newClient(envoy, admin string) *client {
	return &client{
		envoy: envoy, admin: admin,
		http: &http.Client{
			// Longer than any of Envoy's own limits would be an answer, too.
			Timeout: 5 * time.Second,
			// No proxy of the environment: everything is on this machine.
			Transport: &http.Transport{MaxIdleConnsPerHost: 16},
		},
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// outgoing is a request to send through Envoy.
type outgoing struct {
	method, path string
	id           string
	body         []byte
	// chunked sends the body without telling its length.
	chunked bool
}

func (o outgoing) digest() string {
	sum := sha256.Sum256(o.body)
	return hex.EncodeToString(sum[:])
}

// got reports whether a backend has received exactly o.
func (o outgoing) got(r Request) bool {
	return r.ID == o.id && r.Method == o.method && r.Path == o.path &&
		r.BodyBytes == int64(len(o.body)) && r.BodySHA256 == o.digest()
}

// reply is what came back.
type reply struct {
	status int
	// header is X-Backend-Name.
	header string
	// text is the body, body what it says.
	text string
	body struct {
		Backend    string `json:"backend"`
		BodyBytes  int64  `json:"body_bytes"`
		BodySHA256 string `json:"body_sha256"`
	}
	took time.Duration
}

// send sends one request through Envoy and waits for all of the answer. An
// answer that is not the primary's to this very request is an error.
func (c *client) send(ctx context.Context, o outgoing) (reply, error) {
	c.mu.Lock()
	c.sent++
	c.mu.Unlock()
	r, err := c.exchange(ctx, o)
	if err == nil {
		err = r.mistake(o)
	}
	if err != nil {
		return r, fmt.Errorf("%s %s: %w", o.method, o.path, err)
	}
	c.mu.Lock()
	c.answered++
	c.mu.Unlock()
	return r, nil
}

func (c *client) exchange(ctx context.Context, o outgoing) (reply, error) {
	var body io.Reader = bytes.NewReader(o.body)
	if o.chunked {
		body = io.MultiReader(body) // hides the length
	}
	if len(o.body) == 0 {
		body = http.NoBody
	}
	request, err := http.NewRequestWithContext(ctx, o.method, c.envoy+o.path, body)
	if err != nil {
		return reply{}, err
	}
	request.Header.Set(idHeader, o.id)
	begun := time.Now()
	response, err := c.http.Do(request)
	if err != nil {
		return reply{}, withoutURL(err)
	}
	text, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	r := reply{
		status: response.StatusCode,
		header: response.Header.Get(backendHeader),
		text:   strings.TrimSpace(string(text)),
		took:   time.Since(begun),
	}
	if err != nil {
		return r, err
	}
	if r.status == http.StatusOK {
		err = json.Unmarshal(text, &r.body)
	}
	return r, err
}

// mistake says what is wrong with the answer to o; nil if it is the primary's.
func (r reply) mistake(o outgoing) error {
	switch {
	case r.status != http.StatusOK:
		return fmt.Errorf("status %d: %.100s", r.status, r.text)
	case r.body.Backend != primaryName || r.header != primaryName:
		return fmt.Errorf("answered by %q (%s: %q)", r.body.Backend, backendHeader, r.header)
	case r.body.BodyBytes != int64(len(o.body)) || r.body.BodySHA256 != o.digest():
		return fmt.Errorf("of a body of %d bytes the primary got %d", len(o.body), r.body.BodyBytes)
	default:
		return nil
	}
}

// tally returns how many requests were sent so far, and how many of them the
// primary answered as it should.
func (c *client) tally() (sent, answered int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent, c.answered
}

// get returns the body of an answer of 200.
func (c *client) get(ctx context.Context, url string) ([]byte, error) {
	return c.call(ctx, http.MethodGet, url)
}

func (c *client) call(ctx context.Context, method, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: status %d: %.100s", method, url, response.StatusCode, body)
	}
	return body, nil
}

// inspect returns what a backend has got.
func (c *client) inspect(ctx context.Context, backendURL string) (requestLog, error) {
	var seen requestLog
	body, err := c.get(ctx, backendURL+inspectPath)
	if err != nil {
		return seen, err
	}
	return seen, json.Unmarshal(body, &seen)
}

// mirrorStats returns Envoy's stats of the mirror cluster without their common
// prefix, such as upstream_rq_total; none where there is no such cluster.
func (c *client) mirrorStats(ctx context.Context) (map[string]int, error) {
	prefix := "cluster." + mirrorName + "."
	body, err := c.get(ctx, c.admin+"/stats?filter="+url.QueryEscape("^cluster\\."+mirrorName+"\\.upstream_"))
	if err != nil {
		return nil, err
	}
	stats := map[string]int{}
	for line := range strings.Lines(string(body)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		// Histograms are no numbers, and not needed.
		if n, err := strconv.Atoi(value); err == nil {
			stats[strings.TrimPrefix(name, prefix)] = n
		}
	}
	return stats, nil
}

// settle waits until Envoy has no copy in flight any more and returns the
// stats then. Copies are asynchronous, but Envoy counts one as pending or
// active before the primary gets its request: whoever has an answer can rely
// on it.
func (c *client) settle(ctx context.Context) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		stats, err := c.mirrorStats(ctx)
		inFlight := stats["upstream_rq_active"] + stats["upstream_rq_pending_active"]
		switch {
		case err != nil && ctx.Err() == nil:
			return nil, err
		case err == nil && inFlight == 0:
			return stats, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%d copies are still in flight: %w", inFlight, ctx.Err())
		case <-tick.C:
		}
	}
}

// clusters returns Envoy's view of its upstreams.
func (c *client) clusters(ctx context.Context) ([]*adminv3.ClusterStatus, error) {
	body, err := c.get(ctx, c.admin+"/clusters?format=json")
	if err != nil {
		return nil, err
	}
	// Newer Envoys may say more than the protobuf knows.
	var all adminv3.Clusters
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, &all); err != nil {
		return nil, err
	}
	return all.GetClusterStatuses(), nil
}

// version returns Envoy's, such as 1.38.2.
func (c *client) version(ctx context.Context) (string, error) {
	body, err := c.get(ctx, c.admin+"/server_info")
	if err != nil {
		return "", err
	}
	var info adminv3.ServerInfo
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, &info); err != nil {
		return "", err
	}
	// revision/1.38.2/Clean/RELEASE/BoringSSL
	parts := strings.Split(info.GetVersion(), "/")
	if len(parts) < 2 {
		return info.GetVersion(), nil
	}
	return parts[1], nil
}

// withoutURL is an error of http.Client without the URL, which the message has
// already.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
