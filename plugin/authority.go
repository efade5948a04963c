package plugin

import (
	"net"
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
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return "[" + host + "]"
	}
	return host
}
