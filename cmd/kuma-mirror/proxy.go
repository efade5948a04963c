package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/internal/envoybin"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/bootstrap"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/envoy"
)

// envoyLogLevels are those of Envoy's --log-level.
var envoyLogLevels = []string{"trace", "debug", "info", "warn", "error", "critical", "off"}

func newProxyCommand() *cobra.Command {
	var o envoy.Options
	var security securityFlags
	var binary string
	var printOnly bool
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "proxy --dataplane NAME [-- ENVOY-ARGS]",
		Short: "Start the Envoy of one data plane and look after it",
		Long: `Proxy asks the host (kuma-mirror run) for the bootstrap of a data plane, starts
Envoy with it and looks after it. It waits for the host as long as it takes; once
Envoy runs, the host may go and come back.

An Envoy that ends by itself is started again; after more than 5 such ends in a
minute proxy gives up, with exit code 1 and Envoy's last lines.

Signals:
  SIGINT, SIGTERM  Envoy stops accepting connections, finishes what is in flight,
                   for --drain-time at most, and ends. Another one ends it at
                   once, unless it comes within a second of the first: timeout(1)
                   and some supervisors send two for one.
  SIGUSR1          is passed on: Envoy opens its log files again.
  SIGHUP           is passed on: Envoy notes and ignores it.

Where the host asks for TLS, name by --xds-ca-file who signs its certificate; where
it asks for a client certificate or a token, name those, too. The host's
certificate has to be for the name or IP address in --xds-address. The files are
read again when they change, and Envoy is not restarted for that.

Under systemd set KillMode=mixed, or systemd sends SIGTERM to Envoy, too, which
then ends without draining; and TimeoutStopSec to more than --drain-time and 5s.

Where networking.admin.port of the Dataplane is set, Envoy's admin API is on that
port of 127.0.0.1; else it is on a socket that only proxy itself uses.

Exit codes:
  0  ended by SIGINT or SIGTERM
  1  there is no such data plane, or Envoy cannot run
  2  the command line is wrong`,
		Example: `  # The Envoy of the data plane "web" in the mesh "default".
  kuma-mirror proxy --dataplane web

  # Another mesh and host; what follows -- goes to Envoy.
  kuma-mirror proxy --mesh shop --dataplane web --xds-address 127.0.0.1:15678 -- --concurrency 2

  # A host on another machine that asks for client certificates.
  kuma-mirror proxy --dataplane web --xds-address mirror.internal:5678 \
    --xds-ca-file ca.crt --xds-cert-file web.crt --xds-key-file web.key

  # Only show what Envoy would be started with.
  kuma-mirror proxy --dataplane web --print-bootstrap`,
		Args: func(cmd *cobra.Command, args []string) error {
			own := args
			if dash := cmd.ArgsLenAtDash(); dash >= 0 {
				own = args[:dash]
			}
			if len(own) > 0 {
				return fmt.Errorf("unexpected argument %q; arguments for Envoy go after --", own[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if o.Log, _, err = logs.logger(cmd.ErrOrStderr()); err != nil {
				return err
			}
			if err := oneOf("envoy-log-level", o.LogLevel, envoyLogLevels...); err != nil {
				return err
			}
			// "" is what a script with an unset variable gives.
			if o.Dataplane == "" {
				return errors.New("--dataplane is empty; it has to be the name of a Dataplane")
			}
			if o.Mesh == "" {
				return errors.New("--mesh is empty; it has to be the name of a Mesh")
			}
			if o.DrainTime < 0 {
				return fmt.Errorf("--drain-time %s has to be 0s or more", o.DrainTime)
			}
			if o.Security, err = security.security(o.XDSAddress); err != nil {
				return err
			}
			o.Args, o.Output = args, cmd.ErrOrStderr()
			if printOnly {
				err = printBootstrap(cmd, o)
			} else {
				err = runProxy(cmd.Context(), binary, o)
			}
			if err != nil {
				return &failure{code: exitFailed, err: err}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Dataplane, "dataplane", "", "name of the Dataplane")
	flags.StringVar(&o.Mesh, "mesh", api.DefaultMesh, "mesh of the Dataplane")
	flags.StringVar(&o.XDSAddress, "xds-address", defaultXDSAddress, "host:port of the host")
	flags.StringVar(&binary, "envoy", "", "path or name of Envoy (default: $ENVOY, the one that 'make envoy' got, or envoy on PATH)")
	flags.StringVar(&o.LogLevel, "envoy-log-level", "warn", strings.Join(envoyLogLevels, ", "))
	flags.DurationVar(&o.DrainTime, "drain-time", 10*time.Second, "how long requests in flight have to finish at the end; 0s ends them at once")
	flags.BoolVar(&printOnly, "print-bootstrap", false, "print Envoy's bootstrap as YAML and start nothing")
	security.add(flags)
	logs.add(flags)
	must(cmd.MarkFlagRequired("dataplane"))
	return cmd
}

// securityFlags say how proxy reaches its host.
type securityFlags struct{ ca, cert, key, token string }

// Environment variables that stand in for them.
const (
	envXDSCAFile    = "KUMA_MIRROR_XDS_CA_FILE"
	envXDSCertFile  = "KUMA_MIRROR_XDS_CERT_FILE"
	envXDSKeyFile   = "KUMA_MIRROR_XDS_KEY_FILE"
	envXDSTokenFile = "KUMA_MIRROR_XDS_TOKEN_FILE"
)

func (f *securityFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.ca, "xds-ca-file", "", "authorities of the host's certificate, PEM; the host then has to speak TLS (default: $"+envXDSCAFile+")")
	flags.StringVar(&f.cert, "xds-cert-file", "", "certificate chain to show to the host, PEM (default: $"+envXDSCertFile+")")
	flags.StringVar(&f.key, "xds-key-file", "", "key of --xds-cert-file, PEM (default: $"+envXDSKeyFile+")")
	flags.StringVar(&f.token, "xds-token-file", "", "file with the token to show to the host (default: $"+envXDSTokenFile+")")
}

// security returns what the flags and the environment say; the error is one of
// usage.
func (f *securityFlags) security(xdsAddress string) (envoy.Security, error) {
	s := envoy.Security{
		CAFile:    cmp.Or(f.ca, os.Getenv(envXDSCAFile)),
		CertFile:  cmp.Or(f.cert, os.Getenv(envXDSCertFile)),
		KeyFile:   cmp.Or(f.key, os.Getenv(envXDSKeyFile)),
		TokenFile: cmp.Or(f.token, os.Getenv(envXDSTokenFile)),
	}
	// A bootstrap that is printed is used elsewhere.
	for _, file := range []*string{&s.CAFile, &s.CertFile, &s.KeyFile, &s.TokenFile} {
		if *file == "" {
			continue
		}
		var err error
		if *file, err = filepath.Abs(*file); err != nil {
			return s, err
		}
	}
	return s, s.Check(xdsAddress)
}

func printBootstrap(cmd *cobra.Command, o envoy.Options) error {
	answer, err := envoy.Fetch(cmd.Context(), o.XDSAddress, o.Security, o.Mesh, o.Dataplane, o.Log)
	if err != nil {
		return err
	}
	config := envoy.BootstrapConfigOf(answer, o.XDSAddress)
	config.Security = o.Security
	b, err := envoy.NewBootstrap(config)
	if err != nil {
		return err
	}
	text, err := bootstrap.YAML(b)
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(text)
	return err
}

// runProxy runs Envoy until ctx ends, which the first SIGINT or SIGTERM does.
func runProxy(ctx context.Context, binary string, o envoy.Options) error {
	var err error
	if o.Binary, err = envoybin.Find(binary); err != nil {
		return err
	}
	passed := make(chan os.Signal, 4)
	// Without a list, Notify would ask for every signal.
	if len(passedSignals) > 0 {
		signal.Notify(passed, passedSignals...)
	}
	defer signal.Stop(passed)
	o.Signals = passed

	// main ends ctx on the first of these and hears no more of them; a signal
	// goes to every channel that asked for it.
	stops := make(chan os.Signal, 2)
	signal.Notify(stops, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stops)
	kill, ended := make(chan struct{}), make(chan struct{})
	o.Kill = kill
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		if stoppedAgain(stops, ended, time.Now) {
			close(kill)
		}
	}()
	defer func() {
		close(ended)
		<-counted
	}()
	return envoy.Run(ctx, o)
}

// oneStop is how long after the first signal others count as the same.
// coreutils' timeout signals its child and then its child's process group.
const oneStop = time.Second

// stoppedAgain waits for a signal that comes oneStop after the first or later,
// by the clock now. It returns false when ended is closed before.
func stoppedAgain(stops <-chan os.Signal, ended <-chan struct{}, now func() time.Time) bool {
	var first time.Time
	for {
		select {
		case <-ended:
			return false
		case <-stops:
		}
		switch at := now(); {
		case first.IsZero():
			first = at
		case at.Sub(first) >= oneStop:
			return true
		}
	}
}
