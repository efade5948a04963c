package secure

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxConnections of one listener.
	maxConnections = 2048
	// maxConnectionsPerSource leaves room for others where one source takes
	// all it can get. It does not hold for loopback, which is one source.
	maxConnectionsPerSource = 256
)

// unprovenTime is how long a connection may be without having shown who calls
// before it goes for another where there is no room.
const unprovenTime = 2 * time.Second

// limited is a listener that closes connections beyond its limits at once. Where
// there is no room, the oldest connection that has not proved itself in its time
// goes first.
type limited struct {
	net.Listener
	total, perSource int
	refused          func(source netip.AddrPort, why string)
	now              func() time.Time

	mu       sync.Mutex
	open     map[*counted]netip.Prefix
	sources  map[netip.Prefix]int
	unproven *list.List // of *counted, the oldest first
}

func limit(l net.Listener, total, perSource int, refused func(netip.AddrPort, string)) *limited {
	return &limited{
		Listener: l, total: total, perSource: perSource, refused: refused, now: time.Now,
		open: map[*counted]netip.Prefix{}, sources: map[netip.Prefix]int{}, unproven: list.New(),
	}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addressOf(conn.RemoteAddr())
		one := &counted{Conn: conn, all: l}
		if why := l.enter(one, from.Addr()); why != "" {
			_ = conn.Close()
			l.refused(from, why)
			continue
		}
		return one, nil
	}
}

// enter counts a connection, or says why it cannot be had.
func (l *limited) enter(one *counted, from netip.Addr) string {
	prefix := prefixOf(from)
	l.mu.Lock()
	defer l.mu.Unlock()
	anyOf := func(netip.Prefix) bool { return true }
	same := func(other netip.Prefix) bool { return other == prefix }
	switch {
	case !from.Unmap().IsLoopback() && l.sources[prefix] >= l.perSource && !l.makeRoom(same):
		return "too many connections from one address"
	case len(l.open) >= l.total && !l.makeRoom(anyOf):
		return "too many connections"
	}
	l.open[one] = prefix
	l.sources[prefix]++
	one.since = l.now()
	one.unproven = l.unproven.PushBack(one)
	return ""
}

// makeRoom closes the oldest connection of some sources that has not proved
// itself in its time, if there is one. l.mu is held.
func (l *limited) makeRoom(of func(netip.Prefix) bool) bool {
	for e := l.unproven.Front(); e != nil; e = e.Next() {
		one := e.Value.(*counted)
		if l.now().Sub(one.since) < unprovenTime {
			return false // nor are those after it
		}
		if of(l.open[one]) {
			l.remove(one)
			_ = one.Conn.Close()
			return true
		}
	}
	return false
}

// remove may be called more than once. l.mu is held.
func (l *limited) remove(one *counted) {
	prefix, known := l.open[one]
	if !known {
		return
	}
	delete(l.open, one)
	if l.sources[prefix]--; l.sources[prefix] == 0 {
		delete(l.sources, prefix)
	}
	if one.unproven != nil {
		l.unproven.Remove(one.unproven)
	}
}

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn
	all *limited
	// since and unproven are guarded by all.mu; unproven is nil once the caller
	// has shown who it is.
	since    time.Time
	unproven *list.Element
}

// proved notes that the caller has shown who it is: the connection stays.
func (c *counted) proved() {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	if c.unproven != nil {
		c.all.unproven.Remove(c.unproven)
		c.unproven = nil
	}
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.all.mu.Lock()
	c.all.remove(c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}

// abrupt is a limited listener whose end is that of its connections. The Stop of
// a gRPC server would wait for those that have not said anything yet.
type abrupt struct{ *limited }

// Close implements net.Listener.
func (l abrupt) Close() error {
	err := l.limited.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for one := range l.open {
		_ = one.Conn.Close()
	}
	return err
}

// addressOf is the zero value where there is no IP address.
func addressOf(a net.Addr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	parsed, _ := netip.ParseAddrPort(a.String())
	return netip.AddrPortFrom(parsed.Addr().Unmap(), parsed.Port())
}
