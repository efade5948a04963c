package rest

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// filter says whether a resource belongs into a list.
type filter func(*api.Resource) bool

// filterOf reads Kuma's query parameters that make a list shorter: `name`,
// `filter[labels.KEY]`, `tag` of data planes and external services, `gateway`
// of data planes.
func filterOf(k kind, r *http.Request) (filter, error) {
	query := r.URL.Query()
	var all []filter
	part, err := parameter(r, "name")
	if err != nil {
		return nil, err
	}
	if part != "" {
		all = append(all, func(r *api.Resource) bool { return strings.Contains(r.Meta.Name, part) })
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if !strings.HasPrefix(name, "filter[") {
			continue
		}
		label, ok := strings.CutPrefix(name, "filter[labels.")
		label, closed := strings.CutSuffix(label, "]")
		if !ok || !closed {
			return nil, badParameter(name, "must be filter[labels.KEY]: labels are all that can be filtered by")
		}
		want, err := parameter(r, name)
		if err != nil {
			return nil, err
		}
		all = append(all, func(r *api.Resource) bool {
			value, ok := r.Meta.Labels[label]
			return ok && value == want
		})
	}
	if k.Kind == api.KindDataplane || k.Kind == api.KindExternalService {
		selector := map[string]string{}
		for _, tag := range query["tag"] {
			// A value may have colons of its own.
			if key, value, ok := strings.Cut(tag, ":"); ok {
				selector[key] = value
			} else {
				return nil, badParameter("tag", "must be KEY:VALUE")
			}
		}
		if len(selector) > 0 {
			all = append(all, func(r *api.Resource) bool { return hasTags(r, selector) })
		}
	}
	if k.Kind == api.KindDataplane {
		mode, err := choice(r, "gateway", "true", "false", "delegated", "builtin")
		if err != nil {
			return nil, err
		}
		if mode != "" {
			all = append(all, func(r *api.Resource) bool {
				gateway := r.Spec.(*api.Dataplane).GetNetworking().GetGateway() != nil
				return gateway == (mode != "false") && mode != "builtin" // of which there is none
			})
		}
	}
	return func(r *api.Resource) bool {
		return !slices.ContainsFunc(all, func(f filter) bool { return !f(r) })
	}, nil
}

// hasTags says whether one set of the resource's tags has all of the
// selector's, each with a value that contains the selector's, as in Kuma; `*`
// stands for any.
func hasTags(r *api.Resource, selector map[string]string) bool {
	matches := func(tags map[string]string) bool {
		for key, part := range selector {
			value, ok := tags[key]
			if !ok || part != "*" && !strings.Contains(value, part) {
				return false
			}
		}
		return true
	}
	switch spec := r.Spec.(type) {
	case *api.Dataplane:
		for _, inbound := range spec.GetNetworking().GetInbound() {
			if matches(inbound.GetTags()) {
				return true
			}
		}
		return matches(spec.GetNetworking().GetGateway().GetTags())
	case *api.ExternalService:
		return matches(spec.GetTags())
	default:
		return false
	}
}
