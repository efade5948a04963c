// Package envoy starts an Envoy for a data plane of the standalone host and
// looks after it: its bootstrap, its restarts and its end.
package envoy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	base "github.com/kuma-mirror/kuma-mirror/standalone/build/bootstrap"
)

// Options of Run.
type Options struct {
	// Binary is the path of Envoy.
	Binary string
	// XDSAddress of the host, as host:port.
	XDSAddress string
	// Security of the connection to it.
	Security Security
	// Mesh and Dataplane say what the Envoy is.
	Mesh, Dataplane string
	// LogLevel of Envoy: trace, debug, info, warn, error, critical or off;
	// "" means warn.
	LogLevel string
	// DrainTime is how long requests in flight have to finish when Run's
	// context ends; 0 ends them at once.
	DrainTime time.Duration
	// Args are passed to Envoy after Run's own.
	Args []string
	// Output takes what Envoy writes to its standard output and error; nil
	// means os.Stderr.
	Output io.Writer
	// Ready is called each time an Envoy has its configuration and serves,
	// with its process id. It must not block. May be nil.
	Ready func(pid int)
	// Signals are passed on to Envoy; nil means none.
	Signals <-chan os.Signal
	// Kill, when closed, ends Envoy at once and without draining; nil means
	// never.
	Kill <-chan struct{}
	// Log of Run itself; nil means slog.Default().
	Log *slog.Logger
}

// configPatience is how long an Envoy may be without configuration before the
// user hears of it.
const configPatience = 5 * time.Second

// Run starts an Envoy for a data plane and keeps it running until ctx ends; then
// Envoy stops accepting connections, finishes what is in flight, and ends. That
// end is no error.
//
// Run waits for the host, without limit. It returns an error when the host
// does not know the data plane, when the admin port is taken, when Envoy cannot
// be started, or when Envoy ends by itself more than 5 times in a minute; until
// then it is started again. An Envoy that runs needs no host: it keeps what it
// has and comes back to the host by itself.
func Run(ctx context.Context, o Options) error {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Output == nil {
		o.Output = os.Stderr
	}
	if o.LogLevel == "" {
		o.LogLevel = "warn"
	}
	answer, err := Fetch(ctx, o.XDSAddress, o.Security, o.Mesh, o.Dataplane, o.Log)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	own, err := newDirectory()
	if err != nil {
		return fmt.Errorf("cannot create a directory for Envoy's bootstrap: %w", err)
	}
	defer own.remove()
	dir := own.path

	secrets, err := writeSecrets(dir, o.XDSAddress, o.Security)
	if err != nil {
		return err
	}
	following, endFollowing := context.WithCancel(ctx)
	var follower sync.WaitGroup
	follower.Go(func() { secrets.run(following, o.Log) })
	defer func() {
		endFollowing()
		follower.Wait()
	}()

	config := BootstrapConfigOf(answer, o.XDSAddress)
	config.Security, config.SecretsDir = o.Security, dir
	adminAt := newAdminClient("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(config.AdminPort))))
	if config.AdminPort == 0 {
		// Draining needs the admin API. A socket in a directory that only
		// this user can enter is as good as none to everybody else.
		config.AdminSocket = filepath.Join(dir, "admin.sock")
		adminAt = newAdminClient("unix", config.AdminSocket)
	} else if err := free(adminAt.address); err != nil {
		return fmt.Errorf("the admin port of %s is taken: %w; free it or change networking.admin.port",
			api.Key{Kind: api.KindDataplane, Mesh: o.Mesh, Name: o.Dataplane}, err)
	}
	file, err := writeBootstrap(dir, config)
	if err != nil {
		return err
	}

	args := append([]string{
		"--config-path", file,
		"--log-level", o.LogLevel,
		// Hot restart is not used; without it Envoys share no memory and need
		// no base ids.
		"--disable-hot-restart",
		// For listeners that the host takes away or changes.
		"--drain-time-s", strconv.Itoa(max(1, int(o.DrainTime.Seconds()))),
		"--drain-strategy", "immediate",
	}, o.Args...)
	output := &tail{next: o.Output, keep: 20}
	s := &supervisor{
		policy: policy{
			restarts: 5, window: time.Minute,
			delay: 100 * time.Millisecond, maxDelay: 5 * time.Second,
			drain: o.DrainTime, terminate: 5 * time.Second,
		},
		command: func() *exec.Cmd {
			cmd := exec.Command(o.Binary, args...)
			cmd.Stdout, cmd.Stderr = output, output
			cmd.ExtraFiles = []*os.File{own.lock}
			return cmd
		},
		lastLines: output.String,
		started: func(ctx context.Context, pid int) {
			awaitReady(ctx, adminAt, pid, o)
		},
		drain:   adminAt.drain,
		forward: o.Signals,
		kill:    o.Kill,
		log:     o.Log,
	}
	return s.run(ctx)
}

// BootstrapConfigOf returns what the host answered as the input of NewBootstrap.
func BootstrapConfigOf(answer *api.GetBootstrapResponse, xdsAddress string) BootstrapConfig {
	return BootstrapConfig{
		NodeID:      answer.GetNodeId(),
		NodeCluster: answer.GetNodeCluster(),
		XDSAddress:  xdsAddress,
		AdminPort:   answer.GetAdminPort(),
	}
}

func awaitReady(ctx context.Context, a *admin, pid int, o Options) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(configPatience)
	for !a.ready(ctx) {
		select {
		case <-ctx.Done():
			return
		case <-late:
			o.Log.Warn("Envoy runs but has no configuration yet", "pid", pid, "host", o.XDSAddress)
		case <-tick.C:
		}
	}
	o.Log.Info("Envoy is ready", "pid", pid, "mesh", o.Mesh, "dataplane", o.Dataplane, "admin", a.address)
	if o.Ready != nil {
		o.Ready(pid)
	}
}

func writeBootstrap(dir string, c BootstrapConfig) (string, error) {
	b, err := NewBootstrap(c)
	if err != nil {
		return "", err
	}
	text, err := base.YAML(b)
	if err != nil {
		return "", fmt.Errorf("cannot write Envoy's bootstrap: %w", err)
	}
	file := filepath.Join(dir, "bootstrap.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", fmt.Errorf("cannot write Envoy's bootstrap: %w", err)
	}
	return file, nil
}

// free reports whether nobody listens on the address.
func free(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}
