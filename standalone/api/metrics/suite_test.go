package metrics

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
)

func TestMetrics(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Metrics")
}

// scrape returns the lines of what a scrape gets, without comments and what it
// says of itself.
func scrape(m *Metrics) []string {
	GinkgoHelper()
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	Expect(answer.Code).To(Equal(http.StatusOK))
	var lines []string
	for line := range strings.Lines(answer.Body.String()) {
		if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "promhttp_") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

// scrapeOf is scrape for a collector alone.
func scrapeOf(c prometheus.Collector) []string {
	GinkgoHelper()
	m := &Metrics{registry: prometheus.NewPedanticRegistry()}
	m.registry.MustRegister(c)
	return scrape(m)
}
