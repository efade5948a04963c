package envoy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/secure"
)

const (
	fetchTimeout  = 2 * time.Second
	fetchMinDelay = 100 * time.Millisecond
	fetchMaxDelay = time.Second
	// remindAfter is how often the user hears that the host is still missing.
	remindAfter = 10 * time.Second
)

// Fetch asks the host at xdsAddress for the bootstrap of a data plane. While
// nobody answers there it waits, says so to log and tries again until ctx
// ends; then it returns ctx.Err(). Any answer that is a refusal, such as for an
// unknown data plane, is an error at once.
func Fetch(ctx context.Context, xdsAddress, mesh, dataplane string, log *slog.Logger) (*api.GetBootstrapResponse, error) {
	return FetchSecurely(ctx, xdsAddress, Security{}, mesh, dataplane, log)
}

// FetchSecurely is Fetch from a host that asks for TLS, certificates or tokens. It
// waits, too, for one that it cannot agree with on TLS, for either side may
// still get its certificate.
func FetchSecurely(ctx context.Context, xdsAddress string, s Security, mesh, dataplane string, log *slog.Logger) (*api.GetBootstrapResponse, error) {
	if _, _, err := splitAddress(xdsAddress); err != nil {
		return nil, err
	}
	transport, err := s.dialTLS()
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	var listening atomic.Bool // whether something does, as far as is known
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		// A proxy of the environment (http_proxy) is for the traffic of users.
		grpc.WithNoProxy(),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: fetchMinDelay, Multiplier: 1.6, Jitter: 0.2, MaxDelay: fetchMaxDelay},
			MinConnectTimeout: fetchTimeout,
		}),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, "tcp", address)
			listening.Store(err == nil)
			return conn, err
		}),
	}
	if s.TokenFile != "" {
		token, err := secure.ReadToken(s.TokenFile)
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithPerRPCCredentials(bearer(token)))
	}
	conn, err := grpc.NewClient("dns:///"+xdsAddress, options...)
	if err != nil {
		return nil, fmt.Errorf("xDS address %q: %w", xdsAddress, err)
	}
	defer func() { _ = conn.Close() }()
	client := api.NewBootstrapServiceClient(conn)

	delay := fetchMinDelay
	var reminded time.Time
	for {
		callCtx, cancel := context.WithTimeout(ctx, fetchTimeout)
		answer, err := client.GetBootstrap(callCtx, &api.GetBootstrapRequest{Mesh: mesh, Dataplane: dataplane})
		cancel()
		switch status.Code(err) {
		case codes.OK:
			return answer, nil
		case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		case codes.Unimplemented:
			return nil, fmt.Errorf("what listens at %s is no kuma-mirror host", xdsAddress)
		default:
			return nil, fmt.Errorf("the host at %s: %s", xdsAddress, status.Convert(err).Message())
		}
		if time.Since(reminded) >= remindAfter {
			what := "waiting for the host at " + xdsAddress + "; start it with: kuma-mirror run -f DIR"
			if listening.Load() {
				what = "waiting for the host at " + xdsAddress + ", where something listens; see whether it is the host, and ask for the same TLS as it does: --xds-ca-file, --xds-cert-file"
			}
			log.Warn(what, "reason", status.Convert(err).Message())
			reminded = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(delay):
		}
		delay = min(2*delay, fetchMaxDelay)
	}
}
