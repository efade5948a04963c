package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/gui"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/metrics"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/rest"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/host"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/secure"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/files"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
)

// composition is all that one run is made of.
type composition struct {
	log   *slog.Logger
	guard *secure.Guard
	host  *host.Host
	xds   net.Listener
	ready *atomic.Bool

	// api is nil when it is off.
	api         *http.Server
	apiListener net.Listener
	gui         *gui.GUI

	// closers of what was opened, to be called last to first.
	closers []io.Closer
}

// newComposition opens everything and greets. Nothing is left open when it
// fails.
func newComposition(cmd *cobra.Command, o runOptions, log *slog.Logger, level *slog.LevelVar) (_ *composition, err error) {
	c := &composition{log: log, ready: &atomic.Bool{}}
	defer func() {
		if err != nil {
			_ = c.close()
		}
	}()
	for _, warning := range o.guard.Warnings() {
		log.Warn(warning)
	}
	measured := metrics.New(metrics.Options{Version: thisBuild().version})
	o.guard.Log, o.guard.OnRefusal = log, measured.Refused
	if c.guard, err = secure.Open(o.guard); err != nil {
		return nil, err
	}

	var db *store.Store
	if o.dataDir != "" {
		if db, err = store.Open(o.dataDir, store.Options{Log: log, OnWrite: measured.StoreWritten}); err != nil {
			return nil, err
		}
		c.closers = append(c.closers, db)
	}
	var source *files.Source
	if len(o.paths) > 0 {
		if source, err = files.Open(cmd.Context(), o.paths, files.Options{Check: catalog.Validate, Log: log}); err != nil {
			return nil, listed(cmd.ErrOrStderr(), err)
		}
		c.closers = append(c.closers, source)
	}
	resources, err := catalog.New(catalog.Options{Store: db, Files: source, Log: log, OnWrite: rest.Audit(log)})
	if err != nil {
		return nil, listed(cmd.ErrOrStderr(), err)
	}

	if c.xds, err = listen("--xds-address", o.guard.XDSAddress); err != nil {
		return nil, err
	}
	c.closers = append(c.closers, c.xds)
	greeting := greeting{
		xds: c.xds.Addr().String(), sources: slices.Clone(o.paths), files: source != nil, writable: db != nil,
		tls: o.guard.CertFile != "", token: o.guard.TokenFile != "",
		proxyFlags: proxyFlags(o.guard),
	}
	if db != nil {
		greeting.sources = append(greeting.sources, db.Path())
	}
	if o.guard.APIAddress != "" {
		if c.apiListener, err = listen("--api-address", o.guard.APIAddress); err != nil {
			return nil, err
		}
		c.closers = append(c.closers, c.apiListener)
		greeting.api = c.apiListener.Addr().String()
	}

	c.host = host.New(host.Options{
		Source:        announced{Source: resources, first: func() { c.ready.Store(true) }},
		ServerOptions: c.guard.ServerOptions(),
		Log:           log,
	})
	mirrors := status.New(c.host)
	stale := func() []status.Stale { return status.FindStale(source, resources, c.host) }
	measured.Watch(metrics.Sources{
		Host: c.host, Mirrors: mirrors.Snapshot, Stale: stale, Catalog: resources, Files: source, Store: db,
		CertificateExpiry: c.guard.CertificateExpiry,
	})
	if c.apiListener != nil {
		c.gui = gui.New(gui.Options{Mirrors: mirrors.Mirrors, Inspect: mirrors.Inspect, Version: thisBuild().version, Log: log})
		c.api = c.guard.Server(measured.API(apiRoutes{
			rest: rest.New(rest.Options{
				Catalog: resources, Store: db, Host: c.host, Mirrors: mirrors.Mirrors, Inspect: mirrors.Inspect, Stale: stale,
				Version: thisBuild().version, Config: o.shown(), Log: log,
			}),
			metrics:  measured.Handler(),
			gui:      c.gui,
			level:    level,
			log:      log,
			ready:    c.ready,
			stale:    stale,
			profiles: secure.IsLoopback(o.guard.APIAddress),
		}.handler()))
	}
	greeting.write(cmd.OutOrStdout(), resources.InUse())
	return c, nil
}

// listed prints all that is wrong with resources, where that is what err says.
func listed(w io.Writer, err error) error {
	var invalid *catalog.InvalidError
	var wrong api.Violations
	switch {
	case errors.As(err, &invalid):
		wrong = invalid.Violations
	case !errors.As(err, &wrong):
		return err
	}
	for _, v := range wrong {
		_, _ = fmt.Fprintln(w, v)
	}
	return fmt.Errorf("nothing is served: %s in the resources", count(len(wrong), "error"))
}

// shown is what GET /config answers: where things are, and what is asked for.
func (o runOptions) shown() any {
	return map[string]any{
		"files":     append([]string{}, o.paths...),
		"dataDir":   o.dataDir,
		"apiServer": map[string]any{"address": o.guard.APIAddress, "tls": o.guard.CertFile != "", "tokens": o.guard.TokenFile != ""},
		"xdsServer": map[string]any{
			"address": o.guard.XDSAddress, "tls": o.guard.CertFile != "", "tokens": o.guard.XDSTokenFile != "",
			"clientCertificates": o.guard.XDSClientCAFile != "",
		},
	}
}

// proxyFlags are those that kuma-mirror proxy needs to speak to this host.
func proxyFlags(o secure.Options) string {
	var flags string
	if o.CertFile != "" {
		flags += " --xds-ca-file FILE"
	}
	if o.XDSClientCAFile != "" {
		flags += " --xds-cert-file FILE --xds-key-file FILE"
	}
	if o.XDSTokenFile != "" {
		flags += " --xds-token-file FILE"
	}
	return flags
}

// announced is a source that tells when its first resources are in place.
type announced struct {
	host.Source
	first func()
}

func (a announced) Run(ctx context.Context, update func([]*api.Resource)) error {
	return a.Source.Run(ctx, func(resources []*api.Resource) {
		update(resources)
		a.first()
	})
}

// run serves until ctx ends, or until something fails.
func (c *composition) run(ctx context.Context) error {
	return bounded(ctx, c.log, endWithin, c.serve)
}

// serve ends in this order: requests of the API, which may write; the xDS
// streams; what follows files; the store.
func (c *composition) serve(ctx context.Context) error {
	// All below is ended by calls, in order, and not by ctx.
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	var tasks sync.WaitGroup
	tasks.Go(func() { c.guard.Run(background) })

	hostContext, endHost := context.WithCancel(background)
	hostEnded := make(chan error, 1)
	tasks.Go(func() { hostEnded <- c.host.Serve(hostContext, c.guard.XDS(c.xds)) })

	apiEnded := make(chan error, 1)
	if c.api != nil {
		tasks.Go(func() { c.gui.Run(background) })
		tasks.Go(func() { apiEnded <- c.api.Serve(c.guard.API(c.apiListener)) })
	}

	var failed error
	select {
	case <-ctx.Done():
		c.log.Info("ending: no more requests are taken")
	case failed = <-hostEnded:
		hostEnded <- nil // for below
	case failed = <-apiEnded:
	}
	c.ready.Store(false)
	if c.api != nil {
		c.drainAPI()
	}
	endHost()
	failed = errors.Join(failed, <-hostEnded)
	end()
	tasks.Wait()
	return errors.Join(failed, c.close())
}

// drainAPI lets requests in flight finish, and cuts those that take too long.
func (c *composition) drainAPI() {
	patience, cancel := context.WithTimeout(context.Background(), apiDrain)
	defer cancel()
	if err := c.api.Shutdown(patience); err != nil {
		c.log.Warn("requests to the API are still in flight; they are cut", "after", apiDrain)
		_ = c.api.Close()
	}
}

// close closes what was opened; listeners that were served are closed already.
func (c *composition) close() error {
	var errs []error
	for i := len(c.closers) - 1; i >= 0; i-- {
		if err := c.closers[i].Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
