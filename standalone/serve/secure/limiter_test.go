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
	good, bad := func() bool { return true }, func() bool { return false }
	attacker := netip.MustParseAddr("192.0.2.1")

	BeforeEach(func() {
		now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		l = newLimiter(func() time.Time { return now })
	})
	exhaust := func(from netip.Addr) {
		GinkgoHelper()
		for range badTokens {
			ok, wait := l.try(from, bad)
			Expect(ok).To(BeFalse())
			Expect(wait).To(BeZero())
		}
	}

	It("makes a source wait after ten, and takes one a second from then on", func() {
		exhaust(attacker)
		ok, wait := l.try(attacker, bad)
		Expect(ok).To(BeFalse())
		Expect(wait).To(Equal(time.Second))
		tries := 0
		for range 60 {
			now = now.Add(500 * time.Millisecond)
			l.try(attacker, func() bool { tries++; return false })
		}
		Expect(tries).To(Equal(30))
	})

	It("takes no good token from a source that has to wait, so that a right guess does not show", func() {
		exhaust(attacker)
		ok, wait := l.try(attacker, good)
		Expect(ok).To(BeFalse())
		Expect(wait).To(BeNumerically(">", 0))
		now = now.Add(time.Second)
		ok, _ = l.try(attacker, good)
		Expect(ok).To(BeTrue())
	})

	It("does not count good tokens, nor hold up other sources", func() {
		exhaust(attacker)
		for range 1000 {
			ok, _ := l.try(netip.MustParseAddr("192.0.2.2"), good)
			Expect(ok).To(BeTrue())
		}
		Expect(l.sources).To(HaveLen(1))
	})

	It("takes a network of IPv6 for one source, and IPv4 in IPv6 for IPv4", func() {
		exhaust(netip.MustParseAddr("2001:db8::1"))
		_, wait := l.try(netip.MustParseAddr("2001:db8::ffff:2"), bad)
		Expect(wait).To(BeNumerically(">", 0))
		_, wait = l.try(netip.MustParseAddr("2001:db8:0:1::1"), bad)
		Expect(wait).To(BeZero())
		exhaust(attacker)
		_, wait = l.try(netip.MustParseAddr("::ffff:192.0.2.1"), bad)
		Expect(wait).To(BeNumerically(">", 0))
	})

	It("remembers the latest sources, and no more than it can hold", func() {
		exhaust(attacker)
		for i := range maxSources - 1 {
			l.try(netip.MustParseAddr(fmt.Sprintf("10.0.%d.%d", i/256, i%256)), bad)
		}
		_, wait := l.try(attacker, bad)
		Expect(wait).To(BeNumerically(">", 0))
		for i := range 2 {
			l.try(netip.MustParseAddr(fmt.Sprintf("10.1.0.%d", i)), bad)
		}
		Expect(l.sources).To(HaveLen(maxSources))
		Expect(l.order.Len()).To(Equal(maxSources))
	})
})
