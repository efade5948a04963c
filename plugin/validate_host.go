package plugin

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// hostName is RFC 1123's, and with underscores, which the names of Kuma's
// services are full of.
var hostName = regexp.MustCompile(`^[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?)*\.?$`)

const maxHostNameBytes = 253

// host checks the value of a host header.
func (c *checker) host(at api.Path, value string) {
	if !isHost(value) {
		c.add(at, "is %q; must be a host name, an IPv4 address or an IPv6 address in brackets, and a port of 1 to 65535 may follow after a colon", value)
	}
}

func isHost(value string) bool {
	if bracketed, ok := strings.CutPrefix(value, "["); ok {
		address, rest, ok := strings.Cut(bracketed, "]")
		if !ok {
			return false
		}
		ip, err := netip.ParseAddr(address)
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return false
		}
		port, hasPort := strings.CutPrefix(rest, ":")
		return rest == "" || hasPort && isPort(port)
	}
	name, port, hasPort := strings.Cut(value, ":")
	if hasPort && !isPort(port) {
		return false
	}
	if _, err := strconv.ParseUint(name[strings.LastIndexByte(name, '.')+1:], 10, 64); err == nil {
		// What ends in a number is an address, or nothing: WHATWG URL.
		_, err := netip.ParseAddr(name)
		return err == nil
	}
	return IsHostName(name)
}

// IsHostName reports whether name is a host name as RFC 1123 has it, of at most
// 253 bytes, or one with underscores. An IP address in digits and dots is one,
// too.
func IsHostName(name string) bool {
	return len(name) <= maxHostNameBytes && hostName.MatchString(name)
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}
