//go:build unix

package impact

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"
)

// swallowing listens with the shortest backlog there is, fills it, and never
// accepts: the kernel drops further SYNs, as a firewall would.
func swallowing(p place) (func(), error) {
	_, number, err := net.SplitHostPort(p.address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(number)
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(fd)
	err = errors.Join(
		syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}),
		syscall.Listen(fd, 0),
	)
	if err != nil {
		_ = syscall.Close(fd)
		return nil, fmt.Errorf("black hole: %w", err)
	}
	var filling []net.Conn
	stop := func() {
		for _, conn := range filling {
			reset(conn)
		}
		_ = syscall.Close(fd)
	}
	// The queue holds one or two, whatever was asked for.
	for range 16 {
		conn, err := net.DialTimeout("tcp", p.address, unanswered)
		if isTimeout(err) {
			return stop, nil
		}
		if err != nil {
			stop()
			return nil, fmt.Errorf("black hole: %w", err)
		}
		filling = append(filling, conn)
	}
	stop()
	return nil, errors.New("black hole: the backlog never fills on this system")
}

// unanswered is how long a connect on loopback goes without an answer until it
// is clear that there will be none.
const unanswered = 100 * time.Millisecond

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
