package kuma

import (
	"fmt"
	"maps"
	"strings"
	"sync"

	util_xds "github.com/kumahq/kuma/v2/pkg/util/xds"
)

// maxWords is how much of an Envoy's message is kept.
const maxWords = 300

// cannotBind begins Envoy's words where somebody else has a listener's port: no
// mirror is the reason, and nothing that is compared changes when it is free.
const cannotBind = "cannot bind "

// refusals remembers which mirror clusters, and which listeners with mirrors,
// Envoys have refused, so that the next configuration of such an Envoy leaves
// them out. Kuma's own server sends a refused type again every five seconds,
// during which nothing else reaches that Envoy. The zero value is ready, for
// several goroutines at once.
type refusals struct {
	mu      sync.Mutex
	proxies map[proxyKey]*verdicts
}

// verdicts are those of one proxy's Envoy. What is compared is the digest of what
// Kuma made and the mirror was added to: an Envoy gets a refused resource again as
// soon as something about it changes.
type verdicts struct {
	// served are the newest configuration's resources with mirrors.
	served map[resource]uint64
	// refused are those that are left out of it.
	refused map[resource]refusal
}

// resource is a cluster or a listener, by its type URL and name.
type resource struct{ typeURL, name string }

// refusal is what an Envoy refused, and its words.
type refusal struct {
	digest uint64
	words  string
}

func (r refusal) Error() string { return fmt.Sprintf("Envoy refused it: %q", r.words) }

// retrial is one run of Apply, which tries everything that is not as it was when
// the proxy's Envoy refused it.
type retrial struct {
	before map[resource]refusal
	verdicts
}

func (r *refusals) retrial(key proxyKey) *retrial {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &retrial{verdicts: verdicts{served: map[resource]uint64{}, refused: map[resource]refusal{}}}
	if v := r.proxies[key]; v != nil {
		t.before = maps.Clone(v.refused)
	}
	return t
}

// try returns an error where the Envoy refused that very resource.
func (t *retrial) try(r resource, digest uint64) error {
	if old, ok := t.before[r]; ok && old.digest == digest {
		t.refused[r] = old
		return old
	}
	t.served[r] = digest
	return nil
}

// serve takes down what the proxy is about to get.
func (r *refusals) serve(key proxyKey, t *retrial) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t == nil || len(t.served) == 0 && len(t.refused) == 0 {
		delete(r.proxies, key)
		return
	}
	if r.proxies == nil {
		r.proxies = map[proxyKey]*verdicts{}
	}
	r.proxies[key] = &t.verdicts
}

// hear takes down what an Envoy refuses, and reports whether something of that
// will be left out of its next configuration. It does so once for each resource:
// what is left out cannot be refused.
func (r *refusals) hear(key proxyKey, request util_xds.Request) bool {
	if !request.HasErrors() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.proxies[key]
	if v == nil {
		return false
	}
	heard := false
	for at, digest := range v.served {
		if at.typeURL != request.GetTypeUrl() {
			continue
		}
		words, ok := wordsAbout(at.name, request.ErrorMsg())
		if !ok || strings.HasPrefix(words, cannotBind) {
			continue
		}
		v.refused[at] = refusal{digest, words}
		delete(v.served, at)
		heard = true
	}
	return heard
}

// wordsAbout finds what Envoy says of one resource. A message lists them all, as
// `Error adding/updating cluster(s) a: why, b: why`, or a line each.
func wordsAbout(name, message string) (string, bool) {
	for rest := message; ; {
		i := strings.Index(rest, name+": ")
		if i < 0 {
			return "", false
		}
		if i == 0 || rest[i-1] == ' ' || rest[i-1] == '\n' {
			words, _, _ := strings.Cut(rest[i+len(name)+2:], "\n")
			return words[:min(len(words), maxWords)], true
		}
		rest = rest[i+len(name):]
	}
}
