package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// recorded is how this API is called in recordings.
const recorded = "http://127.0.0.1:5681"

// record runs the commands of a recording with a real kumactl, and puts what
// happened into it.
func record(kumactl string, s *recording) {
	GinkgoHelper()
	var mu sync.Mutex
	var seen []exchange // while a command runs
	w := newWorld(setup{serves: true, wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			answer := httptest.NewRecorder()
			next.ServeHTTP(answer, r)
			e := exchange{
				Method: r.Method, Path: r.URL.RequestURI(), Headers: map[string]string{}, Body: indented(body),
				Status: answer.Code, Answer: indented(answer.Body.Bytes()),
			}
			for _, name := range []string{"Accept", "Content-Type", "User-Agent"} {
				if value := r.Header.Get(name); value != "" {
					e.Headers[name] = value
				}
			}
			mu.Lock()
			seen = append(seen, e)
			mu.Unlock()
			for name, values := range answer.Header() {
				w.Header()[name] = values
			}
			w.WriteHeader(answer.Code)
			_, _ = w.Write(answer.Body.Bytes())
		})
	}})
	w.startsAs(*s)

	hostname, err := os.Hostname()
	Expect(err).NotTo(HaveOccurred())
	names := strings.NewReplacer(w.url, recorded, `"`+hostname, `"host`, ": "+hostname, ": host")
	public := func(text string) string {
		text = names.Replace(text)
		text = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`).ReplaceAllString(text, "2026-01-02T03:04:05Z")
		return regexp.MustCompile(`host-[0-9a-f]{4}\b`).ReplaceAllString(text, "host-0000")
	}
	home := GinkgoT().TempDir()
	run := func(c *command) {
		GinkgoHelper()
		arguments := append(strings.Fields(strings.ReplaceAll(c.Run, recorded, w.url))[1:], "--config-file", filepath.Join(home, "kumactl.yaml"))
		cmd := exec.Command(kumactl, arguments...)
		cmd.Env = []string{"HOME=" + home}
		cmd.Stdin = strings.NewReader(c.Stdin)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		if failed := (*exec.ExitError)(nil); !errors.As(err, &failed) {
			Expect(err).NotTo(HaveOccurred())
		}
		c.Stdout, c.Stderr, c.Exit = public(stdout.String()), public(stderr.String()), cmd.ProcessState.ExitCode()
	}
	first := command{Run: "kumactl config control-planes add --name host --address " + recorded}
	run(&first)
	Expect(first.Exit).To(BeZero(), first.Stderr)
	for i := range s.Commands {
		seen = nil
		run(&s.Commands[i])
		for j := range seen {
			seen[j].Body, seen[j].Answer = public(seen[j].Body), public(seen[j].Answer)
		}
		s.Commands[i].Exchanges = seen
	}
}

// indented is JSON that people read.
func indented(body []byte) string {
	var out bytes.Buffer
	if err := json.Indent(&out, bytes.TrimSpace(body), "", "  "); err != nil || out.Len() == 0 {
		return string(body)
	}
	return out.String() + "\n"
}
