package rest

import (
	"fmt"
	"net/http"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin/carrier"
)

// How mirrors are shown.
const (
	asWritten  = "written"
	asEncoded  = "encoded"
	asDecoded  = "decoded"
	forKumactl = "encoded for kumactl"
)

// mirrorMode reads how the client wants mirrors: as they were written, encoded
// as a stock Kuma keeps them, or decoded.
//
// A stock kumactl drops the field `mirror` without a word, from what it prints
// and exports too, and what it has printed is what its user applies again. So
// it gets mirrors encoded unless the request says otherwise.
func mirrorMode(r *http.Request) (string, error) {
	mode, err := choice(r, "mirrors", asWritten, asEncoded, asDecoded)
	if mode == "" && fromKumactl(r) {
		mode = forKumactl
	}
	return mode, err
}

// shown returns the resource with its mirrors in a mode.
func (s *server) shown(resource *api.Resource, mode string) (*api.Resource, error) {
	switch mode {
	case asEncoded:
		return carrier.EncodeResource(resource)
	case asDecoded:
		decoded, violations := carrier.DecodeResource(resource)
		return decoded, violations.OrNil()
	case forKumactl:
		encoded, err := carrier.EncodeResource(resource)
		if err != nil {
			encoded = resource // better than nothing
		}
		return s.dated(encoded), nil
	default:
		return resource, nil
	}
}

// dated returns the resource with the start of this host for times it has not,
// as of files: kumactl makes an age of 292 years of that.
func (s *server) dated(resource *api.Resource) *api.Resource {
	dated := *resource
	if dated.Meta.CreationTime.IsZero() {
		dated.Meta.CreationTime = s.started
	}
	if dated.Meta.ModificationTime.IsZero() {
		dated.Meta.ModificationTime = s.started
	}
	return &dated
}

// lostMirrors warns a stock kumactl's user of what it does without a word:
// leaving `mirror` and `mirrors` out of what it sends. kumactl prints warnings.
func lostMirrors(r *http.Request, before, after *api.Resource) []string {
	if before == nil || !fromKumactl(r) || !mirrors(before) || mirrors(after) {
		return nil
	}
	return []string{fmt.Sprintf("%s had mirrors and has none any more; kumactl leaves mirrors out unless they are encoded: "+
		"apply what `kuma-mirror encode` writes, or use `kuma-mirror apply`", after.Key())}
}

// mirrors says whether a resource mirrors anything, encoded or not.
func mirrors(r *api.Resource) bool {
	route, ok := r.Spec.(*api.TrafficRoute)
	if !ok {
		return false
	}
	for at, e := range route.Entries() {
		for range api.MirrorsOf(at, e) {
			return true
		}
	}
	return carrier.Has(route)
}

// fromKumactl says whether the client is Kuma's own, which knows no mirrors.
func fromKumactl(r *http.Request) bool {
	return strings.HasPrefix(r.UserAgent(), "kumactl/")
}
