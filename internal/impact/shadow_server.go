package impact

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// place is where a shadow stands.
type place struct {
	address  string // on 127.0.0.1
	protocol Protocol
	// received counts the requests that a healthy shadow has got whole.
	received *atomic.Int64
}

// behaviour starts a shadow. stop resets all its connections and returns when
// nothing of it is left.
type behaviour func(place) (stop func(), err error)

func byProtocol(http1, http2 behaviour) behaviour {
	return func(p place) (func(), error) {
		if p.protocol == HTTP2 {
			return http2(p)
		}
		return http1(p)
	}
}

// accepting gives each connection to handle, whose context ends with the shadow.
// The connection is closed after it.
func accepting(handle func(context.Context, net.Conn)) behaviour {
	return func(p place) (func(), error) {
		listener, err := net.Listen("tcp", p.address)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(context.Background())
		var done sync.WaitGroup
		done.Go(func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				done.Go(func() {
					defer reset(conn)
					// What handle waits for ends with the shadow.
					defer context.AfterFunc(ctx, func() { reset(conn) })()
					handle(ctx, conn)
				})
			}
		})
		return func() {
			_ = listener.Close()
			cancel()
			done.Wait()
		}, nil
	}
}

// reset closes a connection with a RST.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// serving answers with a real server of HTTP/1.1 and HTTP/2.
func serving(handler func(place) http.HandlerFunc) behaviour {
	return func(p place) (func(), error) {
		listener, err := net.Listen("tcp", p.address)
		if err != nil {
			return nil, err
		}
		return serve(listener, handler(p)), nil
	}
}

// serve runs a server until stop is called, which returns when it is gone.
func serve(listener net.Listener, handler http.Handler) (stop func()) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{
		Handler:   handler,
		Protocols: protocols,
		// Handlers that wait end with the shadow.
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	return func() {
		cancel()
		_ = server.Close()
		<-done
	}
}

// flapping is a healthy shadow for a second, nothing for a second, and so on.
func flapping(p place) (func(), error) {
	stop, err := serving(healthy)(p)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				if stop != nil {
					stop()
				}
				return
			case <-tick.C:
			}
			if stop != nil {
				stop()
				stop = nil
			} else if again, err := serving(healthy)(p); err == nil {
				stop = again
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}, nil
}

// refusing listens nowhere.
func refusing(place) (func(), error) { return func() {}, nil }

// wait blocks until the shadow ends or d has passed, and says whether it goes on.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
