package rest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/secure"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// Audit logs each resource that somebody writes over the API: who, which, what
// became of it, and of its mirrors. It is for catalog.Options.OnWrite.
func Audit(log *slog.Logger) func(context.Context, []catalog.Written, error) {
	return func(ctx context.Context, all []catalog.Written, err error) {
		for _, w := range all {
			if w.Result == catalog.Unchanged {
				continue
			}
			attributes := []any{"kind", w.Key.Kind}
			if w.Key.Mesh != "" {
				attributes = append(attributes, "mesh", w.Key.Mesh)
			}
			attributes = append(attributes, "name", w.Key.Name, "result", w.Result)
			if caller := secure.CallerOf(ctx).Name; caller != "" {
				attributes = append(attributes, "token", caller)
			}
			if changes := mirrorChanges(w.Before, w.After); len(changes) > 0 {
				attributes = append(attributes, "mirrors", strings.Join(changes, "; "))
			}
			if err != nil {
				log.WarnContext(ctx, "a resource was not written", append(attributes, "error", problemOf(err))...)
				continue
			}
			log.InfoContext(ctx, "a resource was written", attributes...)
		}
	}
}

// mirrorChanges says of each mirror that is not as it was from what to what its
// percentage and its shadow have changed.
func mirrorChanges(before, after *api.Resource) []string {
	was, is := map[api.Path]string{}, map[api.Path]string{}
	var paths []api.Path
	for path, text := range mirrorTexts(before) {
		was[path] = text
		paths = append(paths, path)
	}
	for path, text := range mirrorTexts(after) {
		if is[path] = text; was[path] == "" {
			paths = append(paths, path)
		}
	}
	var changes []string
	for _, path := range paths {
		from, to := was[path], is[path]
		if from == "" {
			from = "none"
		}
		if to == "" {
			to = "none"
		}
		if from != to {
			changes = append(changes, fmt.Sprintf("%s: %s -> %s", path, from, to))
		}
	}
	return changes
}

// mirrorTexts gives percentage and shadow of each mirror by its path, in order.
func mirrorTexts(r *api.Resource) func(yield func(api.Path, string) bool) {
	return func(yield func(api.Path, string) bool) {
		if r == nil {
			return
		}
		route, ok := r.Spec.(*api.TrafficRoute)
		if !ok {
			return
		}
		for at, e := range route.Entries() {
			for path, m := range api.MirrorsOf(at, e) {
				if !yield(path, fmt.Sprintf("%v %% to %s", xds.Percentage(m), api.Tags(m.GetDestination()))) {
					return
				}
			}
		}
	}
}
