package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/files"
	"github.com/kuma-mirror/kuma-mirror/standalone/host"
	"github.com/kuma-mirror/kuma-mirror/standalone/mesh"
)

const defaultXDSAddress = "127.0.0.1:5678"

func newRunCommand() *cobra.Command {
	var paths []string
	var address string
	var insecure bool
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "run -f DIR",
		Short: "Serve the Envoys of all data planes from files, and follow the files",
		Long: `Run reads Meshes, Dataplanes, ExternalServices and TrafficRoutes from files and
serves each data plane's Envoy over xDS. It goes on following the files: a change
is served within milliseconds, and only to the data planes it touches.

At the start any mistake in a file ends run, with all mistakes listed. Later on a
file that turns bad is reported and keeps what it held before, while the other
files go on; a file that is deleted takes its resources with it.

When run ends, Envoys keep what they have and go on serving; they come back to it
by themselves.

Exit codes:
  0  ended by SIGINT or SIGTERM
  1  the resources are not valid, or the address cannot be served
  2  the command line is wrong`,
		Example: `  # Serve what the files of a directory and of those below it describe.
  kuma-mirror run -f conf/

  # Several files and directories, another port, logs as JSON.
  kuma-mirror run -f conf/ -f /etc/mesh/routes.yaml --xds-address 127.0.0.1:15678 --log-format json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			loopback, err := isLoopback(address)
			if err != nil {
				return err
			}
			if !loopback && !insecure {
				return fmt.Errorf("--xds-address %s can be reached from other machines, and there is neither TLS nor "+
					"authentication yet (a later version brings both): anybody there could read the configuration; "+
					"use an address of 127.0.0.0/8 or ::1, or add --insecure where the network is trusted", address)
			}
			if !loopback {
				log.Warn("serving xDS without TLS and authentication to whoever reaches the address", "address", address)
			}
			source, err := files.Open(paths, files.Options{Check: mesh.Validate, Log: log})
			if wrong := violationsOf(err); len(wrong) > 0 {
				for _, v := range wrong {
					_, _ = fmt.Fprintln(cmd.ErrOrStderr(), v)
				}
				return &failure{code: exitFailed, err: fmt.Errorf("nothing is served: %s in the resources", count(len(wrong), "error"))}
			}
			defer func() { _ = source.Close() }()
			listener, err := listen(address)
			if err != nil {
				return &failure{code: exitFailed, err: err}
			}
			greet(cmd.OutOrStdout(), paths, listener.Addr().String(), source.Resources())
			if err := host.New(host.Options{Source: source, Log: log}).Serve(cmd.Context(), listener); err != nil {
				return &failure{code: exitFailed, err: err}
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVarP(&paths, "file", "f", nil, "file, or directory with *.yaml, *.yml and *.json files; can be repeated")
	cmd.Flags().StringVar(&address, "xds-address", defaultXDSAddress, "host:port that Envoys are served on")
	cmd.Flags().BoolVar(&insecure, "insecure", false, "allow an --xds-address that other machines can reach, without TLS and authentication")
	logs.add(cmd.Flags())
	must(cmd.MarkFlagRequired("file"))
	return cmd
}

// greet tells what is served and what to do next.
func greet(w io.Writer, paths []string, address string, resources []*api.Resource) {
	dataplanes := mesh.New(resources).Dataplanes()
	_, _ = fmt.Fprintf(w, "Serving xDS on %s for %s of %s\n", address, count(len(dataplanes), "data plane"), strings.Join(paths, ", "))
	if len(dataplanes) == 0 {
		_, _ = fmt.Fprintln(w, "Add a Dataplane to the files to have something to serve.")
		return
	}
	var line string
	for i, key := range dataplanes {
		if i == 0 || key.Mesh != dataplanes[i-1].Mesh {
			line = "  mesh " + key.Mesh + ": " + key.Name
		} else {
			line += ", " + key.Name
		}
		if i+1 == len(dataplanes) || dataplanes[i+1].Mesh != key.Mesh {
			_, _ = fmt.Fprintln(w, line)
		}
	}
	example := caller(resources, dataplanes)
	command := "  kuma-mirror proxy --dataplane " + example.Name
	if example.Mesh != api.DefaultMesh {
		command += " --mesh " + example.Mesh
	}
	if at := dialable(address); at != defaultXDSAddress {
		command += " --xds-address " + at
	}
	_, _ = fmt.Fprintf(w, "Start the Envoy of one of them in another terminal:\n%s\n", command)
}

// dialable is where this machine reaches what listens on address.
func dialable(address string) string {
	name, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(name); err == nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

// caller is the first data plane with outbounds, where there is one.
func caller(resources []*api.Resource, dataplanes []api.Key) api.Key {
	calls := map[api.Key]bool{}
	for _, r := range resources {
		if d, ok := r.Spec.(*api.Dataplane); ok && len(d.GetNetworking().GetOutbound()) > 0 {
			calls[r.Key()] = true
		}
	}
	for _, key := range dataplanes {
		if calls[key] {
			return key
		}
	}
	return dataplanes[0]
}

// isLoopback reports whether only this machine reaches the address.
func isLoopback(address string) (bool, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return false, fmt.Errorf("--xds-address %q has to be host:port, such as %s", address, defaultXDSAddress)
	}
	return name == "localhost" || net.ParseIP(name).IsLoopback(), nil
}

func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		_, port, _ := net.SplitHostPort(address)
		return nil, fmt.Errorf("port %s is taken, maybe by another kuma-mirror or a kuma-cp: stop what listens on %s, "+
			"or choose another port with --xds-address", port, address)
	}
	if err != nil {
		return nil, fmt.Errorf("--xds-address %s: %w", address, err)
	}
	return l, nil
}

// logFlags are the flags of commands that log.
type logFlags struct{ level, format string }

func (f *logFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.level, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&f.format, "log-format", "text", "text or json")
}

func (f *logFlags) logger(w io.Writer) (*slog.Logger, error) {
	if err := oneOf("log-level", f.level, "debug", "info", "warn", "error"); err != nil {
		return nil, err
	}
	var level slog.Level
	must(level.UnmarshalText([]byte(f.level)))
	if err := oneOf("log-format", f.format, "text", "json"); err != nil {
		return nil, err
	}
	options := &slog.HandlerOptions{Level: level}
	if f.format == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}
