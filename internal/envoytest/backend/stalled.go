package backend

import (
	"net"
	"sync"
	"sync/atomic"
)

// Stalled accepts connections and never reads from them nor answers: the shadow
// that would stop the primary if nothing protected it.
type Stalled struct {
	listener
	accepted atomic.Int64
}

// StartStalled starts a backend, which the caller has to Stop.
func StartStalled() (*Stalled, error) {
	b := &Stalled{}
	b.start = b.serve
	return b, b.Restart()
}

// RunStalled is StartStalled for the running spec.
func RunStalled() *Stalled { return run(StartStalled()) }

// Connections is the number of connections accepted since the start.
func (b *Stalled) Connections() int { return int(b.accepted.Load()) }

func (b *Stalled) serve(socket net.Listener) func() {
	var (
		connections []net.Conn
		done        sync.WaitGroup
	)
	done.Go(func() {
		for {
			connection, err := socket.Accept()
			if err != nil {
				return
			}
			connections = append(connections, connection)
			b.accepted.Add(1)
		}
	})
	return func() {
		_ = socket.Close()
		done.Wait()
		for _, connection := range connections {
			_ = connection.Close()
		}
	}
}
