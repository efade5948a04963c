package ads

import (
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What a stream can make the server remember, whatever it sends. An Envoy asks
// for names that its configuration has and, after a change or a restart of the
// control plane, for some that an earlier one had.
const (
	// MaxNodeID is the longest node id: the longest names of a mesh and of a
	// data plane are far below.
	MaxNodeID = 1024
	// maxRest and maxRestBytes bound the names of one type that the configuration
	// does not have.
	maxRest      = 4096
	maxRestBytes = 256 << 10
	// maxForeignTypes are the types beyond those served that a stream may ask for.
	maxForeignTypes = 16
	// cutPause is how long a stream waits whose request had more names than that:
	// one that goes on does not keep the processors from the others.
	cutPause = 500 * time.Millisecond
	// maxComplaint is as much of a refusal as is kept.
	maxComplaint = 64 << 10
)

// admission is which names of one type a stream is subscribed to that its
// configuration did not have when it asked for them. It belongs to the goroutine
// that serves the stream, so that names are looked at outside of Server.mu.
type admission struct {
	has   func(name string) bool
	rest  map[string]struct{}
	bytes int
}

// admission returns that of a type, for the configuration of this moment.
func (c *client) admission(typeURL string) *admission {
	a := c.admissions[typeURL]
	if a == nil {
		a = &admission{rest: map[string]struct{}{}}
		c.admissions[typeURL] = a
	}
	c.server.mu.Lock()
	target := c.target
	c.server.mu.Unlock()
	served := c.types[typeURL] != nil
	a.has = func(name string) bool {
		return served && target != nil && target.byType[typeURL][name] != nil
	}
	return a
}

// admit returns the names that the stream is to be subscribed to, each once:
// those of the configuration, and of others as many as there is room for. The
// rest is ignored.
func (a *admission) admit(names []string) []string {
	seen := map[string]struct{}{}
	return slices.DeleteFunc(names, func(name string) bool {
		if a.has(name) || name == "*" {
			_, twice := seen[name]
			seen[name] = struct{}{}
			return twice
		}
		if _, ok := a.rest[name]; ok {
			return false
		}
		if len(a.rest) >= maxRest || a.bytes+len(name) > maxRestBytes {
			return true
		}
		a.rest[name] = struct{}{}
		a.bytes += len(name)
		return false
	})
}

// admitted is admit for the names of a request. It keeps the stream waiting where
// some of them are ignored.
func (c *client) admitted(a *admission, names []string) []string {
	all := len(names)
	if names = a.admit(names); len(names) < all {
		select {
		case <-c.done:
		case <-time.After(cutPause):
		}
	}
	return names
}

// leave takes in that Envoy does not want a name any more.
func (a *admission) leave(name string) {
	if _, ok := a.rest[name]; ok {
		delete(a.rest, name)
		a.bytes -= len(name)
	}
}

// known refuses a stream that asks for ever new types, each of which is
// remembered.
func (c *client) known(typeURL string) error {
	if c.types[typeURL] != nil || c.admissions[typeURL] != nil || len(c.admissions) < len(served)+maxForeignTypes {
		return nil
	}
	return status.Errorf(codes.InvalidArgument, "the stream has asked for more than %d types that are not served", maxForeignTypes)
}

// clip shortens what a caller has sent.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return text[:most] + "..."
}
