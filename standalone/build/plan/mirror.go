package plan

import (
	"cmp"
	"slices"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
)

// Mirror is what would become of one mirror on one outbound.
type Mirror struct {
	// Listener is the name of the outbound's listener.
	Listener string `json:"listener"`
	// Policy is the name of the TrafficRoute, Path the mirror's in it, such as
	// conf.http[0].mirror.
	Policy string `json:"policy"`
	Path   string `json:"path"`
	// Before is nil where the mirror comes, After where it goes.
	Before *MirrorState `json:"before"`
	After  *MirrorState `json:"after"`
}

// MirrorState is how a mirror is.
type MirrorState struct {
	// State is injected, off, not http, refused or failed.
	State plugin.State `json:"state"`
	// Reason says why it is not injected; else empty.
	Reason string `json:"reason,omitempty"`
	// Name is the mirror's own; may be empty.
	Name string `json:"name,omitempty"`
	// Destination is the shadow's tags.
	Destination api.Tags `json:"destination"`
	// Percentage of the requests that is copied, 0 to 100.
	Percentage float64 `json:"percentage"`
	// Cluster is the mirror cluster; empty unless injected.
	Cluster string `json:"cluster,omitempty"`
}

// mirrors are those that differ.
func mirrors(before, after plugin.Report) []Mirror {
	type key struct {
		listener string
		policy   api.Key
		path     api.Path
	}
	all := map[key]*Mirror{}
	at := func(o plugin.Outcome) *Mirror {
		k := key{o.Listener, o.Policy, o.Path}
		if all[k] == nil {
			all[k] = &Mirror{Listener: o.Listener, Policy: o.Policy.Name, Path: string(o.Path)}
		}
		return all[k]
	}
	for _, o := range before {
		at(o).Before = stateOf(o)
	}
	for _, o := range after {
		at(o).After = stateOf(o)
	}
	var out []Mirror
	for _, m := range all {
		if m.Before == nil || m.After == nil || !m.Before.equal(m.After) {
			out = append(out, *m)
		}
	}
	slices.SortFunc(out, func(a, b Mirror) int {
		return cmp.Or(strings.Compare(a.Listener, b.Listener), strings.Compare(a.Policy, b.Policy), strings.Compare(a.Path, b.Path))
	})
	return out
}

func stateOf(o plugin.Outcome) *MirrorState {
	return &MirrorState{
		State:       o.State,
		Reason:      o.Reason,
		Name:        o.Name,
		Destination: o.Destination,
		Percentage:  o.Percentage,
		Cluster:     o.Cluster,
	}
}

func (s *MirrorState) equal(other *MirrorState) bool {
	return s.State == other.State && s.Reason == other.Reason && s.Name == other.Name &&
		s.Percentage == other.Percentage && s.Cluster == other.Cluster && s.Destination.String() == other.Destination.String()
}
