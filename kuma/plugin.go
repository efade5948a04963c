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
	_ core_plugins.PolicyPlugin  = &policy{}
	_ core_plugins.RuntimePlugin = &policy{}
)

// policy implements Kuma's plugin interfaces. kuma-cp calls Apply from a
// goroutine per proxy.
type policy struct {
	log     logr.Logger
	journal plugin.Journal
	meshes  meshes
	metrics *metrics
}

func newPolicy(log logr.Logger) *policy {
	p := &policy{log: log}
	p.metrics = newMetrics(&p.journal)
	return p
}

// Order implements core_plugins.PolicyPlugin.
func (p *policy) Order() int { return order }

// MatchedPolicies implements core_plugins.PolicyPlugin: there is no kind of
// policy beside TrafficRoute, which Kuma matches by itself. Kuma wants a type
// nonetheless; without one the proxy would get no policy at all.
func (p *policy) MatchedPolicies(
	*core_mesh.DataplaneResource, xds_context.Resources, ...core_plugins.MatchedPoliciesOption,
) (core_xds.TypedMatchingPolicies, error) {
	return core_xds.TypedMatchingPolicies{Type: core_mesh.TrafficRouteType}, nil
}

// Customize implements core_plugins.RuntimePlugin: the plugin's metrics go where
// kuma-cp's are. kuma-cp starts without them rather than not at all.
func (p *policy) Customize(rt core_runtime.Runtime) error {
	if err := rt.Metrics().BulkRegister(p.metrics.collectors()...); err != nil {
		p.log.Error(err, "the plugin's metrics are not available")
	}
	return nil
}

// Apply implements core_plugins.PolicyPlugin. It never fails: what is wrong with
// a mirror leaves that mirror out, and whatever happens, rs is either as it was
// or has all of the proxy's mirrors.
func (p *policy) Apply(rs *core_xds.ResourceSet, xdsCtx xds_context.Context, proxy *core_xds.Proxy) error {
	if proxy.Dataplane == nil || proxy.Dataplane.Spec.IsBuiltinGateway() {
		// Zone ingresses and egresses forward what a data plane proxy has
		// copied already. The routes of a built-in gateway are not made from
		// TrafficRoutes.
		return nil
	}
	start := time.Now()
	defer func() { p.metrics.duration.Observe(time.Since(start).Seconds()) }()

	key := dataplaneKey(proxy.Dataplane)
	p.record(xdsCtx, key, p.mirror(rs, xdsCtx, proxy))
	return nil
}

// mirror does the work of Apply. A panic in it leaves rs as it was.
func (p *policy) mirror(rs *core_xds.ResourceSet, xdsCtx xds_context.Context, proxy *core_xds.Proxy) (note plugin.Note) {
	key := dataplaneKey(proxy.Dataplane)
	var resources *set
	defer func() {
		if r := recover(); r != nil {
			if resources != nil {
				resources.undo()
			}
			p.metrics.panics.Inc()
			p.log.V(1).Info("panic", "proxy", key.String(), "reason", fmt.Sprint(r), "stack", string(debug.Stack()))
			note = plugin.Note{Findings: []string{fmt.Sprintf(
				"%s: no mirrors, because of a bug in the plugin: %v; please report it with the stack that --log-level debug shows", key, r)}}
		}
	}()
	work := workOf(xdsCtx.Mesh, proxy)
	if len(work.outbounds) == 0 {
		return work.damaged.Note()
	}
	shadows := newHost(xdsCtx, proxy)
	resources = newSet(rs, work.outbounds)
	report := plugin.Apply(context.Background(), &resources.ResourceSet, plugin.Proxy{Key: work.key, Outbounds: work.outbounds}, shadows)
	report = append(work.damaged, report...)
	explain(report, proxy)
	note = report.Note()
	note.Findings = append(note.Findings, shadows.unserved(report)...)
	resources.commit(rs, report)
	return note
}

// record logs what changed for a proxy, and forgets proxies that are gone.
func (p *policy) record(xdsCtx xds_context.Context, key proxyKey, note plugin.Note) {
	begun, ended := p.journal.Record(key, note)
	for _, finding := range begun {
		p.log.Info("mirror: " + finding)
	}
	for _, finding := range ended {
		p.log.Info("mirror: no longer so: " + finding)
	}
	if p.meshes.changed(xdsCtx.Mesh) {
		p.journal.Retain(func(k proxyKey) bool { return exists(xdsCtx.Mesh, k) })
	}
}
