package plugin

import (
	"fmt"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// State says what became of one mirror on one outbound.
type State string

const (
	// Injected mirrors are in the route table.
	Injected State = "injected"
	// Off mirrors are at 0 % and leave no trace in Envoy.
	Off State = "off"
	// NotHTTP mirrors stand on an outbound whose traffic has no requests.
	NotHTTP State = "not http"
	// Refused mirrors were left out because the route table is not what the
	// TrafficRoute says.
	Refused State = "refused"
	// Failed mirrors were left out because their cluster could not be built.
	Failed State = "failed"
	// Damaged mirrors travelled in a carrier that cannot be read. Hosts that
	// read carriers report them; of such an outcome only Proxy, Policy,
	// Listener, Path and Reason are known.
	Damaged State = "damaged"
)

// Outcome is what became of one mirror on one outbound of one proxy.
type Outcome struct {
	// Proxy is the Dataplane, Policy the TrafficRoute.
	Proxy, Policy api.Key
	// Listener is the name of the outbound's listener.
	Listener string
	// Path of the mirror in the TrafficRoute, such as conf.http[0].mirror.
	Path api.Path
	// Destination is the shadow's tags, without wildcards.
	Destination api.Tags
	// Percentage of the requests that is copied, 0 to 100.
	Percentage float64
	// Name is the mirror's own, which its stats have; may be empty.
	Name string
	// Cluster is the mirror cluster; empty unless State is Injected.
	Cluster string
	State   State
	// Reason says why State is not Injected; else empty.
	Reason string
}

// String gives the outcome in a line for logs and warnings.
func (o Outcome) String() string {
	s := fmt.Sprintf("%s: %s: %s: ", o.Proxy, o.Policy, o.Path)
	if o.State != Damaged {
		s += fmt.Sprintf("mirror of %g %% to %s: ", o.Percentage, o.Destination)
	}
	s += string(o.State)
	if o.Reason != "" {
		s += ": " + o.Reason
	}
	return s
}

// Report is the outcome of every mirror of every outbound, in the order of the
// outbounds and, within one, of the TrafficRoute.
type Report []Outcome

// Problems returns the outcomes that are neither injected nor off.
func (r Report) Problems() Report {
	var out Report
	for _, o := range r {
		if o.State != Injected && o.State != Off {
			out = append(out, o)
		}
	}
	return out
}
