// Package kuma is the mirror plugin inside a kuma-cp. Importing it registers it:
//
//	import _ "github.com/kuma-mirror/kuma-mirror/kuma"
//
// It reads mirrors from the carriers in the TrafficRoutes that govern a data
// plane proxy's outbounds and puts them into what Kuma has generated for the
// proxy. All that needs no types of Kuma's is decided in the packages plugin and
// plugin/carrier of the root module.
package kuma

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	"github.com/kumahq/kuma/v2/pkg/core"
	core_plugins "github.com/kumahq/kuma/v2/pkg/core/plugins"
	core_mesh "github.com/kumahq/kuma/v2/pkg/core/resources/apis/mesh"
	core_runtime "github.com/kumahq/kuma/v2/pkg/core/runtime"
	core_xds "github.com/kumahq/kuma/v2/pkg/core/xds"
	"github.com/kumahq/kuma/v2/pkg/xds/cache/cla"
	xds_context "github.com/kumahq/kuma/v2/pkg/xds/context"

	"github.com/kuma-mirror/kuma-mirror/plugin"
)

// Name is what the plugin is called among those that kuma-cp lists at its start.
const Name core_plugins.PluginName = "mirror"

// order puts the plugin behind all of Kuma's, the last of which is
// MeshProxyPatch with 9999: none of them sees a mirror cluster or a mirror
// policy, and the plugin sees the routes as Envoy gets them.
const order = 10_000

func init() {
	core_plugins.Register(Name, newPolicy(core.Log.WithName("kuma-mirror")))
}

var (
	_ core_plugins.PolicyPlugin    = &policy{}
	_ core_plugins.BootstrapPlugin = &policy{}
)

// policy implements Kuma's plugin interfaces. kuma-cp calls Apply from a
// goroutine per proxy.
type policy struct {
	log      logr.Logger
	journal  plugin.Journal // of mirrors
	stranded plugin.Journal // of outbounds
	refusals refusals
	metrics  *metrics
}

func newPolicy(log logr.Logger) *policy {
	p := &policy{log: log}
	p.metrics = newMetrics(&p.journal, &p.stranded)
	return p
}

// Name implements core_plugins.BootstrapPlugin.
func (p *policy) Name() core_plugins.PluginName { return Name }

// Order implements core_plugins.PolicyPlugin and BootstrapPlugin.
func (p *policy) Order() int { return order }

// MatchedPolicies implements core_plugins.PolicyPlugin: there is no kind of
// policy beside TrafficRoute, which Kuma matches by itself. Kuma wants a type
// nonetheless; without one the proxy would get no policy at all.
func (p *policy) MatchedPolicies(
	*core_mesh.DataplaneResource, xds_context.Resources, ...core_plugins.MatchedPoliciesOption,
) (core_xds.TypedMatchingPolicies, error) {
	return core_xds.TypedMatchingPolicies{Type: core_mesh.TrafficRouteType}, nil
}

// BeforeBootstrap implements core_plugins.BootstrapPlugin.
func (p *policy) BeforeBootstrap(*core_runtime.Builder, core_plugins.PluginConfig) error { return nil }

// AfterBootstrap implements core_plugins.BootstrapPlugin: the plugin's metrics go
// where kuma-cp's are, and it hears of proxies that leave and of what Envoys
// refuse. kuma-cp starts without
// the metrics rather than not at all.
func (p *policy) AfterBootstrap(b *core_runtime.Builder, _ core_plugins.PluginConfig) error {
	if err := b.Metrics().BulkRegister(p.metrics.collectors()...); err != nil {
		p.log.Error(err, "the plugin's metrics are not available")
	}
	xds := b.XDS()
	xds.ServerCallbacks = newStreams(xds.ServerCallbacks, p.refusals.hear, p.forget)
	b.WithXDS(xds)
	return nil
}

// Apply implements core_plugins.PolicyPlugin. It never fails: what is wrong with
// a mirror leaves that mirror out, and whatever happens, rs is either as it was
// or has all of the proxy's mirrors.
func (p *policy) Apply(rs *core_xds.ResourceSet, xdsCtx xds_context.Context, proxy *core_xds.Proxy) error {
	start := time.Now()
	defer func() {
		if r := recover(); r != nil { // not in mirror, which has its own
			p.metrics.panics.Inc()
			p.log.Error(fmt.Errorf("panic: %v", r), "mirror: a bug in the plugin; please report it with the stack", "stack", string(debug.Stack()))
		}
	}()
	if proxy.Dataplane == nil || proxy.Dataplane.Spec.IsBuiltinGateway() {
		// Zone ingresses and egresses forward what a data plane proxy has
		// copied already. The routes of a built-in gateway are not made from
		// TrafficRoutes.
		return nil
	}
	defer func() { p.metrics.duration.Observe(time.Since(start).Seconds()) }()

	key := dataplaneKey(proxy.Dataplane)
	retrial := p.refusals.retrial(key)
	note, stack := p.mirror(rs, xdsCtx, proxy, retrial)
	if !isInspection(xdsCtx) {
		p.refusals.serve(key, retrial)
		p.record(&p.journal, key, note, stack)
		p.record(&p.stranded, key, stranded(xdsCtx.Mesh, proxy), "")
	}
	return nil
}

// isInspection reports whether somebody looks at a proxy's configuration, by
// kumactl or in the GUI, be it as it would be with policies that are only tried.
// No proxy gets the result, which may be another kuma-cp's besides.
func isInspection(xdsCtx xds_context.Context) bool {
	_, uncached := xdsCtx.ControlPlane.CLACache.(*cla.Retriever)
	return uncached
}

// mirror does the work of Apply. A panic in it leaves rs as it was, and its stack
// is returned.
func (p *policy) mirror(
	rs *core_xds.ResourceSet, xdsCtx xds_context.Context, proxy *core_xds.Proxy, retrial *retrial,
) (note plugin.Note, stack string) {
	var resources *set
	defer func() {
		if r := recover(); r != nil {
			if resources != nil {
				resources.undo()
			}
			p.metrics.panics.Inc()
			stack = string(debug.Stack())
			note = plugin.Note{Findings: []string{fmt.Sprintf(
				"%s: no mirrors, because of a bug in the plugin: %v; please report it with the stack", dataplaneKey(proxy.Dataplane), r)}}
		}
	}()
	work := workOf(xdsCtx.Mesh, proxy)
	if len(work.outbounds) == 0 {
		return work.damaged.Note(), ""
	}
	shadows := newHost(xdsCtx, proxy, retrial)
	resources = newSet(rs, work, retrial)
	report := plugin.Apply(context.Background(), &resources.ResourceSet, plugin.Proxy{Key: work.key, Outbounds: work.outbounds}, shadows)
	report = append(work.damaged, report...)
	resources.explain(report)
	explain(report, proxy)
	note = report.Note()
	note.Findings = append(note.Findings, shadows.unserved(report)...)
	resources.commit(rs, report)
	return note, ""
}

// record logs what changed for a proxy. The stack is that of a panic, which is
// then the only finding.
func (p *policy) record(journal *plugin.Journal, key proxyKey, note plugin.Note, stack string) {
	begun, ended := journal.Record(key, note)
	for _, finding := range begun {
		if stack != "" {
			p.log.Error(nil, "mirror: "+finding, "stack", stack)
			continue
		}
		p.log.Info("mirror: " + finding)
	}
	for _, finding := range ended {
		p.log.Info("mirror: no longer so: " + finding)
	}
}

// forget drops what is known of a proxy that this kuma-cp no longer serves. Nobody
// is told: what was found may still hold, elsewhere.
func (p *policy) forget(key proxyKey) {
	p.journal.Record(key, plugin.Note{})
	p.stranded.Record(key, plugin.Note{})
	p.refusals.serve(key, nil)
}
