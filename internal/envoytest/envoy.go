package envoytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"github.com/onsi/ginkgo/v2"
	"google.golang.org/protobuf/encoding/protojson"
	"sigs.k8s.io/yaml"

	"github.com/kuma-mirror/kuma-mirror/internal/child"
)

const (
	// readyTimeout covers the 15 s that Envoy waits for a control plane that
	// does not answer.
	readyTimeout = 30 * time.Second
	stopTimeout  = 10 * time.Second
	// pollInterval is how often a starting Envoy is looked at.
	pollInterval = 10 * time.Millisecond
)

// Options are what an Envoy is started with.
type Options struct {
	// Binary is the path of Envoy, see Binary and Default; required.
	Binary string
	// Config is the bootstrap as YAML or JSON. Without `admin` it gets one on
	// a free port of 127.0.0.1. Ports of 0 are fine: see AdminAddress and
	// ListenerPort.
	Config []byte
	// Bootstrap is used in place of an empty Config.
	Bootstrap *bootstrapv3.Bootstrap
	// Concurrency is the number of worker threads; 0 means 1.
	Concurrency int
	// Args are added to the command line, e.g. --log-level debug.
	Args []string
}

// Envoy is a running Envoy. Its methods may be called concurrently.
type Envoy struct {
	process *child.Process
	dir     string
	admin   string
	logs    *logs
	client  *http.Client
	wanted  atomic.Bool // Stop or Kill was called
	cleanup sync.Once
}

// Start starts an Envoy and waits, at most 30 s, until its /ready says so. The
// caller has to Stop or Kill it; on Linux it also ends when this process does.
// An error has Envoy's log.
func Start(ctx context.Context, options Options) (_ *Envoy, err error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()

	config := options.Config
	if len(config) == 0 && options.Bootstrap != nil {
		if config, err = protojson.Marshal(options.Bootstrap); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "envoy-")
	if err != nil {
		return nil, err
	}
	e := &Envoy{
		dir:    dir,
		logs:   &logs{},
		client: &http.Client{Transport: &http.Transport{}},
	}
	configFile, adminFile := filepath.Join(dir, "envoy.yaml"), filepath.Join(dir, "admin-address")
	if err := os.WriteFile(configFile, config, 0o600); err != nil {
		e.release()
		return nil, err
	}
	args := []string{
		"--config-path", configFile,
		"--admin-address-path", adminFile,
		"--concurrency", strconv.Itoa(max(1, options.Concurrency)),
		// Hot restart would make all Envoys of the machine share one base id.
		"--disable-hot-restart",
	}
	if !hasAdmin(config) {
		args = append(args, "--config-yaml", "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}")
	}
	// Not CommandContext: ctx is for starting only.
	cmd := exec.Command(options.Binary, append(args, options.Args...)...)
	cmd.Stdout, cmd.Stderr = e.logs, e.logs
	if e.process, err = child.Start(cmd); err != nil {
		e.release()
		return nil, err
	}
	if err := e.ready(ctx, adminFile); err != nil {
		e.Kill()
		return nil, fmt.Errorf("envoy does not start: %w; its log:\n%s", err, e.Logs())
	}
	return e, nil
}

// Run is Start for a running spec: it fails the spec on an error, and when the
// spec ends it stops Envoy, fails if Envoy had died by itself, and adds its log
// to the report of a failed spec.
func Run(ctx context.Context, options Options) *Envoy {
	ginkgo.GinkgoHelper()
	e, err := Start(ctx, options)
	if err != nil {
		ginkgo.Fail(err.Error())
	}
	ginkgo.DeferCleanup(func() {
		err := e.Stop()
		if err != nil || ginkgo.CurrentSpecReport().Failed() {
			ginkgo.AddReportEntry("Envoy's log", e.Logs(), ginkgo.ReportEntryVisibilityFailureOrVerbose)
		}
		if err != nil {
			ginkgo.Fail(err.Error())
		}
	})
	return e
}

func hasAdmin(config []byte) bool {
	var bootstrap struct {
		Admin json.RawMessage `json:"admin"`
	}
	// Envoy itself says what is wrong with a configuration that is no YAML.
	return yaml.Unmarshal(config, &bootstrap) == nil && len(bootstrap.Admin) > 0
}

// ready waits until Envoy has written its admin address and answers /ready.
func (e *Envoy) ready(ctx context.Context, adminFile string) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	last := errors.New("no admin address yet")
	for {
		if e.admin == "" {
			if address, err := os.ReadFile(adminFile); err == nil && len(address) > 0 {
				e.admin = dialable(strings.TrimSpace(string(address)))
			}
		}
		if e.admin != "" {
			_, err := e.Get(ctx, "/ready")
			if err == nil {
				return nil
			}
			if ctx.Err() == nil { // else it is not what Envoy says
				last = err
			}
		}
		select {
		case <-tick.C:
		case <-e.process.Done():
			return fmt.Errorf("it ended: %w", e.exit())
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", ctx.Err(), last)
		}
	}
}

// dialable replaces the address "any" by the loopback one.
func dialable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

// AdminAddress is host:port of the admin API.
func (e *Envoy) AdminAddress() string { return e.admin }

// Logs returns what Envoy has logged so far, at most the last megabyte.
func (e *Envoy) Logs() string { return e.logs.String() }

// PID is the number of its process.
func (e *Envoy) PID() int { return e.process.PID() }

// Done is closed when the process has ended.
func (e *Envoy) Done() <-chan struct{} { return e.process.Done() }

// Get returns the body that the admin API answers for path; an answer other
// than 200 is an error.
func (e *Envoy) Get(ctx context.Context, path string) ([]byte, error) {
	return e.call(ctx, http.MethodGet, path)
}

// Post is Get with a POST, which the admin API wants for what changes state.
func (e *Envoy) Post(ctx context.Context, path string) ([]byte, error) {
	return e.call(ctx, http.MethodPost, path)
}

func (e *Envoy) call(ctx context.Context, method, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+e.admin+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := e.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, response.Status, bytes.TrimSpace(body))
	}
	return body, nil
}

// Stats returns all counters and gauges by name.
func (e *Envoy) Stats(ctx context.Context) (map[string]uint64, error) {
	body, err := e.Get(ctx, "/stats")
	if err != nil {
		return nil, err
	}
	stats := map[string]uint64{}
	for line := range strings.Lines(string(body)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		// Histograms and texts are no numbers.
		if number, err := strconv.ParseUint(value, 10, 64); err == nil {
			stats[name] = number
		}
	}
	return stats, nil
}

// Stat returns one counter or gauge. A name that Envoy does not have is an
// error, so that an expected 0 cannot be a misspelt name.
func (e *Envoy) Stat(ctx context.Context, name string) (uint64, error) {
	stats, err := e.Stats(ctx)
	if err != nil {
		return 0, err
	}
	value, ok := stats[name]
	if !ok {
		return 0, fmt.Errorf("envoy has no stat %q", name)
	}
	return value, nil
}

// ConfigDump returns the whole configuration that Envoy runs, endpoints
// included, as the JSON of its admin API.
func (e *Envoy) ConfigDump(ctx context.Context) ([]byte, error) {
	return e.Get(ctx, "/config_dump?include_eds")
}

// ListenerPort returns the port that the listener of that name listens on.
func (e *Envoy) ListenerPort(ctx context.Context, name string) (uint32, error) {
	body, err := e.Get(ctx, "/listeners?format=json")
	if err != nil {
		return 0, err
	}
	var listeners struct {
		Statuses []struct {
			Name         string `json:"name"`
			LocalAddress struct {
				SocketAddress struct {
					Port uint32 `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal(body, &listeners); err != nil {
		return 0, err
	}
	for _, listener := range listeners.Statuses {
		if listener.Name == name {
			return listener.LocalAddress.SocketAddress.Port, nil
		}
	}
	return 0, fmt.Errorf("envoy has no listener %q", name)
}

// Stop ends Envoy with SIGTERM, after 10 s with SIGKILL, and returns when it
// is gone. It is an error if Envoy had ended before Stop or Kill was called, or
// did not end as it should. Later calls do nothing.
func (e *Envoy) Stop() error {
	if e.wanted.Swap(true) {
		<-e.process.Done()
		return nil
	}
	defer e.release()
	select {
	case <-e.process.Done():
		return fmt.Errorf("envoy ended by itself: %w", e.exit())
	default:
	}
	e.process.Signal(syscall.SIGTERM)
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-e.process.Done():
	case <-timeout.C:
		e.kill()
		return fmt.Errorf("envoy did not end within %s of SIGTERM and was killed", stopTimeout)
	}
	if e.process.Err() != nil {
		return fmt.Errorf("envoy after SIGTERM: %w", e.process.Err())
	}
	return nil
}

// Kill ends Envoy with SIGKILL and returns when it is gone.
func (e *Envoy) Kill() {
	e.wanted.Store(true)
	e.kill()
	e.release()
}

// kill takes the whole process group, so that nothing stays behind.
func (e *Envoy) kill() {
	select {
	case <-e.process.Done(): // its number may be another's by now
	default:
		_ = syscall.Kill(-e.process.PID(), syscall.SIGKILL)
	}
	<-e.process.Done()
}

func (e *Envoy) release() {
	e.cleanup.Do(func() {
		e.client.CloseIdleConnections()
		_ = os.RemoveAll(e.dir)
	})
}

func (e *Envoy) exit() error {
	if e.process.Err() == nil {
		return errors.New("exit status 0")
	}
	return e.process.Err()
}

// logs keeps the end of what is written to it.
type logs struct {
	mu   sync.Mutex
	text []byte
}

const maxLogs = 1 << 20

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if len(l.text) > 2*maxLogs { // rarely, so that not every line is a copy
		l.text = append([]byte(nil), l.text[len(l.text)-maxLogs:]...)
	}
	return len(p), nil
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text[max(0, len(l.text)-maxLogs):])
}
