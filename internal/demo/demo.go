// Package demo is the first thing a user sees of mirroring: two backends, the
// host and an Envoy on one machine, shown request by request (Run) or checked
// without anyone watching (Check). The resources are those of examples/demo.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/envoy"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
)

// Names of the backends, which they answer and log with.
const (
	primaryName = "primary"
	shadowName  = "shadow"
)

// Options of Run and Check.
type Options struct {
	Ports Ports
	// Envoy is the path of the binary.
	Envoy string
	// Backend is the command, with its arguments, that runs one backend until
	// its standard input is closed: ServeBackend behind the flags --name,
	// --port and --exit-with-parent.
	Backend []string
	// Stdout takes what the user is to see, Stderr what Envoy, the backends
	// and the progress say on the side.
	Stdout, Stderr io.Writer
	// Log of the host and of Envoy's supervisor; nil means slog.Default().
	Log *slog.Logger

	// For tests: in place of those of examples/demo, and of all.
	resources func(Ports) ([]*api.Resource, error)
	checks    []check
}

// fixed is a source of resources that never change.
type fixed []*api.Resource

func (f fixed) Run(ctx context.Context, update func([]*api.Resource)) error {
	update(f)
	<-ctx.Done()
	return nil
}

// task is something that runs until it is stopped or fails.
type task struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid after done
}

func startTask(ctx context.Context, run func(context.Context) error) *task {
	// Everything is stopped in order, so not by the end of ctx.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &task{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.err = run(ctx)
	}()
	return t
}

func (t *task) stop() {
	t.cancel()
	<-t.done
}

// environment is a running demo.
type environment struct {
	ports           Ports
	client          *client
	primary, shadow *process
	host, envoy     *task
	// version of Envoy.
	version string
	// stops, to be called last to first.
	stops []func()
}

// start starts everything on o.Ports, which have been reserved, and returns when
// Envoy takes requests. narrate is
// told what has been started, print gets the backends' logs. When ctx ends
// first, its error is returned and nothing is left running.
func start(ctx context.Context, o Options, narrate func(what, where, why string), print func(line string)) (_ *environment, err error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.resources == nil {
		o.resources = resources
	}
	stderr := &lockedWriter{w: o.Stderr}
	e := &environment{ports: o.Ports}
	defer func() {
		if err != nil {
			e.stop()
		}
	}()
	all, err := o.resources(e.ports)
	if err != nil {
		return nil, err
	}
	e.client = newClient(localURL(e.ports.Listener), localURL(e.ports.Admin))
	e.stops = append(e.stops, e.client.close)

	if e.primary, err = startBackend(ctx, o.Backend, primaryName, e.ports.Primary, print, stderr); err != nil {
		return nil, err
	}
	e.stops = append(e.stops, e.primary.stop)
	narrate("primary backend", e.primary.url, "the service that answers")
	if e.shadow, err = startBackend(ctx, o.Backend, shadowName, e.ports.Shadow, print, stderr); err != nil {
		return nil, err
	}
	e.stops = append(e.stops, e.shadow.stop)
	narrate("shadow backend", e.shadow.url, "the service that gets copies")

	xds := net.JoinHostPort(loopback, strconv.Itoa(e.ports.XDS))
	listener, err := net.Listen("tcp4", xds)
	if err != nil {
		return nil, err
	}
	server := host.New(host.Options{Source: fixed(all), Log: o.Log})
	e.host = startTask(ctx, func(ctx context.Context) error { return server.Serve(ctx, listener) })
	e.stops = append(e.stops, e.host.stop)
	narrate("host", xds, "turns the policy into Envoy's configuration")

	begun := time.Now()
	ready := make(chan int, 1)
	e.envoy = startTask(ctx, func(ctx context.Context) error {
		return envoy.Run(ctx, envoy.Options{
			Binary: o.Envoy, XDSAddress: xds, Mesh: meshName, Dataplane: proxyName,
			// A shadow that is gone is no news here.
			LogLevel: "error", Output: stderr, DrainTime: time.Second, Log: o.Log,
			Ready: func(pid int) {
				select {
				case ready <- pid:
				default: // started again later on
				}
			},
		})
	})
	e.stops = append(e.stops, e.envoy.stop)
	select {
	case <-ready:
	case <-e.envoy.done:
	case <-e.host.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(startTimeout):
		return nil, fmt.Errorf("waited %s for Envoy (%s) to be ready", startTimeout, o.Envoy)
	}
	if err := e.broken(); err != nil {
		return nil, err
	}
	if err := e.awaitListener(ctx); err != nil {
		return nil, err
	}
	if e.version, err = e.client.version(ctx); err != nil {
		return nil, err
	}
	narrate("Envoy "+e.version, e.client.envoy, fmt.Sprintf("ready after %.1f s; admin API %s", time.Since(begun).Seconds(), e.client.admin))
	return e, nil
}

// startTimeout is how long Envoy may take; a fraction of a second is usual.
const startTimeout = 30 * time.Second

func localURL(port int) string { return "http://localhost:" + strconv.Itoa(port) }

// broken returns why the demo cannot go on; nil if it can.
func (e *environment) broken() error {
	select {
	case <-e.envoy.done:
		if e.envoy.err != nil {
			return e.envoy.err
		}
		return errors.New("the Envoy process ended by itself")
	case <-e.host.done:
		return fmt.Errorf("the host that configures Envoy: %w", e.host.err)
	default:
		return nil
	}
}

// awaitListener returns when Envoy listens. It is ready as soon as it has heard
// of its listeners, even if it could not open them.
func (e *environment) awaitListener(ctx context.Context) error {
	address := net.JoinHostPort(loopback, strconv.Itoa(e.ports.Listener))
	var dialer net.Dialer
	late := time.After(5 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.envoy.done:
			return e.broken()
		case <-late:
			return fmt.Errorf("though Envoy runs, nobody listens: %w", err)
		case <-tick.C:
		}
	}
}

// stop ends everything that was started, Envoy first. It may be called twice.
func (e *environment) stop() {
	for i := len(e.stops) - 1; i >= 0; i-- {
		e.stops[i]()
	}
	e.stops = nil
}

// Check starts the demo, runs the test cases and the verifications of the
// documentation on it, and ends it. The error says why there is no Report; a
// check that fails is no error, but Report.Passed is then false.
func Check(ctx context.Context, o Options) (*Report, error) {
	begun := time.Now()
	var err error
	if o.Ports, err = o.Ports.reserve(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, checkTimeout, fmt.Errorf("the check is not done after %s", checkTimeout))
	defer cancel()
	progress := func(string) {}
	if isTerminal(o.Stderr) {
		progress = func(what string) { _, _ = fmt.Fprintf(o.Stderr, "\r\x1b[K%s", what) }
		defer progress("")
	}
	progress("starting two backends, the host and Envoy")
	e, err := start(ctx, o, func(string, string, string) {}, func(string) {})
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	defer e.stop()

	all := o.checks
	if all == nil {
		all = checks()
	}
	_, _, outside := binomialRange(samples, 0.5, chance)
	report := &Report{Envoy: e.version, Passed: true, ChanceOfFalseFailure: 2 * outside}
	t := &trial{environment: e}
	for i, c := range all {
		progress(fmt.Sprintf("%d of %d: %s", i+1, len(all), c.name))
		seen, err := c.run(ctx, t)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if broken := e.broken(); broken != nil {
			return nil, broken
		}
		report.add(c, seen, err)
		report.Passed = report.Passed && err == nil
	}
	report.Seconds = time.Since(begun).Seconds()
	return report, nil
}

// lockedWriter takes what several processes write.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
