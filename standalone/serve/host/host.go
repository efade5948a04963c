// Package host is the standalone control plane: it takes resources from a
// source, generates what each data plane's Envoy is to run, and serves it.
package host

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/check"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

// Source is where resources come from: files today.
type Source interface {
	// Run calls update with all resources, which are valid and unique by Key:
	// once at first and then after every change, until ctx ends. It must not
	// change a resource that it has handed over. An error ends the host.
	Run(ctx context.Context, update func([]*api.Resource)) error
}

// Options of New.
type Options struct {
	// Source of the resources; required.
	Source Source
	// ServerOptions are added to those of the gRPC server: who may call it, and
	// within what limits.
	ServerOptions []grpc.ServerOption
	// Log takes what happens; nil means slog.Default().
	Log *slog.Logger
}

// Host serves the data planes of its source. Its methods may be called from any
// goroutine.
type Host struct {
	source  Source
	options []grpc.ServerOption
	log     *slog.Logger
	ads     *ads.Server
	// observers and services are set before Serve.
	observers []Observer
	services  []func(grpc.ServiceRegistrar)

	mu        sync.Mutex // guards what follows
	resources []*api.Resource
	index     *mesh.Index
	proxies   map[api.Key]*proxy
}

// proxy is what is known of one data plane.
type proxy struct {
	report plugin.Report
	err    error // of the last generation; what was served before still is
}

// Status is the state of one data plane.
type Status struct {
	Dataplane api.Key
	// Report says what became of the mirrors when the proxy was last
	// generated.
	Report plugin.Report
	// Err is why the last generation is not served; nil when it is.
	Err error
	// Proxy is what the xDS server knows of the Envoy.
	Proxy ads.ProxyStatus
}

// New returns a host that serves nothing yet.
func New(o Options) *Host {
	h := &Host{source: o.Source, options: o.ServerOptions, log: o.Log, index: mesh.New(nil), proxies: map[api.Key]*proxy{}}
	if h.log == nil {
		h.log = slog.Default()
	}
	h.ads = ads.New(ads.Options{Log: h.log, OnEvent: h.onEvent})
	return h
}

// Serve answers on l, which it closes, until ctx ends or the source fails. It
// begins when the source's first resources are in place. Envoys keep what they
// have when it ends, and come back when another host listens there. The end of
// ctx is no error. Serve can be called once.
func (h *Host) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	server := grpc.NewServer(append(ads.ServerOptions(), h.options...)...)
	h.ads.Register(server)
	api.RegisterBootstrapServiceServer(server, bootstrapService{host: h})
	for _, register := range h.services {
		register(server)
	}

	var tasks sync.WaitGroup
	defer func() {
		cancel()
		tasks.Wait()
	}()
	checks := make(chan []*api.Resource, 1)
	tasks.Go(func() { h.warn(ctx, checks) })

	first, failed := make(chan struct{}), make(chan error, 1)
	started := sync.OnceFunc(func() { close(first) })
	tasks.Go(func() {
		err := h.source.Run(ctx, func(resources []*api.Resource) {
			h.update(ctx, resources)
			started()
			// The latest replaces one that is not looked at yet.
			select {
			case <-checks:
			default:
			}
			checks <- resources
		})
		if err == nil && ctx.Err() == nil {
			err = errors.New("the source of the resources has ended")
		}
		failed <- err
		cancel()
	})
	select {
	case <-first:
	case <-ctx.Done():
		_ = l.Close()
		return <-failed
	}

	tasks.Go(func() {
		<-ctx.Done()
		// Streams last as long as their Envoys: there is nothing to wait for.
		server.Stop()
	})
	// Serve fails where Stop came first.
	if err := server.Serve(l); err != nil && ctx.Err() == nil {
		return err
	}
	return <-failed
}

// update makes resources what is served.
func (h *Host) update(ctx context.Context, resources []*api.Resource) {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed := generate.Compare(h.resources, resources)
	h.resources, h.index = resources, mesh.New(resources)
	for _, o := range h.observers {
		o.Updated(resources)
	}
	for _, key := range h.index.Dataplanes() {
		if ctx.Err() != nil {
			return
		}
		p := h.proxies[key]
		if p == nil {
			p = &proxy{}
			h.proxies[key] = p
			h.log.Info("serving a data plane", "mesh", key.Mesh, "dataplane", key.Name)
		} else if !changed.Touches(key, h.index) {
			continue
		}
		h.generate(ctx, key, p)
		// A change that touches many takes a while, in which the API's callers
		// and the streams come first.
		runtime.Gosched()
	}
	for key := range h.proxies {
		if h.index.Mesh(key.Mesh).Dataplane(key.Name) == nil {
			h.ads.Remove(mesh.NodeID(key))
			delete(h.proxies, key)
			for _, o := range h.observers {
				o.Removed(key)
			}
			h.log.Info("a data plane is gone; an Envoy that runs for it keeps what it has", "mesh", key.Mesh, "dataplane", key.Name)
		}
	}
}

func (h *Host) generate(ctx context.Context, key api.Key, p *proxy) {
	resources, report, err := generate.Proxy(ctx, h.index, key)
	if err == nil {
		p.report = report
		err = h.ads.Set(mesh.NodeID(key), resources)
	}
	if err != nil && (p.err == nil || p.err.Error() != err.Error()) {
		h.log.Error("a data plane cannot be served its new configuration and keeps the one it has",
			"mesh", key.Mesh, "dataplane", key.Name, "error", err)
	}
	p.err = err
	g := Generated{Dataplane: h.index.Mesh(key.Mesh).Dataplane(key.Name), Resources: resources, Report: report, Err: err}
	if err != nil {
		g.Resources, g.Report = nil, nil
	}
	for _, o := range h.observers {
		o.Generated(g)
	}
}

// longestPause bounds how long warn waits after a long check.
const longestPause = 10 * time.Second

// warn logs what authors should know of their resources, each warning when it
// comes up. It runs beside update, which nothing may delay. A check generates
// every data plane: where changes come one after the other, it has a tenth of the
// time.
func (h *Host) warn(ctx context.Context, checks <-chan []*api.Resource) {
	known := map[api.Violation]bool{}
	for {
		var resources []*api.Resource
		select {
		case <-ctx.Done():
			return
		case resources = <-checks:
		}
		begun := time.Now()
		// Errors are the source's to report, and generate's.
		_, warnings := check.Resources(ctx, resources, check.ReadFile)
		now := map[api.Violation]bool{}
		for _, w := range warnings {
			if now[w] = true; !known[w] {
				h.log.Warn(w.String())
			}
		}
		known = now
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(9*time.Since(begun), longestPause)):
		}
	}
}

func (h *Host) onEvent(e ads.Event) {
	for _, o := range h.observers {
		o.Event(e)
	}
	if e.Kind != ads.Connected {
		return
	}
	if s, ok := h.ads.Status(e.Node); ok && !s.Configured {
		h.log.Warn("an Envoy asks for a data plane that is not there; it gets its configuration when the Dataplane is added", "proxy", e.Node)
	}
}

// Status returns the state of every data plane, ordered by mesh and name.
func (h *Host) Status() []Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	keys := slices.SortedFunc(maps.Keys(h.proxies), func(a, b api.Key) int {
		if a.Mesh != b.Mesh {
			return strings.Compare(a.Mesh, b.Mesh)
		}
		return strings.Compare(a.Name, b.Name)
	})
	all := make([]Status, len(keys))
	for i, key := range keys {
		p := h.proxies[key]
		all[i] = Status{Dataplane: key, Report: p.report, Err: p.err}
		all[i].Proxy, _ = h.ads.Status(mesh.NodeID(key))
	}
	return all
}
