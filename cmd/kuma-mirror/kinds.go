package main

import (
	"fmt"
	"slices"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/client"
)

// parseKind takes what people call a kind: traffic-routes, as in the API's
// paths, traffic-route, TrafficRoute and so on, and a short name.
func parseKind(name string) (api.Kind, error) {
	plain := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "") }
	for _, kind := range client.Kinds() {
		if slices.Contains([]string{plain(client.Collection(kind)), plain(string(kind)), shortName(kind)}, plain(name)) {
			return kind, nil
		}
	}
	var known []string
	for _, kind := range client.Kinds() {
		known = append(known, fmt.Sprintf("%s (%s)", client.Collection(kind), shortName(kind)))
	}
	return "", fmt.Errorf("%q is no kind of resource; it is one of %s", name, strings.Join(known, ", "))
}

func shortName(kind api.Kind) string {
	switch kind {
	case api.KindMesh:
		return "m"
	case api.KindDataplane:
		return "dp"
	case api.KindExternalService:
		return "es"
	default:
		return "tr"
	}
}

// keyOf is the key of a resource that is named on the command line.
func keyOf(kind api.Kind, mesh, name string) api.Key {
	if kind == api.KindMesh {
		mesh = ""
	}
	return api.Key{Kind: kind, Mesh: mesh, Name: name}
}
