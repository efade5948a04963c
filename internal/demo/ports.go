package demo

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"syscall"
)

const loopback = "127.0.0.1"

// Ports that the demo listens on, all on 127.0.0.1; 0 means a free one.
type Ports struct {
	// Listener is where Envoy takes requests.
	Listener int
	// Admin is Envoy's admin API.
	Admin int
	// Primary and Shadow are the backends.
	Primary, Shadow int
	// XDS is where the host serves Envoy's configuration.
	XDS int
}

// DefaultPorts are those that the documentation speaks of.
var DefaultPorts = Ports{Listener: 10001, Admin: 9902, Primary: 18080, Shadow: 18081, XDS: 5678}

// port is one of Ports, in the words of the user.
type port struct {
	number  *int
	flag    string
	purpose string
}

func (p *Ports) all() []port {
	return []port{
		{&p.Listener, "--port", "Envoy's listener"},
		{&p.Admin, "--admin-port", "Envoy's admin API"},
		{&p.Primary, "--primary-port", "the primary backend"},
		{&p.Shadow, "--shadow-port", "the shadow backend"},
		{&p.XDS, "--xds-port", "the host, which configures Envoy"},
	}
}

// Validate says what is wrong with the numbers themselves: out of range, or one
// for two purposes. All of it at once.
func (p Ports) Validate() error {
	var problems []string
	seen := map[int]string{}
	for _, port := range p.all() {
		n := *port.number
		switch other := seen[n]; {
		case n < 0 || n > 65535:
			problems = append(problems, fmt.Sprintf("%s is %d; a port is 1 to 65535, or 0 for a free one", port.flag, n))
		case n == 0:
		case other != "":
			problems = append(problems, fmt.Sprintf("%s and %s are both %d", other, port.flag, n))
		default:
			seen[n] = port.flag
		}
	}
	return join("", problems)
}

// reserve fills in the free ports and makes sure that nobody listens on any of
// them. The error lists all that are taken.
//
// Envoy shares a port with another Envoy of the same user without a word
// (SO_REUSEPORT), so this is not only about better messages.
func (p Ports) reserve() (Ports, error) {
	var problems []string
	used := map[int]bool{}
	for _, port := range p.all() {
		used[*port.number] = true
	}
	for _, port := range p.all() {
		if *port.number == 0 {
			n, err := freePort(used)
			if err != nil {
				return p, err
			}
			*port.number = n
			used[n] = true
			continue
		}
		if err := available(*port.number); err != nil {
			problems = append(problems, fmt.Sprintf("port %d, for %s: %s; %s PORT takes another",
				*port.number, port.purpose, reason(err), port.flag))
		}
	}
	return p, join("not everything the demo listens on is available", problems)
}

func join(head string, problems []string) error {
	switch {
	case len(problems) == 0:
		return nil
	case head == "":
		return errors.New(strings.Join(problems, "\n"))
	default:
		return errors.New(head + ":\n  " + strings.Join(problems, "\n  "))
	}
}

// available returns why the port cannot be listened on.
func available(port int) error {
	l, err := net.Listen("tcp4", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	if err := l.Close(); err != nil {
		return err
	}
	// `localhost` is often ::1 first. Who listens there would get the requests
	// meant for the demo.
	l, err = net.Listen("tcp6", net.JoinHostPort("::1", strconv.Itoa(port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	if err == nil {
		return l.Close()
	}
	return nil // no IPv6 here
}

func reason(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "something else listens on it"
	case errors.Is(err, syscall.EACCES):
		return "this user may not listen on it"
	default:
		return err.Error()
	}
}

// Free ports are taken from below the range from which Linux gives ports to
// outgoing connections: such a connection cannot grab them before Envoy listens.
const firstFree, lastFree = 12000, 20000

func freePort(used map[int]bool) (int, error) {
	start := rand.IntN(lastFree - firstFree)
	for i := range lastFree - firstFree {
		port := firstFree + (start+i)%(lastFree-firstFree)
		if !used[port] && available(port) == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no port between %d and %d is free", firstFree, lastFree)
}
