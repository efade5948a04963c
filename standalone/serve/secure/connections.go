package secure

import (
	"crypto/x509"
	"net"
	"sync"
)

// connections are those of proxies, and what let them in.
type connections struct {
	mu   sync.Mutex
	open map[*connection]struct{}
}

// connection of a proxy.
type connection struct {
	net.Conn
	all *connections
	// accepted is the connection below; nil where the listener is not limited.
	accepted *counted
	// certificates the client has shown, the own one first; nil without mTLS.
	certificates []*x509.Certificate
	// tokens that have been shown on it, as one proxy may share it among
	// several, and whom each stood for then.
	tokens map[digest]Proxy // guarded by all.mu
}

func newConnections() *connections { return &connections{open: map[*connection]struct{}{}} }

func (c *connections) add(conn net.Conn, certificates []*x509.Certificate) *connection {
	one := &connection{Conn: conn, all: c, certificates: certificates, tokens: map[digest]Proxy{}}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[one] = struct{}{}
	return one
}

// Close also forgets the connection.
func (c *connection) Close() error {
	c.all.mu.Lock()
	delete(c.all.open, c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}

// shown notes that the connection lives by a token, and whom it stands for. The
// first time counts: there may be streams of then.
func (c *connection) shown(token digest, proxy Proxy) {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	if _, known := c.tokens[token]; !known {
		c.tokens[token] = proxy
	}
}

// closeUnless closes the connections that may not be any more, and counts them.
func (c *connections) closeUnless(may func(certificates []*x509.Certificate, tokens map[digest]Proxy) bool) int {
	var gone []*connection
	c.mu.Lock()
	for one := range c.open {
		if !may(one.certificates, one.tokens) {
			gone = append(gone, one)
		}
	}
	c.mu.Unlock()
	for _, one := range gone {
		_ = one.Close()
	}
	return len(gone)
}
