// Package backend provides servers for tests to stand behind an Envoy: HTTP
// (HTTP/1.1 and HTTP/2, cleartext or TLS) and gRPC servers that record what
// they get, and one that accepts connections and never reads from them.
//
// Each listens on a port of its own of 127.0.0.1, which it keeps over Stop and
// Restart. The Run functions are for Ginkgo specs: they fail the spec on an
// error and stop the server when it ends.
package backend

import (
	"net"
	"strconv"
	"sync"

	"github.com/onsi/ginkgo/v2"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
)

// listener is the part that all backends share: an address, and a server that
// can go away and come back on it.
type listener struct {
	port uint32
	// start serves on a new listener until the function it returns is called,
	// which closes everything and returns when it is gone.
	start func(net.Listener) (stop func())

	mu   sync.Mutex
	stop func() // nil while stopped
}

// Port is the TCP port on 127.0.0.1.
func (l *listener) Port() uint32 { return l.port }

// Address is host:port.
func (l *listener) Address() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(l.port)))
}

// Restart listens again after Stop, on the same port; it does nothing while
// the server runs. What has been recorded stays.
func (l *listener) Restart() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop != nil {
		return nil
	}
	if l.port == 0 {
		l.port = envoytest.FreePorts(1)[0]
	}
	socket, err := net.Listen("tcp", l.Address())
	if err != nil {
		return err
	}
	l.stop = l.start(socket)
	return nil
}

// Stop closes the port and all connections at once, as if the server had been
// killed, and returns when it is gone.
func (l *listener) Stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop != nil {
		l.stop()
		l.stop = nil
	}
}

// run ties a backend that has been started to the running spec.
func run[B interface{ Stop() }](b B, err error) B {
	ginkgo.GinkgoHelper()
	if err != nil {
		ginkgo.Fail(err.Error())
	}
	ginkgo.DeferCleanup(b.Stop)
	return b
}
