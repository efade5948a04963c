package secure

import (
	"io"
	"net"
	"net/netip"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("the limit of connections", func() {
	It("closes what is over it at once, and takes others when one has gone", func() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		refused := make(chan string, 10)
		limited := limit(l, 2, 1, func(_ netip.AddrPort, why string) { refused <- why })
		accepted := make(chan net.Conn, 10)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				conn, err := limited.Accept()
				if err != nil {
					return
				}
				accepted <- conn
			}
		}()
		DeferCleanup(func() {
			_ = l.Close()
			Eventually(done).Should(BeClosed())
		})
		dial := func() net.Conn {
			GinkgoHelper()
			conn, err := net.Dial("tcp", l.Addr().String())
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(conn.Close)
			return conn
		}
		var first net.Conn
		dial()
		Eventually(accepted).Should(Receive(&first))
		dial()
		Eventually(accepted).Should(Receive())
		over := dial()
		Eventually(refused).Should(Receive(Equal("too many connections")))
		Expect(over.SetReadDeadline(time.Now().Add(5 * time.Second))).To(Succeed())
		_, err = over.Read(make([]byte, 1))
		Expect(err).To(Or(MatchError(io.EOF), MatchError(ContainSubstring("reset"))))
		// Closing twice counts once.
		Expect(first.Close()).To(Succeed())
		_ = first.Close()
		dial()
		Eventually(accepted).Should(Receive())
		dial()
		Eventually(refused).Should(Receive())
	})

	It("leaves room for others where one address takes all it gets", func() {
		l := limit(nil, 10, 3, nil)
		enter := func(from string) (*counted, string) {
			one := &counted{Conn: closed{}, all: l}
			return one, l.enter(one, netip.MustParseAddr(from))
		}
		var last *counted
		for range 3 {
			var why string
			last, why = enter("192.0.2.1")
			Expect(why).To(BeEmpty())
		}
		_, why := enter("192.0.2.1")
		Expect(why).To(Equal("too many connections from one address"))
		_, why = enter("192.0.2.2")
		Expect(why).To(BeEmpty())
		_ = last.Close()
		_ = last.Close()
		_, why = enter("192.0.2.1")
		Expect(why).To(BeEmpty())
		_, why = enter("192.0.2.1")
		Expect(why).NotTo(BeEmpty())
		for range 6 {
			_, why = enter("127.0.0.1")
			Expect(why).To(BeEmpty())
		}
		_, why = enter("192.0.2.2")
		Expect(why).To(Equal("too many connections"))
	})

	It("closes those first that have not shown who they are within two seconds", func() {
		now := time.Now()
		l := limit(nil, 4, 2, nil)
		l.now = func() time.Time { return now }
		enter := func(from string) (*counted, string) {
			one := &counted{Conn: closed{}, all: l}
			return one, l.enter(one, netip.MustParseAddr(from))
		}
		known, _ := enter("192.0.2.1")
		known.proved()
		oldest, _ := enter("192.0.2.1")
		for _, other := range []string{"192.0.2.2", "192.0.2.3"} {
			_, why := enter(other)
			Expect(why).To(BeEmpty())
		}
		now = now.Add(unprovenTime - time.Millisecond)
		_, why := enter("192.0.2.4")
		Expect(why).To(Equal("too many connections"))
		_, why = enter("192.0.2.1")
		Expect(why).To(Equal("too many connections from one address"))

		now = now.Add(time.Millisecond)
		same, why := enter("192.0.2.1")
		Expect(why).To(BeEmpty(), "one of its own address has gone")
		Expect(l.open).NotTo(HaveKey(oldest))
		same.proved()
		for _, other := range []string{"192.0.2.4", "192.0.2.5"} {
			_, why = enter(other)
			Expect(why).To(BeEmpty())
		}
		_, why = enter("192.0.2.6")
		Expect(why).To(Equal("too many connections"), "all that are left are new or known")
		Expect(l.open).To(And(HaveLen(4), HaveKey(known), HaveKey(same)))
	})
})

// closed is a connection that nobody uses.
type closed struct{ net.Conn }

func (closed) Close() error { return nil }
