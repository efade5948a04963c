package plugin_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/plugin"
)

var _ = DescribeTable("the authority of a server outside of the mesh",
	func(host string, port int, tls bool, want string) {
		Expect(plugin.Authority(host, uint32(port), tls)).To(Equal(want))
	},
	Entry("the scheme's own port", "shadow.example.com", 80, false, "shadow.example.com"),
	Entry("the scheme's own port with TLS", "shadow.example.com", 443, true, "shadow.example.com"),
	Entry("another port", "shadow.example.com", 8080, false, "shadow.example.com:8080"),
	Entry("the other scheme's port", "shadow.example.com", 443, false, "shadow.example.com:443"),
	Entry("IPv4", "192.0.2.1", 80, false, "192.0.2.1"),
	Entry("IPv6", "2001:db8::1", 80, false, "[2001:db8::1]"),
	Entry("IPv4 in IPv6", "::ffff:192.0.2.1", 443, true, "[::ffff:192.0.2.1]"),
	Entry("IPv6 with a port", "2001:db8::1", 8443, true, "[2001:db8::1]:8443"),
)
