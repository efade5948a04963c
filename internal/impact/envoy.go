package impact

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"github.com/kuma-mirror/kuma-mirror/internal/child"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/static"
)

const (
	envoyStarts = 30 * time.Second
	envoyEnds   = 5 * time.Second
)

// envoy is a running Envoy.
type envoy struct {
	process *child.Process
	dir     string
	admin   string
	http    *http.Client
}

// startEnvoy returns when Envoy is ready. Its log is in the error if it is not.
func startEnvoy(ctx context.Context, binary string, bootstrap *bootstrapv3.Bootstrap, concurrency int) (*envoy, error) {
	config, err := static.JSON(bootstrap)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "kuma-mirror-impact-")
	if err != nil {
		return nil, err
	}
	file, logFile := filepath.Join(dir, "envoy.json"), filepath.Join(dir, "log")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	e := &envoy{
		dir:   dir,
		admin: "http://" + bootstrapAddress(bootstrap),
		http:  &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}},
	}
	cmd := exec.Command(binary, "--config-path", file, "--concurrency", strconv.Itoa(concurrency),
		"--disable-hot-restart", "--log-level", "warn", "--log-path", logFile)
	if e.process, err = child.Start(cmd); err != nil {
		e.stop()
		return nil, fmt.Errorf("envoy: %w", err)
	}
	if err := e.ready(ctx); err != nil {
		log, _ := os.ReadFile(logFile)
		e.stop()
		return nil, fmt.Errorf("envoy does not start: %w; its log:\n%s", err, log)
	}
	return e, nil
}

func bootstrapAddress(b *bootstrapv3.Bootstrap) string {
	a := b.GetAdmin().GetAddress().GetSocketAddress()
	return fmt.Sprintf("%s:%d", a.GetAddress(), a.GetPortValue())
}

func (e *envoy) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, envoyStarts)
	defer cancel()
	for {
		_, err := e.get(ctx, "/ready")
		if err == nil {
			return nil
		}
		select {
		case <-e.process.Done():
			return fmt.Errorf("it ended: %v", e.process.Err())
		default:
		}
		if !wait(ctx, 10*time.Millisecond) {
			return err
		}
	}
}

func (e *envoy) stop() {
	if e.process != nil {
		e.process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(envoyEnds, func() { e.process.Signal(syscall.SIGKILL) })
		<-e.process.Done()
		timer.Stop()
	}
	e.http.CloseIdleConnections()
	_ = os.RemoveAll(e.dir)
}

func (e *envoy) pid() int { return e.process.PID() }

func (e *envoy) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.admin+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := e.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", path, response.Status)
	}
	return body, nil
}

// stats returns the counters and gauges whose names begin with prefix, without
// it.
func (e *envoy) stats(ctx context.Context, prefix string) (map[string]int64, error) {
	body, err := e.get(ctx, "/stats?filter=^"+strings.ReplaceAll(prefix, ".", `\.`))
	if err != nil {
		return nil, err
	}
	stats := map[string]int64{}
	for line := range strings.Lines(string(body)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			stats[strings.TrimPrefix(name, prefix)] = n
		}
	}
	return stats, nil
}

// memory is what Envoy holds, in bytes.
type memory struct{ allocated, resident int64 }

func (e *envoy) memory(ctx context.Context) (memory, error) {
	var m memory
	body, err := e.get(ctx, "/memory")
	if err != nil {
		return m, err
	}
	var answer struct {
		Allocated int64 `json:"allocated,string"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return m, err
	}
	m.allocated = answer.Allocated
	m.resident, err = residentMemory(e.pid())
	return m, err
}
