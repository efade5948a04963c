package secure

import (
	"fmt"
	"net/netip"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("the limit of bad tokens", func() {
	var now time.Time
	var l *limiter
	attacker := netip.MustParseAddr("192.0.2.1")

	BeforeEach(func() {
		now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		l = newLimiter(func() time.Time { return now })
	})
	exhaust := func(from netip.Addr) {
		GinkgoHelper()
		for range badTokens {
			Expect(l.fail(from)).To(BeZero())
		}
	}

	It("makes a source wait after ten, and takes one a second from then on", func() {
		exhaust(attacker)
		Expect(l.fail(attacker)).To(Equal(time.Second))
		tries := 0
		for range 60 {
			now = now.Add(500 * time.Millisecond)
			if l.fail(attacker) == 0 {
				tries++
			}
		}
		Expect(tries).To(Equal(30))
	})

	It("does not hold up other sources", func() {
		exhaust(attacker)
		Expect(l.fail(netip.MustParseAddr("192.0.2.2"))).To(BeZero())
	})

	It("takes a network of IPv6 for one source, and IPv4 in IPv6 for IPv4", func() {
		exhaust(netip.MustParseAddr("2001:db8::1"))
		wait := l.fail(netip.MustParseAddr("2001:db8::ffff:2"))
		Expect(wait).To(BeNumerically(">", 0))
		wait = l.fail(netip.MustParseAddr("2001:db8:0:1::1"))
		Expect(wait).To(BeZero())
		exhaust(attacker)
		wait = l.fail(netip.MustParseAddr("::ffff:192.0.2.1"))
		Expect(wait).To(BeNumerically(">", 0))
	})

	It("remembers the latest sources, and no more than it can hold", func() {
		exhaust(attacker)
		for i := range maxSources - 1 {
			l.fail(netip.MustParseAddr(fmt.Sprintf("10.0.%d.%d", i/256, i%256)))
		}
		wait := l.fail(attacker)
		Expect(wait).To(BeNumerically(">", 0))
		for i := range 2 {
			l.fail(netip.MustParseAddr(fmt.Sprintf("10.1.0.%d", i)))
		}
		Expect(l.sources).To(HaveLen(maxSources))
		Expect(l.order.Len()).To(Equal(maxSources))
	})
})
