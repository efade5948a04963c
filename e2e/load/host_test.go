package load_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	"github.com/prometheus/procfs"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
)

// writers write at once.
const writers = 50

// host is a process of `kuma-mirror run` with a store.
type host struct {
	*gexec.Session
	// url of the API, and where xDS is.
	url, xds string
	client   *http.Client
}

// dataDir is a directory for a store.
func dataDir(t world.T) string { return filepath.Join(t.TempDir(), "data") }

// launch starts a host on the directory, which need not come up. It is killed
// at the end of the test.
func launch(t world.T, dir string, args ...string) *gexec.Session {
	t.Helper()
	args = append([]string{"run", "--data-dir", dir, "--api-address", "127.0.0.1:0", "--xds-address", "127.0.0.1:0", "--log-level", "warn"}, args...)
	session, err := gexec.Start(exec.Command(program, args...), nil, nil)
	Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		session.Kill()
		<-session.Exited
		if t.Failed() {
			t.Logf("the log of a host:\n%s", session.Err.Contents())
		}
	})
	return session
}

var greeting = regexp.MustCompile(`(?s)Serving xDS on (\S+) .*Serving the API on (http://\S+)\n`)

// start starts a host and waits until it listens.
func start(t world.T, dir string, args ...string) *host {
	t.Helper()
	h := &host{Session: launch(t, dir, args...)}
	var found []string
	Eventually(func() []string {
		if h.ExitCode() >= 0 {
			StopTrying("it has ended: " + string(h.Err.Contents())).Now()
		}
		found = greeting.FindStringSubmatch(string(h.Out.Contents()))
		return found
	}).WithTimeout(20 * time.Second).WithPolling(time.Millisecond).ShouldNot(BeNil())
	h.xds, h.url = found[1], found[2]
	// Every connection is used by one caller at a time.
	transport := &http.Transport{MaxIdleConnsPerHost: writers + 10}
	t.Cleanup(transport.CloseIdleConnections)
	h.client = &http.Client{Timeout: 20 * time.Second, Transport: transport}
	return h
}

// send returns the status and body of an answer, or why there is none.
func (h *host) send(ctx context.Context, method, path, body string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, method, h.url+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/yaml")
	}
	answer, err := h.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	data, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(data), errors.Join(err, answer.Body.Close())
}

// do sends what has to succeed and returns the answer's body.
func (h *host) do(ctx context.Context, method, path, body string) string {
	status, answer, err := h.send(ctx, method, path, body)
	Expect(err).NotTo(HaveOccurred())
	Expect(status).To(BeElementOf(http.StatusOK, http.StatusCreated), answer)
	return answer
}

// apply writes documents, all at once.
func (h *host) apply(ctx context.Context, documents []string) {
	h.do(ctx, http.MethodPost, "/apply", strings.Join(documents, "\n---\n"))
}

// metric returns the value of a series of /metrics, such as `a_total{b="c"}`.
func (h *host) metric(ctx context.Context, series string) (float64, error) {
	status, body, err := h.send(ctx, http.MethodGet, "/metrics", "")
	if err != nil || status != http.StatusOK {
		return 0, fmt.Errorf("%d: %w", status, err)
	}
	for line := range strings.Lines(body) {
		if value, is := strings.CutPrefix(line, series+" "); is {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("there is no %s", series)
}

// inSync counts the proxies that have acknowledged all they were sent.
func (h *host) inSync(ctx context.Context) (float64, error) {
	return h.metric(ctx, `kuma_mirror_proxies{state="in_sync"}`)
}

// dataplanes counts those that are served.
func (h *host) dataplanes(ctx context.Context) (float64, error) {
	return h.metric(ctx, "kuma_mirror_dataplanes")
}

// generations counts how often a data plane was generated.
func (h *host) generations(ctx context.Context) (float64, error) {
	return h.metric(ctx, `kuma_mirror_generations_total{result="ok"}`)
}

// resident is the memory of the process in MB.
func (h *host) resident() float64 {
	process, err := procfs.NewProc(h.Command.Process.Pid)
	Expect(err).NotTo(HaveOccurred())
	stat, err := process.Stat()
	Expect(err).NotTo(HaveOccurred())
	return float64(stat.ResidentMemory()) / 1e6
}

// cpu is how many seconds of a core the process has had.
func (h *host) cpu() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	seconds, err := h.metric(ctx, "process_cpu_seconds_total")
	Expect(err).NotTo(HaveOccurred())
	return seconds
}
