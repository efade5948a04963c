package v1alpha1

import "iter"

// Entry is what an entry of conf.http says of requests that match it, and conf
// itself of all others: where they go, and where copies of them go.
type Entry interface {
	GetSplit() []*TrafficRoute_Split
	GetDestination() map[string]string
	GetMirror() *TrafficRoute_Mirror
	GetMirrors() []*TrafficRoute_Mirror
}

// Entries returns the entries of conf.http in their order, and then conf, each
// by its path in the Universal form. Those of conf.http are *TrafficRoute_Http,
// the last is *TrafficRoute_Conf.
func (x *TrafficRoute) Entries() iter.Seq2[Path, Entry] {
	return func(yield func(Path, Entry) bool) {
		at := Path("conf")
		for i, http := range x.GetConf().GetHttp() {
			if !yield(at.Field("http").Index(i), http) {
				return
			}
		}
		yield(at, x.GetConf())
	}
}

// MirrorsOf returns the mirrors of the entry that stands at a path, by their
// paths: mirror, then those of mirrors.
func MirrorsOf(at Path, e Entry) iter.Seq2[Path, *TrafficRoute_Mirror] {
	return func(yield func(Path, *TrafficRoute_Mirror) bool) {
		if m := e.GetMirror(); m != nil && !yield(at.Field("mirror"), m) {
			return
		}
		for i, m := range e.GetMirrors() {
			if !yield(at.Field("mirrors").Index(i), m) {
				return
			}
		}
	}
}
