package xds

import (
	mutation "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// headerMutations returns the changes to the copy's headers, additions before
// removals as Envoy applies those of a route.
func headerMutations(headers *api.TrafficRoute_Http_Modify_Headers) []*mutation.HeaderMutation {
	var out []*mutation.HeaderMutation
	for _, add := range headers.GetAdd() {
		out = append(out, &mutation.HeaderMutation{Action: &mutation.HeaderMutation_Append{Append: HeaderToAdd(add)}})
	}
	for _, remove := range headers.GetRemove() {
		out = append(out, &mutation.HeaderMutation{Action: &mutation.HeaderMutation_Remove{Remove: remove.GetName()}})
	}
	return out
}

// HeaderToAdd returns the header that add sets or, with append, adds.
func HeaderToAdd(add *api.TrafficRoute_Http_Modify_Headers_Add) *core.HeaderValueOption {
	action := core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
	if add.GetAppend() {
		action = core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
	}
	return &core.HeaderValueOption{
		Header:       &core.HeaderValue{Key: add.GetName(), Value: add.GetValue()},
		AppendAction: action,
	}
}
