package metrics

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
)

var _ = Describe("the metrics of a host", func() {
	var m *Metrics

	BeforeEach(func() { m = New(Options{Version: "v1.2.3"}) })

	It("count requests by route, and never by path", func() {
		mux := http.NewServeMux()
		mux.HandleFunc("/meshes/{mesh}", func(w http.ResponseWriter, r *http.Request) {
			if r.PathValue("mesh") == "bad" {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusCreated)
		})
		mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
			Expect(http.NewResponseController(w).Flush()).To(Succeed(), "the writer below can be reached")
		})
		mux.HandleFunc("/", http.NotFound)
		handler := m.API(mux)
		ask := func(method, path string) {
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, path, nil))
		}
		ask(http.MethodPut, "/meshes/a")
		ask(http.MethodPut, "/meshes/b")
		ask(http.MethodGet, "/")
		ask(http.MethodGet, "/wp-admin.php")
		ask("BREW", "/coffee")
		Expect(func() { ask(http.MethodGet, "/meshes/bad") }).To(PanicWith(http.ErrAbortHandler))
		lines := scrape(m)
		Expect(lines).To(ContainElements(
			`kuma_mirror_api_requests_total{code="201",method="PUT",route="/meshes/{mesh}"} 2`,
			`kuma_mirror_api_requests_total{code="200",method="GET",route="/"} 1`,
			`kuma_mirror_api_requests_total{code="404",method="GET",route="none"} 1`,
			`kuma_mirror_api_requests_total{code="404",method="other",route="none"} 1`,
			`kuma_mirror_api_requests_total{code="500",method="GET",route="/meshes/{mesh}"} 1`,
			`kuma_mirror_api_request_duration_seconds_count{method="PUT",route="/meshes/{mesh}"} 2`,
			`kuma_mirror_api_requests_in_flight 0`,
		))
		Expect(lines).NotTo(ContainElement(ContainSubstring("wp-admin")))
	})

	It("count what is written to the store", func() {
		dir := GinkgoT().TempDir()
		s, err := store.Open(dir, store.Options{OnWrite: m.StoreWritten, Log: slog.New(slog.DiscardHandler)})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(s.Close)
		m.Watch(Sources{Store: s})
		info, err := os.Stat(filepath.Join(dir, store.FileName))
		Expect(err).NotTo(HaveOccurred())
		Expect(scrape(m)).To(ContainElements(
			`kuma_mirror_store_writes_total{result="failed"} 0`, `kuma_mirror_store_last_write_timestamp_seconds 0`,
			`kuma_mirror_store_records 0`, `kuma_mirror_store_failing 0`,
			`kuma_mirror_store_size_bytes `+strconv.FormatFloat(float64(info.Size()), 'g', -1, 64),
		))
		_, err = s.Write(nil, nil)
		Expect(err).NotTo(HaveOccurred())
		m.StoreWritten(store.Write{Records: 3, Duration: time.Second})
		m.StoreWritten(store.Write{Records: 5, Duration: time.Second, Err: errors.New("disk full")})
		Expect(scrape(m)).To(ContainElements(
			`kuma_mirror_store_writes_total{result="ok"} 2`, `kuma_mirror_store_writes_total{result="failed"} 1`,
			`kuma_mirror_store_written_records_total 3`, `kuma_mirror_store_write_duration_seconds_count 3`,
		))
		Expect(scrape(m)).NotTo(ContainElement(`kuma_mirror_store_last_write_timestamp_seconds 0`))
	})

	It("count who is turned away", func() {
		m.Refused("api", "Unknown token")
		m.Refused("api", "Unknown token")
		m.Refused("xds", "PermissionDenied")
		Expect(scrape(m)).To(ContainElements(
			`kuma_mirror_refusals_total{listener="api",reason="Unknown token"} 2`,
			`kuma_mirror_refusals_total{listener="xds",reason="PermissionDenied"} 1`,
		))
	})

	It("say which version runs, what the process takes, and when the certificate ends", func() {
		expiry := time.Unix(1_900_000_000, 0)
		m.Watch(Sources{CertificateExpiry: func() time.Time { return expiry }})
		Expect(scrape(m)).To(ContainElements(
			MatchRegexp(`^kuma_mirror_build_info\{goversion="go1\.\S+",version="v1\.2\.3"\} 1$`),
			HavePrefix("go_goroutines "),
			`kuma_mirror_certificate_expiry_timestamp_seconds 1.9e+09`,
		))
	})

	It("have no certificate without TLS", func() {
		m.Watch(Sources{CertificateExpiry: func() time.Time { return time.Time{} }})
		Expect(scrape(m)).NotTo(ContainElement(ContainSubstring("certificate")))
	})
})
