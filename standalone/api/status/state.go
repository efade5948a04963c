package status

import (
	"fmt"
	"strings"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

// evaluate brings the states of the rows up to date.
func (p *proxy) evaluate(now time.Time, host proxies) {
	envoy := host.Proxy(p.key)
	if envoy.Connected && !p.connected {
		p.syncing = true
	}
	p.connected = envoy.Connected
	if envoy.InSync {
		p.syncing = false
	}
	refused := refusalOf(envoy)
	for _, r := range p.rows {
		if r.pending && envoy.InSync {
			r.pending, r.changed = false, now
			if !r.fresh {
				r.samples = nil
			}
		}
		state, reason := p.judge(r, envoy, refused)
		if state != r.state {
			r.state, r.since = state, now
		}
		r.reason = reason
	}
}

// judge says what state a row is in, and why where it is not active.
func (p *proxy) judge(r *row, envoy ads.ProxyStatus, refused *ads.Refusal) (State, string) {
	if p.err != nil {
		return Failed, fmt.Sprintf("the data plane's configuration cannot be served, and its Envoy keeps what it has: %s", p.err)
	}
	o := &r.spec.outcome
	switch o.State {
	case plugin.Off:
		return Off, o.Reason
	case plugin.NotHTTP:
		return NotHTTP, o.Reason
	case plugin.Refused:
		return Refused, o.Reason
	case plugin.Injected:
	default:
		return Failed, o.Reason
	}
	unacknowledged := r.pending || p.syncing
	leftOut := leftOutOf(r, envoy)
	switch {
	case !envoy.Connected:
		command := "kuma-mirror proxy --dataplane " + p.key.Name
		if p.key.Mesh != api.DefaultMesh {
			command += " --mesh " + p.key.Mesh
		}
		return NotConnected, "the data plane's Envoy is not connected; it is started by " + command
	case leftOut != nil:
		return NACK, "Envoy refuses this mirror and runs everything else without it; it is tried again when it changes, and every half a minute: " + leftOut.Message
	case unacknowledged && refused != nil:
		return NACK, "Envoy refuses its configuration and keeps the one it has: " + refused.Message
	case unacknowledged:
		return PendingACK, "Envoy has not acknowledged its configuration yet"
	case r.spec.endpoints == 0:
		return NoEndpoints, fmt.Sprintf("no ready instance has the tags %s", o.Destination)
	case r.group != nil && len(r.spec.names) > 0 && r.group.resolution.waits():
		return Waiting, fmt.Sprintf("Envoy has no address of %s: %s", strings.Join(r.spec.names, ", "), r.group.resolution)
	case r.group != nil && r.group.failing:
		return Unreachable, fmt.Sprintf("no copy reaches the shadow: connections to its %s fail, and Envoy leaves out for two seconds what fails five times",
			instances(r.spec.endpoints))
	}
	return Active, ""
}

// leftOutOf is why Envoy runs without the row's mirror cluster, or without the
// mirrors of its route table; nil if it does not.
func leftOutOf(r *row, envoy ads.ProxyStatus) *ads.Refusal {
	for _, l := range envoy.LeftOut {
		if l.Type == resource.ClusterType && l.Name == r.spec.outcome.Cluster || l.Type == resource.RouteType && l.Name == r.spec.table {
			return l.Refusal
		}
	}
	return nil
}

func instances(n int) string {
	if n == 1 {
		return "only instance"
	}
	return fmt.Sprintf("%d instances", n)
}

// refusalOf is the refusal that still holds; nil if there is none.
func refusalOf(envoy ads.ProxyStatus) *ads.Refusal {
	for _, t := range envoy.Types {
		if t.Refused != nil {
			return t.Refused
		}
	}
	return nil
}
