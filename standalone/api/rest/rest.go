// Package rest is the HTTP API of the standalone host. Paths, bodies and errors
// are Kuma's for the resources that this host has, so that a stock kumactl
// works with it; the rest is its own: mirrors, plan, apply, backup, restore.
// The OpenAPI document beside this file describes all of it and is served at
// /openapi.yaml.
package rest

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
)

// Options of New.
type Options struct {
	// Catalog of the resources; required.
	Catalog *catalog.Catalog
	// Store that the catalog writes to; nil where it writes to none.
	Store *store.Store
	// Host that serves the data planes, or is about to: New observes it, which
	// has to be before its Serve. Nil means that no Envoy is connected.
	Host *host.Host
	// Mirrors gives the mirrors of a mesh, or of all meshes where mesh is
	// empty, always in the same order; nil means that there are none.
	Mirrors func(ctx context.Context, mesh string) ([]status.Mirror, error)
	// Inspect gives a page of the mirrors of one data plane, with what Envoy is
	// given for them, and how many there are in all; nil means that there are
	// none. Its error is generate.ErrNoDataplane where there is no such data
	// plane.
	Inspect func(ctx context.Context, mesh, dataplane string, start, size int) ([]status.Mirror, int, error)
	// Stale gives what is not in use as it is written, always in the same
	// order; nil means that there is nothing.
	Stale func() []status.Stale
	// Version of this program, as `kuma-mirror version` prints it.
	Version string
	// Config is what GET /config answers, as JSON; nil is an empty object. It
	// must not hold secrets.
	Config any
	// Log takes internal errors; nil means slog.Default().
	Log *slog.Logger
}

// New returns the API. It authenticates nobody and bounds nothing but the
// length of bodies: connections, headers, time and who may call are those of
// the server it is mounted on.
func New(o Options) http.Handler { return newServer(o).router() }

func newServer(o Options) *server {
	s := &server{
		catalog:  o.Catalog,
		readOnly: o.Store == nil,
		host:     o.Host,
		streams:  streams{byNode: map[string]subscriptionStatus{}, open: map[string]int{}},
		mirrors:  o.Mirrors,
		inspect:  o.Inspect,
		stale:    o.Stale,
		index:    newIndex(o.Version),
		started:  time.Now().UTC(),
		config:   o.Config,
		log:      o.Log,
		plans:    make(slots, 2),
		restores: make(slots, 1),
		memory:   semaphore.NewWeighted(maxMemory),
	}
	if s.config == nil {
		s.config = struct{}{}
	}
	if s.host != nil {
		s.host.Observe(&s.streams)
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	return s
}

type server struct {
	catalog  *catalog.Catalog
	readOnly bool
	host     *host.Host
	streams  streams
	mirrors  func(ctx context.Context, mesh string) ([]status.Mirror, error)
	inspect  func(ctx context.Context, mesh, dataplane string, start, size int) ([]status.Mirror, int, error)
	stale    func() []status.Stale
	index    index
	started  time.Time
	config   any
	log      *slog.Logger
	// plans and restores bound what takes all of a processor, or 256 MiB.
	plans    slots
	restores slots
	// memory is that of the bodies of all requests, but for a restore's.
	memory *semaphore.Weighted
}

func (s *server) allowance() *allowance { return &allowance{of: s.memory} }
