package impact

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from below those that Linux gives to outgoing connections:
// one of these could take the port of a shadow that is away, and even connect
// to itself there.
const firstPort, lastPort = 20000, 32000

// ports are TCP ports that nobody listens on.
type ports struct {
	numbers []uint32
	held    []net.PacketConn
}

// reservePorts holds the UDP ports of the same numbers until release: another
// lab, or a test, sees from that that they are taken, while TCP stays free.
func reservePorts(n int) (*ports, error) {
	p := &ports{}
	start := rand.IntN(lastPort - firstPort)
	for i := range lastPort - firstPort {
		if len(p.numbers) == n {
			return p, nil
		}
		number := firstPort + (start+i)%(lastPort-firstPort)
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(number))
		held, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			_ = held.Close()
			continue
		}
		_ = listener.Close()
		p.numbers = append(p.numbers, uint32(number))
		p.held = append(p.held, held)
	}
	p.release()
	return nil, fmt.Errorf("there are no %d free ports between %d and %d", n, firstPort, lastPort)
}

func (p *ports) release() {
	for _, held := range p.held {
		_ = held.Close()
	}
}
