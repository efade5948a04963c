package plan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"

	udiff "github.com/aymanbagabas/go-udiff"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/static"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// world is everything before and after a change. Its methods may be called from
// any goroutine.
type world struct {
	before, after *mesh.Index
	diffs         sync.Map // of texts, by the key of Plan.Diffs
}

func (w *world) hadBefore(key api.Key) bool {
	return w.before.Mesh(key.Mesh).Dataplane(key.Name) != nil
}

// dataplane says what would happen to a data plane that is there before or
// after; nil where nothing would, or where ctx ended.
func (w *world) dataplane(ctx context.Context, key api.Key) *Dataplane {
	if ctx.Err() != nil {
		return nil
	}
	d := &Dataplane{Mesh: key.Mesh, Name: key.Name, Change: Changed, Changes: []Change{}, Mirrors: []Mirror{}}
	var was, is xds.ResourceSet
	var before, after plugin.Report
	if w.hadBefore(key) {
		if rs, report, err := generate.Proxy(ctx, w.before, key); err == nil {
			was, before = *rs, report
		}
	} else {
		d.Change = Added
	}
	if w.after.Mesh(key.Mesh).Dataplane(key.Name) != nil {
		rs, report, err := generate.Proxy(ctx, w.after, key)
		if err != nil {
			d.Error = err.Error()
			return d
		}
		is, after = *rs, report
	} else {
		d.Change = Removed
	}
	d.Changes = append(d.Changes, w.changes(&was, &is, d.Change == Changed)...)
	d.Mirrors = append(d.Mirrors, mirrors(before, after)...)
	if d.Change == Changed && len(d.Changes) == 0 && len(d.Mirrors) == 0 {
		return nil
	}
	return d
}

// changes are what differs between two configurations.
func (w *world) changes(was, is *xds.ResourceSet, diffs bool) []Change {
	var out []Change
	add := func(t Type, name string, before, after proto.Message) {
		c := Change{Type: t, Name: name, Change: Changed}
		switch {
		case before == nil:
			c.Change = Added
		case after == nil:
			c.Change = Removed
		}
		if diffs {
			c.Diff = w.diff(c, before, after)
		}
		out = append(out, c)
	}
	for _, r := range is.All() {
		t, ok := typeOf(r.Resource)
		if !ok {
			continue
		}
		old := was.Get(r.Resource, r.Name)
		if old == nil {
			add(t, r.Name, nil, r.Resource)
		} else if !proto.Equal(old.Resource, r.Resource) {
			add(t, r.Name, old.Resource, r.Resource)
		}
	}
	for _, r := range was.All() {
		if t, ok := typeOf(r.Resource); ok && is.Get(r.Resource, r.Name) == nil {
			add(t, r.Name, r.Resource, nil)
		}
	}
	slices.SortFunc(out, func(a, b Change) int {
		if a.Type != b.Type {
			return slices.Index(types, a.Type) - slices.Index(types, b.Type)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}

var types = []Type{Listener, Route, Cluster, Endpoints}

func typeOf(m proto.Message) (Type, bool) {
	switch m.(type) {
	case *listener.Listener:
		return Listener, true
	case *route.RouteConfiguration:
		return Route, true
	case *cluster.Cluster:
		return Cluster, true
	case *endpoint.ClusterLoadAssignment:
		return Endpoints, true
	default:
		return "", false
	}
}

// diff keeps the unified diff of a change and returns its key.
func (w *world) diff(c Change, before, after proto.Message) string {
	// Made of what differs, the key is found before the diff is made.
	hash := sha256.New()
	for _, m := range []proto.Message{before, after} {
		var content []byte
		if m != nil {
			content = deterministic(m)
		}
		sum := sha256.Sum256(content)
		hash.Write(sum[:])
	}
	hash.Write([]byte(string(c.Type) + "/" + c.Name))
	key := hex.EncodeToString(hash.Sum(nil)[:8])
	if _, ok := w.diffs.Load(key); ok {
		return key
	}
	name := string(c.Type) + "/" + c.Name
	from, to := name, name
	switch c.Change {
	case Added:
		from = "/dev/null"
	case Removed:
		to = "/dev/null"
	}
	w.diffs.Store(key, udiff.Unified(from, to, text(before), text(after)))
	return key
}

func deterministic(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err) // of generated messages: texts that are no UTF-8, which nobody can write
	}
	return b
}

// text is a resource as Envoy's YAML.
func text(m proto.Message) string {
	if m == nil {
		return ""
	}
	out, err := static.YAML(m)
	if err != nil {
		return "# cannot be shown: " + err.Error() + "\n"
	}
	return string(out)
}
