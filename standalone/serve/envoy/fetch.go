package envoy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
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
//
// It waits, too, for a host that it cannot agree with on TLS, for either side
// may still get its certificate, and for one that takes no token from this
// address for a while. The files of s have to be good at the start, and are read
// again while it waits.
func Fetch(ctx context.Context, xdsAddress string, s Security, mesh, dataplane string, log *slog.Logger) (*api.GetBootstrapResponse, error) {
	if _, _, err := splitAddress(xdsAddress); err != nil {
		return nil, err
	}
	files, err := s.watch()
	if err != nil {
		return nil, err
	}
	following, endFollowing := context.WithCancel(ctx)
	var follower sync.WaitGroup
	follower.Go(func() { files.run(following, log) })
	defer func() {
		endFollowing()
		follower.Wait()
	}()

	var listening atomic.Bool // whether something does, as far as is known
	var with shown
	var conn *grpc.ClientConn
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	delay := fetchMinDelay
	var reminded time.Time
	for {
		if now := files.now(); conn == nil || now != with {
			if conn != nil {
				_ = conn.Close()
			}
			if conn, err = dial(xdsAddress, now, &listening); err != nil {
				return nil, fmt.Errorf("xDS address %q: %w", xdsAddress, err)
			}
			with = now
		}
		callCtx, cancel := context.WithTimeout(ctx, fetchTimeout)
		answer, err := api.NewBootstrapServiceClient(conn).GetBootstrap(callCtx, &api.GetBootstrapRequest{Mesh: mesh, Dataplane: dataplane})
		cancel()
		waiting := "waiting for the host at " + xdsAddress
		switch status.Code(err) {
		case codes.OK:
			return answer, nil
		case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if listening.Load() {
				waiting += ", where something listens; see whether it is the host, and ask for the same TLS as it does: --xds-ca-file, --xds-cert-file"
			} else {
				waiting += "; start it with: kuma-mirror run -f DIR"
			}
		case codes.ResourceExhausted:
			// Others of this address have sent the wrong tokens.
			waiting += ", which takes no token from this address for a while; look for a proxy here whose token is wrong"
		case codes.Unimplemented:
			return nil, fmt.Errorf("what listens at %s is no kuma-mirror host", xdsAddress)
		default:
			return nil, fmt.Errorf("the host at %s: %s", xdsAddress, status.Convert(err).Message())
		}
		if time.Since(reminded) >= remindAfter {
			log.Warn(waiting, "reason", status.Convert(err).Message())
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

// dial prepares a connection, and notes in listening whether something does.
func dial(xdsAddress string, with shown, listening *atomic.Bool) (*grpc.ClientConn, error) {
	var dialer net.Dialer
	return grpc.NewClient("dns:///"+xdsAddress, append(with.dialOptions(),
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
	)...)
}
