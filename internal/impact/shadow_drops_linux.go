package impact

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// dropping listens with a socket filter that lets nothing pass, so that the
// kernel drops each packet to the port as a firewall would, and answers none.
// The filter ends with the socket, however the process ends: nothing of it is
// left on the machine, as rules or network namespaces would be.
func dropping(p place) (func(), error) {
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var attached error
		err := conn.Control(func(fd uintptr) {
			nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
			attached = os.NewSyscallError("setsockopt(SO_ATTACH_FILTER)",
				unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing}))
		})
		return errors.Join(err, attached)
	}}
	listener, err := config.Listen(context.Background(), "tcp4", p.address)
	if err != nil {
		return nil, fmt.Errorf("drop packets: %w", err)
	}
	stop := func() { _ = listener.Close() }
	conn, err := net.DialTimeout("tcp", p.address, unanswered)
	if isTimeout(err) {
		return stop, nil
	}
	if err == nil {
		_ = conn.Close()
	}
	stop()
	return nil, errors.New("drop packets: this system does not heed the socket's filter")
}
