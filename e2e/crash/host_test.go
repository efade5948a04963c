package crash_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os/exec"
	"regexp"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
)

// host is a process of `kuma-mirror run` with a store.
type host struct {
	*gexec.Session
	url    string // of its API, once it is up
	client *http.Client
	killed time.Time // when it was about to be
}

// begin starts a host on the directory, which need not come up.
func begin(dir string) *host {
	GinkgoHelper()
	cmd := exec.Command(program, "run", "--data-dir", dir, "--api-address", "127.0.0.1:0", "--xds-address", "127.0.0.1:0", "--log-level", "warn")
	session, err := gexec.Start(cmd, GinkgoWriter, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	// Every connection is used by one writer at a time.
	h := &host{Session: session, client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: writers + 1}}}
	DeferCleanup(func() { h.kill() })
	return h
}

var serving = regexp.MustCompile(`Serving the API on (http://\S+)\n`)

// up waits until the API listens.
func (h *host) up() {
	GinkgoHelper()
	var found []string
	Eventually(func() []string {
		if h.ExitCode() >= 0 {
			StopTrying("it has ended: " + string(h.Err.Contents())).Now()
		}
		found = serving.FindStringSubmatch(string(h.Out.Contents()))
		return found
	}).WithPolling(time.Millisecond).ShouldNot(BeNil())
	h.url = found[1]
}

// start starts a host and waits until its API listens.
func start(dir string) *host {
	GinkgoHelper()
	h := begin(dir)
	h.up()
	return h
}

// kill ends the process with SIGKILL and waits until it is gone.
func (h *host) kill() {
	h.killed = time.Now()
	h.Kill()
	<-h.Exited
	h.client.CloseIdleConnections()
}

// send returns the status and body of an answer, or why there is none.
func (h *host) send(method, path, contentType, body string) (int, string, error) {
	return h.sendTold(method, path, contentType, body, func() {})
}

// sendTold is send that calls sent when all of the request is on its way.
func (h *host) sendTold(method, path, contentType, body string, sent func()) (int, string, error) {
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{WroteRequest: func(w httptrace.WroteRequestInfo) {
		if w.Err == nil {
			sent()
		}
	}})
	request, err := http.NewRequestWithContext(ctx, method, h.url+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", contentType)
	answer, err := h.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	data, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(data), errors.Join(err, answer.Body.Close())
}

// version is what the resource of a name says. All that it says is written in
// several places, which have to agree.
const padding = 2000

func document(name string, version int) string {
	text := fmt.Sprint(version)
	body, err := json.Marshal(map[string]any{
		"type": "ExternalService", "mesh": "default", "name": name,
		"labels":     map[string]string{"version": text, "long": strings.Repeat(text+".", padding/(len(text)+1))},
		"tags":       map[string]string{"kuma.io/service": name, "version": text},
		"networking": map[string]string{"address": "v" + text + ".example:80"},
	})
	if err != nil {
		panic(err) // strings and maps of them
	}
	return string(body)
}

// resources returns the version of everything there is, by name.
func (h *host) resources() map[string]int {
	GinkgoHelper()
	status, body, err := h.send(http.MethodGet, "/external-services?size=1000", "", "")
	Expect(err).NotTo(HaveOccurred())
	Expect(status).To(Equal(http.StatusOK), body)
	var list struct {
		Total int
		Items []struct {
			Name             string
			Labels, Tags     map[string]string
			Networking       struct{ Address string }
			CreationTime     time.Time
			ModificationTime time.Time
		}
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(body)))
	Expect(decoder.Decode(&list)).To(Succeed())
	Expect(list.Items).To(HaveLen(list.Total))
	found := map[string]int{}
	for _, item := range list.Items {
		var version int
		_, err := fmt.Sscanf(item.Networking.Address, "v%d.example:80", &version)
		Expect(err).NotTo(HaveOccurred(), "%s is torn: %+v", item.Name, item)
		text := fmt.Sprint(version)
		Expect(item.Tags).To(Equal(map[string]string{"kuma.io/service": item.Name, "version": text}), "%s is torn", item.Name)
		Expect(item.Labels).To(Equal(map[string]string{"version": text, "long": strings.Repeat(text+".", padding/(len(text)+1))}), "%s is torn", item.Name)
		Expect(item.ModificationTime).To(BeTemporally(">=", item.CreationTime), "%s is torn", item.Name)
		found[item.Name] = version
	}
	return found
}
