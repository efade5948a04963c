package envoy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// admin is the admin API of one Envoy.
type admin struct {
	network, address string
	client           *http.Client
}

func newAdminClient(network, address string) *admin {
	var dialer net.Dialer
	return &admin{network: network, address: address, client: &http.Client{
		Timeout: 2 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, address)
			},
		},
	}}
}

func (a *admin) do(ctx context.Context, method, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://envoy"+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		var in *url.Error // repeats the whole address
		if errors.As(err, &in) {
			err = in.Err
		}
		return "", fmt.Errorf("the admin API: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s %s answered %s", method, path, resp.Status)
	}
	return string(body), nil
}

// ready reports whether Envoy has all of its first configuration and serves.
func (a *admin) ready(ctx context.Context) bool {
	_, err := a.do(ctx, http.MethodGet, "/ready")
	return err == nil
}

// drain stops Envoy from accepting connections and returns when nothing is in
// flight any more, or when ctx ends.
//
// Plain drain_listeners closes the listening sockets at once and leaves open
// connections alone. Its graceful form would go on accepting until Envoy's
// drain time ends, and then there is always a request that has just begun.
// After healthcheck/fail the connection manager closes each connection with
// the answer it is working on.
func (a *admin) drain(ctx context.Context) error {
	for _, path := range []string{"/healthcheck/fail", "/drain_listeners"} {
		if _, err := a.do(ctx, http.MethodPost, path); err != nil {
			return err
		}
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	busy := 0
	for {
		now, err := a.inFlight(ctx)
		switch {
		case err == nil && now == 0:
			return nil
		case err == nil:
			busy = now
		case ctx.Err() == nil:
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d requests or connections are still active", busy)
		case <-tick.C:
		}
	}
}

// activity picks the gauges that inFlight adds up; Envoy applies it.
const activity = `^(http\..*\.downstream_(cx_active|rq_active|cx_tx_bytes_buffered)|listener\..*\.downstream_cx_active)$`

func (a *admin) inFlight(ctx context.Context) (int, error) {
	stats, err := a.do(ctx, http.MethodGet, "/stats?filter="+url.QueryEscape(activity))
	if err != nil {
		return 0, err
	}
	return countInFlight(stats), nil
}

// countInFlight reads the gauges of activity: requests, answers not yet written
// out, and connections that carry something else than HTTP. Idle HTTP
// connections do not count.
func countInFlight(stats string) int {
	var requests, unwritten, http, all int
	lines := bufio.NewScanner(strings.NewReader(stats))
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), ": ")
		n, err := strconv.Atoi(value)
		if !ok || err != nil || strings.HasPrefix(name, "http.admin.") || strings.HasPrefix(name, "listener.admin.") {
			continue
		}
		switch {
		case strings.HasSuffix(name, ".downstream_rq_active"):
			requests += n
		case strings.HasSuffix(name, ".downstream_cx_tx_bytes_buffered"):
			unwritten += min(n, 1)
		case strings.HasPrefix(name, "http."):
			http += n
		case !strings.Contains(name, ".worker_"): // a listener, not its share of one worker
			all += n
		}
	}
	return requests + unwritten + max(0, all-http)
}
