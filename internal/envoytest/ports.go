package envoytest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// Ports are taken below those that systems hand out by themselves (Linux from
// 32768 on, macOS from 49152), so that neither an outgoing connection nor a
// listener on port 0 takes one before its user listens.
const (
	firstPort = 20000
	lastPort  = 32000
)

// FreePorts returns n different TCP ports of 127.0.0.1 on which nothing
// listens. No other call, in this process or another, gets them as long as
// this process lives, so a port can be left and listened on again.
//
// It panics if there are no n free ports.
func FreePorts(n int) []uint32 {
	ports := make([]uint32, 0, n)
	start := rand.IntN(lastPort - firstPort)
	for i := 0; len(ports) < n; i++ {
		if i == lastPort-firstPort {
			panic(fmt.Sprintf("no %d free ports between %d and %d", n, firstPort, lastPort))
		}
		port := firstPort + (start+i)%(lastPort-firstPort)
		if reserve(port) {
			ports = append(ports, uint32(port))
		}
	}
	return ports
}

// reserve holds the UDP port of the same number until the process ends: that
// is what other callers see, while TCP stays free. A raw socket, because the
// garbage collector would close a net.UDPConn that nobody keeps.
func reserve(port int) bool {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return false
	}
	syscall.CloseOnExec(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		_ = syscall.Close(fd)
		return false
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		_ = syscall.Close(fd)
		return false
	}
	_ = listener.Close()
	return true
}
