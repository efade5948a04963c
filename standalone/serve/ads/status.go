package ads

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Protocol is the variant of xDS that a stream speaks.
type Protocol string

// The protocols, as Envoy's bootstrap calls them: GRPC and DELTA_GRPC.
const (
	StateOfTheWorld Protocol = "sotw"
	Delta           Protocol = "delta"
)

// ProxyStatus is what is known of one proxy.
type ProxyStatus struct {
	// Node is Envoy's node id.
	Node string
	// Configured says whether Set was called and Remove was not.
	Configured bool
	// Connected says whether Envoy has a stream. The fields below are those
	// of the newest one, and zero without any.
	Connected bool
	Protocol  Protocol
	// Since is when the stream began.
	Since time.Time
	// InSync says whether Envoy has acknowledged all of the configuration that
	// was last Set. Clusters that leave may still be about to.
	InSync bool
	// Types are the resource types Envoy has subscribed to, in the order in
	// which they are sent.
	Types []TypeStatus
	// Refused is the stream's latest refusal; nil if there was none.
	Refused *Refusal
	// LeftOut is what Envoy refused of mirrors and runs without, ordered by
	// type and name. It does not keep Envoy from being InSync.
	LeftOut []LeftOut
}

// LeftOut is a mirror cluster that an Envoy refused, or a route table that it
// refused with its mirrors and is given without them. It is tried again when it
// changes, and every Options.Retry.
type LeftOut struct {
	// Type is the type URL, of clusters or of route tables.
	Type string
	// Name of the cluster or the route table.
	Name    string
	Refusal *Refusal
}

// TypeStatus is how far one type of resources is. Versions are those of the
// xDS responses: hashes over all resources of the type that Envoy wants.
type TypeStatus struct {
	// Type is the type URL.
	Type string
	// Sent and Acknowledged are empty where there was none.
	Sent, Acknowledged string
	// Refused is the latest refusal; nil if there was none, or if a later
	// response was acknowledged.
	Refused *Refusal
}

// Refusal is a NACK.
type Refusal struct {
	// Type is the type URL.
	Type string
	// Version of the response that was refused.
	Version string
	// Message is Envoy's own.
	Message string
	Time    time.Time
}

// EventKind says what happened.
type EventKind string

// What happens on a stream.
const (
	Connected    EventKind = "connected"
	Disconnected EventKind = "disconnected"
	Acknowledged EventKind = "acknowledged"
	Refused      EventKind = "refused"
)

// Event is something that happened on the stream of one proxy.
type Event struct {
	Kind EventKind
	Node string
	// Type URL and Version of the response that was acknowledged or refused.
	Type, Version string
	// Message is Envoy's own, of a refusal.
	Message string
	// InSync is the status after the event.
	InSync bool
	Time   time.Time
}

func (n *node) status(name string) ProxyStatus {
	st := ProxyStatus{Node: name, Configured: n.desired != nil, Connected: len(n.clients) > 0}
	if !st.Connected {
		return st
	}
	c := n.clients[len(n.clients)-1]
	st.Protocol = c.protocol
	st.Since = c.since
	st.InSync = c.inSync()
	for _, typeURL := range served {
		t := c.types[typeURL]
		if !t.subscribed {
			continue
		}
		st.Types = append(st.Types, TypeStatus{Type: typeURL, Sent: t.sent, Acknowledged: t.acknowledged, Refused: t.refusal})
	}
	st.Refused = c.refusal
	for k, l := range c.out {
		st.LeftOut = append(st.LeftOut, LeftOut{Type: k.typeURL, Name: k.name, Refusal: l.refusal})
	}
	slices.SortFunc(st.LeftOut, func(a, b LeftOut) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Name, b.Name))
	})
	return st
}
