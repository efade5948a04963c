package secure

import (
	"net"
	"net/netip"
	"sync"
)

const (
	// maxConnections of one listener.
	maxConnections = 2048
	// maxConnectionsPerSource leaves room for others where one source takes
	// all it can get. It does not hold for loopback, which is one source.
	maxConnectionsPerSource = 256
)

// limited is a listener that closes connections beyond its limits at once.
type limited struct {
	net.Listener
	total, perSource int
	refused          func(source netip.AddrPort, why string)

	mu      sync.Mutex
	open    map[*counted]netip.Prefix
	sources map[netip.Prefix]int
}

func limit(l net.Listener, total, perSource int, refused func(netip.AddrPort, string)) *limited {
	return &limited{
		Listener: l, total: total, perSource: perSource, refused: refused,
		open: map[*counted]netip.Prefix{}, sources: map[netip.Prefix]int{},
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
	switch {
	case len(l.open) >= l.total:
		return "too many connections"
	case !from.Unmap().IsLoopback() && l.sources[prefix] >= l.perSource:
		return "too many connections from one address"
	}
	l.open[one] = prefix
	l.sources[prefix]++
	return ""
}

// leave may be called more than once.
func (l *limited) leave(one *counted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	prefix, known := l.open[one]
	if !known {
		return
	}
	delete(l.open, one)
	if l.sources[prefix]--; l.sources[prefix] == 0 {
		delete(l.sources, prefix)
	}
}

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn
	all *limited
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.all.leave(c)
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
