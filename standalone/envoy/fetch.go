package envoy

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
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
	if _, _, err := splitAddress(xdsAddress); err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("dns:///"+xdsAddress,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// A proxy of the environment (http_proxy) is for the traffic of users.
		grpc.WithNoProxy(),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: fetchMinDelay, Multiplier: 1.6, Jitter: 0.2, MaxDelay: fetchMaxDelay},
			MinConnectTimeout: fetchTimeout,
		}))
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
			log.Warn("waiting for the host at "+xdsAddress+"; start it with: kuma-mirror run -f DIR",
				"reason", status.Convert(err).Message())
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
