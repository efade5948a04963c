package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/kuma-mirror/kuma-mirror/standalone/serve/secure"
)

const (
	defaultXDSAddress = "127.0.0.1:5678"
	defaultAPIAddress = "127.0.0.1:5681"
	// apiOff is the --api-address that turns the API off.
	apiOff = "off"
)

// runOptions are the flags of run.
type runOptions struct {
	paths   []string
	dataDir string
	// guard has the addresses, too; its APIAddress is apiOff where there is
	// no API.
	guard secure.Options
	logs  logFlags
}

func newRunCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [-f DIR] [--data-dir DIR]",
		Short: "Serve the Envoys of all data planes, from files and over a REST API",
		Long: `Run serves each data plane's Envoy over xDS what Meshes, Dataplanes,
ExternalServices and TrafficRoutes say. They come from files (-f), over the REST
API, which keeps them in --data-dir, or both; a resource that a file holds cannot
be changed over the API.

A change is served within milliseconds, and only to the data planes it touches. A
file that is renamed to its place is read at once; one that is written in place, when
its writer is done: half a second after the last write (docs/resources.md#files).
At the start any mistake in a file ends run, with all mistakes listed. Later on a
file that turns bad is reported and keeps what it held before, while the other
files go on; a file that is deleted takes its resources with it. A write over the
API is answered when it is on the disk.

Both listeners are on loopback. To be reached from other machines they need TLS
(--tls-cert-file, --tls-key-file) and a proof of who calls: --token-file for the
API; --xds-token-file or --xds-client-ca-file for xDS. These files are read again
when they change. See docs/security.md.

The API also has /healthz, /readyz, /metrics and /log-level, and on loopback
/debug/pprof/.

Signals:
  SIGINT, SIGTERM  run takes no more requests, finishes those in flight, and ends
                   within 5 s. Another one ends it at once, unless it comes
                   within a second of the first. What was answered is on the disk
                   in any case.

When run ends, Envoys keep what they have and go on serving; they come back to it
by themselves.

Exit codes:
  0  ended by SIGINT or SIGTERM
  1  the resources are not valid, or a file, a store or an address cannot be used
  2  the command line is wrong`,
		Example: `  # Serve what the files of a directory and of those below it describe.
  kuma-mirror run -f conf/

  # Resources are written over the API, by kuma-mirror apply or kumactl.
  kuma-mirror run --data-dir /var/lib/kuma-mirror

  # Several files and directories, other ports, logs as JSON.
  kuma-mirror run -f conf/ -f /etc/mesh/routes.yaml --xds-address 127.0.0.1:15678 \
    --api-address 127.0.0.1:15681 --log-format json

  # For other machines.
  kuma-mirror run --data-dir /var/lib/kuma-mirror --api-address :5681 --xds-address :5678 \
    --tls-cert-file host.crt --tls-key-file host.key \
    --token-file tokens --xds-client-ca-file proxies-ca.crt`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, level, err := o.logs.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := o.check(); err != nil {
				return err
			}
			c, err := newComposition(cmd, o, log, level)
			if err == nil {
				err = c.run(cmd.Context())
			}
			if err != nil {
				return &failure{code: exitFailed, err: err}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.paths, "file", "f", nil, "file, or directory with *.yaml, *.yml and *.json files; can be repeated")
	flags.StringVar(&o.dataDir, "data-dir", "", "directory of the store for what comes over the API; without it the API changes nothing")
	flags.StringVar(&o.guard.APIAddress, "api-address", defaultAPIAddress, "host:port of the REST API, or "+apiOff)
	flags.StringVar(&o.guard.XDSAddress, "xds-address", defaultXDSAddress, "host:port that Envoys are served on")
	flags.StringVar(&o.guard.CertFile, "tls-cert-file", "", "certificate chain of both listeners, PEM; they then speak TLS")
	flags.StringVar(&o.guard.KeyFile, "tls-key-file", "", "key of --tls-cert-file, PEM")
	flags.StringVar(&o.guard.TokenFile, "token-file", "", "tokens that the API asks for, a line each: TOKEN [admin|reader [NAME]]")
	flags.StringVar(&o.guard.XDSTokenFile, "xds-token-file", "", "tokens that xDS asks for, a line each: TOKEN [MESH/DATAPLANE]")
	flags.StringVar(&o.guard.XDSClientCAFile, "xds-client-ca-file", "", "authorities whose client certificates xDS asks for, PEM")
	flags.BoolVar(&o.guard.Insecure, "insecure", false, "allow addresses that other machines can reach without TLS and authentication")
	o.logs.add(flags)
	return cmd
}

// check says what is wrong with the command line.
func (o *runOptions) check() error {
	if len(o.paths) == 0 && o.dataDir == "" {
		return errors.New("run needs resources: name files with -f DIR, a store for the API with --data-dir DIR, or both")
	}
	addresses := []error{checkAddress("--xds-address", o.guard.XDSAddress, defaultXDSAddress)}
	if o.guard.APIAddress == apiOff {
		o.guard.APIAddress = ""
	} else {
		addresses = append(addresses, checkAddress("--api-address", o.guard.APIAddress, defaultAPIAddress+" or "+apiOff))
	}
	if err := errors.Join(addresses...); err != nil {
		return err
	}
	return o.guard.Check()
}

func checkAddress(flag, address, such string) error {
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return fmt.Errorf("%s %q has to be host:port, such as %s", flag, address, such)
	}
	return nil
}

func listen(flag, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		_, port, _ := net.SplitHostPort(address)
		return nil, fmt.Errorf("port %s is taken, maybe by another kuma-mirror or a kuma-cp: stop what listens on %s, "+
			"or choose another port with %s", port, address, flag)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, address, err)
	}
	// The name localhost is what /etc/hosts makes of it.
	if secure.IsLoopback(address) && !secure.IsLoopback(l.Addr().String()) {
		_ = l.Close()
		return nil, fmt.Errorf("%s %s is %s, which is not on loopback; use 127.0.0.1", flag, address, l.Addr())
	}
	return l, nil
}

const (
	// apiDrain is how long the API's requests in flight have at the end.
	apiDrain = 3 * time.Second
	// endWithin bounds the whole end.
	endWithin = 4500 * time.Millisecond
)

// bounded runs f, whose context ends with ctx. From then on f has as long as
// within says, or until a second signal; what it is about then does not count.
func bounded(ctx context.Context, log *slog.Logger, within time.Duration, f func(context.Context) error) error {
	// main ends ctx on the first of these and hears no more of them; a signal
	// goes to every channel that asked for it.
	stops := make(chan os.Signal, 2)
	signal.Notify(stops, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stops)
	again, over := make(chan struct{}), make(chan struct{})
	defer close(over)
	go func() {
		if stoppedAgain(stops, over, time.Now) {
			close(again)
		}
	}()
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	late := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(within):
			close(late)
		case <-over:
		}
	})
	defer stop()
	select {
	case err := <-ended:
		return err
	case <-again:
		log.Warn("ending at once; requests in flight are cut")
		return nil
	case <-late:
		return fmt.Errorf("something is still busy %s after the signal to end; requests in flight are cut", within)
	}
}
