package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/files"
)

// catalogMetrics are about the resources in use.
type catalogMetrics struct {
	catalog   *catalog.Catalog
	resources *prometheus.Desc
}

func newCatalogMetrics(c *catalog.Catalog) *catalogMetrics {
	return &catalogMetrics{catalog: c, resources: desc("resources", "Resources in use, by kind and by where they come from.", "kind", "source")}
}

// Describe implements prometheus.Collector.
func (m *catalogMetrics) Describe(to chan<- *prometheus.Desc) { to <- m.resources }

// Collect implements prometheus.Collector.
func (m *catalogMetrics) Collect(to chan<- prometheus.Metric) {
	for _, kind := range []api.Kind{api.KindMesh, api.KindDataplane, api.KindExternalService, api.KindTrafficRoute} {
		var file, written int
		for _, e := range m.catalog.List(kind, "") {
			if e.File != "" {
				file++
			} else {
				written++
			}
		}
		to <- gauge(m.resources, float64(file), string(kind), "file")
		to <- gauge(m.resources, float64(written), string(kind), "api")
	}
}

// staleMetrics are about what is not in use as it is written.
type staleMetrics struct {
	find  func() []status.Stale
	stale *prometheus.Desc
}

func newStaleMetrics(find func() []status.Stale) *staleMetrics {
	return &staleMetrics{find: find, stale: desc("stale", "What is not in use as it is written: files, resources of the store, data planes.", "kind")}
}

// Describe implements prometheus.Collector.
func (m *staleMetrics) Describe(to chan<- *prometheus.Desc) { to <- m.stale }

// Collect implements prometheus.Collector.
func (m *staleMetrics) Collect(to chan<- prometheus.Metric) {
	n := map[status.StaleKind]int{}
	for _, s := range m.find() {
		n[s.Kind]++
	}
	for _, kind := range status.StaleKinds() {
		to <- gauge(m.stale, float64(n[kind]), string(kind))
	}
}

// fileMetrics are about files of resources.
type fileMetrics struct {
	source         *files.Source
	files, refused *prometheus.Desc
}

func newFileMetrics(s *files.Source) *fileMetrics {
	return &fileMetrics{
		source:  s,
		files:   desc("files", "Files of resources that are followed."),
		refused: desc("files_refused", "Files whose content is bad or does not go with the others: what they held before is in use."),
	}
}

// Describe implements prometheus.Collector.
func (m *fileMetrics) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, to) }

// Collect implements prometheus.Collector.
func (m *fileMetrics) Collect(to chan<- prometheus.Metric) {
	all := m.source.Status()
	refused := 0
	for _, f := range all {
		if len(f.Problems) > 0 {
			refused++
		}
	}
	to <- gauge(m.files, float64(len(all)))
	to <- gauge(m.refused, float64(refused))
}
