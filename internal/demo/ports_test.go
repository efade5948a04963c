package demo_test

import (
	"net"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/internal/demo"
)

// listen returns the port of a listener that stays until the spec ends.
func listen(network, address string) int {
	GinkgoHelper()
	l, err := net.Listen(network, address)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(l.Close)
	return l.Addr().(*net.TCPAddr).Port
}

var _ = Describe("The ports of the demo", func() {
	It("are those of the documentation by default", func() {
		Expect(demo.DefaultPorts.Listener).To(Equal(10001))
		Expect(demo.DefaultPorts.Admin).To(Equal(9902))
		Expect(demo.DefaultPorts.XDS).To(Equal(5678))
		Expect(demo.DefaultPorts.Validate()).To(Succeed())
	})

	It("are taken where they are free, five different ones for 0", func() {
		ports, err := demo.Ports{}.Reserve()
		Expect(err).NotTo(HaveOccurred())
		Expect(ports.Validate()).To(Succeed()) // none twice
		for _, n := range []int{ports.Listener, ports.Admin, ports.Primary, ports.Shadow, ports.XDS} {
			Expect(n).To(BeNumerically(">", 0))
		}
		Expect(ports.Reserve()).To(Equal(ports))
	})

	It("that are taken are all named, with what they are for and the flag that changes them", func() {
		_, err := demo.Ports{
			Listener: listen("tcp4", "127.0.0.1:0"),
			Primary:  listen("tcp4", "0.0.0.0:0"),
			XDS:      listen("tcp4", "127.0.0.1:0"),
		}.Reserve()
		Expect(err).To(MatchError(And(
			MatchRegexp(`port \d+, for Envoy's listener: something else listens on it; --port PORT takes another`),
			MatchRegexp(`port \d+, for the primary backend: something else .*--primary-port`),
			MatchRegexp(`port \d+, for the host.*: something else .*--xds-port`),
			Not(ContainSubstring("--shadow-port")),
			Not(ContainSubstring("--admin-port")),
		)))
	})

	It("are taken where somebody has them on ::1, which localhost may be", func() {
		if l, err := net.Listen("tcp6", "[::1]:0"); err != nil {
			Expect(demo.Ports{}.Reserve()).Error().NotTo(HaveOccurred()) // no IPv6 on this machine
			return
		} else {
			Expect(l.Close()).To(Succeed())
		}
		_, err := demo.Ports{Admin: listen("tcp6", "[::1]:0")}.Reserve()
		Expect(err).To(MatchError(ContainSubstring("--admin-port")))
	})

	It("have to be ports, and different ones", func() {
		err := demo.Ports{Listener: 70000, Admin: -1, Primary: 80, Shadow: 80}.Validate()
		Expect(err).To(MatchError(And(
			ContainSubstring("--port is 70000"),
			ContainSubstring("--admin-port is -1"),
			ContainSubstring("--primary-port and --shadow-port are both 80"),
		)))
	})
})
