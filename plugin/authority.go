package plugin

import (
	"net"
	"net/netip"
	"strconv"
)

// Authority returns the host header of a server outside of the mesh: without the
// port where it is the scheme's default. host is a name or an IP address without
// brackets.
func Authority(host string, port uint32, tls bool) string {
	standard := uint32(80)
	if tls {
		standard = 443
	}
	if port != standard {
		return net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10))
	}
	// An IPv4 address in an IPv6 one, ::ffff:192.0.2.1, is written as the latter.
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() {
		return "[" + host + "]"
	}
	return host
}
