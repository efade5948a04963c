package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	"github.com/kuma-mirror/kuma-mirror/internal/demo"
)

// startBackend runs a backend until the spec ends and returns its URL and log.
func startBackend(name string) (url string, log *gbytes.Buffer) {
	GinkgoHelper()
	log = gbytes.NewBuffer()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- demo.ServeBackend(ctx, demo.BackendOptions{Name: name, Log: log}) }()
	DeferCleanup(func() {
		cancel()
		Eventually(ended, "5s").Should(Receive(BeNil()))
	})
	Eventually(log, "5s").Should(gbytes.Say(`listening on 127\.0\.0\.1:\d+\n`))
	_, address, _ := strings.Cut(strings.TrimSpace(string(log.Contents())), "listening on ")
	return "http://" + address, log
}

func do(client *http.Client, method, url, body string) (*http.Response, string) {
	GinkgoHelper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	Expect(err).NotTo(HaveOccurred())
	response, err := client.Do(request)
	Expect(err).NotTo(HaveOccurred())
	text, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	Expect(response.Body.Close()).To(Succeed())
	return response, string(text)
}

var _ = Describe("A backend of the demo", func() {
	var client *http.Client

	BeforeEach(func() {
		client = &http.Client{Transport: &http.Transport{}}
		DeferCleanup(client.CloseIdleConnections)
	})

	It("answers with its name and a count of its own, as the documentation shows", func() {
		primary, _ := startBackend("primary")
		shadow, _ := startBackend("shadow")
		for i, count := range []string{"1", "2"} {
			response, text := do(client, http.MethodGet, primary+"/api/v1", "")
			Expect(response.StatusCode).To(Equal(http.StatusOK))
			Expect(text).To(HavePrefix(`{"backend": "primary", `))
			Expect(response.Header).To(HaveKeyWithValue("X-Backend-Name", []string{"primary"}))
			Expect(response.Header).To(HaveKeyWithValue("X-Request-Count", []string{count}))
			var fields map[string]any
			Expect(json.Unmarshal([]byte(text), &fields)).To(Succeed())
			Expect(fields).To(HaveKeyWithValue("request_count", BeEquivalentTo(i+1)))
		}
		response, text := do(client, http.MethodGet, shadow+"/api/v1", "")
		Expect(text).To(HavePrefix(`{"backend": "shadow", `))
		Expect(response.Header.Get("X-Request-Count")).To(Equal("1"))
	})

	It("logs each request as the documentation shows", func() {
		url, log := startBackend("shadow")
		do(client, http.MethodGet, url+"/api/v1", "")
		Expect(log).To(gbytes.Say(`^\[SHADOW\] "GET /api/v1 HTTP/1\.1" 200 -\n$`))
		do(client, http.MethodPut, url+"/api/v2?a=%22", "x")
		Expect(log).To(gbytes.Say(`^\[SHADOW\] "PUT /api/v2\?a=%22 HTTP/1\.1" 200 -\n$`))
	})

	It("speaks HTTP/2 without TLS, too", func() {
		url, log := startBackend("primary")
		client.Transport.(*http.Transport).Protocols = new(http.Protocols)
		client.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
		response, text := do(client, http.MethodPost, url+"/api/v1", "hello")
		Expect(response.ProtoMajor).To(Equal(2))
		Expect(text).To(ContainSubstring(`"body_bytes": 5`))
		Expect(log).To(gbytes.Say(`"POST /api/v1 HTTP/2\.0" 200 -\n`))
	})

	It("tells length and SHA-256 of bodies, and remembers them", func() {
		url, log := startBackend("shadow")
		_, text := do(client, http.MethodPost, url+"/api/v1", "hello")
		const digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
		Expect(text).To(ContainSubstring(`"body_bytes": 5, "body_sha256": "` + digest + `"`))

		before := len(log.Contents())
		response, text := do(client, http.MethodGet, url+"/_demo/requests", "")
		Expect(text).To(MatchJSON(`{"backend": "shadow", "requests": 1, "recent": [
			{"method": "POST", "path": "/api/v1", "body_bytes": 5, "body_sha256": "` + digest + `"}]}`))
		By("being asked without counting that or logging it")
		Expect(response.Header).NotTo(HaveKey("X-Request-Count"))
		Expect(log.Contents()).To(HaveLen(before))
		response, _ = do(client, http.MethodGet, url+"/", "")
		Expect(response.Header.Get("X-Request-Count")).To(Equal("2"))
	})

	It("remembers the last 2048 requests only", func() {
		url, _ := startBackend("primary")
		for range 2050 {
			do(client, http.MethodGet, url+"/", "")
		}
		_, text := do(client, http.MethodGet, url+"/_demo/requests", "")
		var seen struct {
			Requests int
			Recent   []demo.Request
		}
		Expect(json.Unmarshal([]byte(text), &seen)).To(Succeed())
		Expect(seen.Requests).To(Equal(2050))
		Expect(seen.Recent).To(HaveLen(2048))
	})

	It("says so when its port is taken", func(ctx SpecContext) {
		err := demo.ServeBackend(ctx, demo.BackendOptions{
			Name: "primary", Port: listen("tcp4", "127.0.0.1:0"), Log: new(bytes.Buffer),
		})
		Expect(err).To(MatchError(ContainSubstring("address already in use")))
	})
})
