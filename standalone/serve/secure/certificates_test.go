package secure

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

func newCA() *backend.CA {
	GinkgoHelper()
	ca, err := backend.NewCA()
	Expect(err).NotTo(HaveOccurred())
	return ca
}

func issue(ca *backend.CA, change func(*x509.Certificate), names ...string) (cert, key []byte) {
	GinkgoHelper()
	if change == nil {
		change = func(*x509.Certificate) {}
	}
	cert, key, err := ca.IssueChanged(change, names...)
	Expect(err).NotTo(HaveOccurred())
	return cert, key
}

var _ = Describe("certificates", func() {
	It("come with their key, and are valid now", func() {
		ca := newCA()
		cert, key := issue(ca, nil, "localhost")
		pair, err := ParseKeyPair([][]byte{cert, key})
		Expect(err).NotTo(HaveOccurred())
		Expect(pair.Leaf.DNSNames).To(Equal([]string{"localhost"}))

		_, other := issue(ca, nil, "localhost")
		_, err = ParseKeyPair([][]byte{cert, other})
		Expect(err).To(MatchError(ContainSubstring("private key does not match public key")))
		_, err = ParseKeyPair([][]byte{key, key})
		Expect(err).To(HaveOccurred())
		_, err = ParseKeyPair([][]byte{nil, nil})
		Expect(err).To(HaveOccurred())

		old, key := issue(ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "localhost")
		_, err = ParseKeyPair([][]byte{old, key})
		Expect(err).To(MatchError(ContainSubstring("the certificate expired at ")))
		early, key := issue(ca, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, "localhost")
		_, err = ParseKeyPair([][]byte{early, key})
		Expect(err).To(MatchError(ContainSubstring("the certificate is not valid before ")))
	})

	It("of authorities may be several, and all have to be good", func() {
		one, two := newCA(), newCA()
		pool, err := ParseAuthorities([][]byte{slices.Concat([]byte("# ours\n"), one.PEM(), two.PEM())})
		Expect(err).NotTo(HaveOccurred())
		for _, ca := range []*backend.CA{one, two} {
			cert, key := issue(ca, nil, "web")
			pair, err := tls.X509KeyPair(cert, key)
			Expect(err).NotTo(HaveOccurred())
			Expect(verified([]*x509.Certificate{pair.Leaf}, pool)).To(BeTrue())
		}
		_, key := issue(one, nil, "web")
		_, err = ParseAuthorities([][]byte{key})
		Expect(err).To(MatchError("has no certificate in PEM (-----BEGIN CERTIFICATE-----)"))
		_, err = ParseAuthorities([][]byte{append(one.PEM(), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")...)})
		Expect(err).To(MatchError(HavePrefix("certificate 2: ")))
	})

	DescribeTable("of proxies may be bound to a data plane", func(node string, names ...string) {
		cert, key := issue(newCA(), nil, names...)
		pair, err := tls.X509KeyPair(cert, key)
		Expect(err).NotTo(HaveOccurred())
		proxy, err := ProxyOf(pair.Leaf)
		Expect(err).NotTo(HaveOccurred())
		Expect(proxy.Node).To(Equal(node))
	},
		Entry("by nothing", "", "web.internal"),
		Entry("by a SPIFFE id", "shop.web", "web.internal", "spiffe://example.com/mesh/shop/dataplane/web"),
		Entry("not by other ids", "", "spiffe://example.com/ns/shop/sa/web"),
		Entry("not by one that only has such a part", "", "spiffe://example.com/ns/shop/mesh/shop/dataplane/web"),
		Entry("not by other schemes", "", "https://example.com/mesh/shop/dataplane/web"),
	)

	DescribeTable("of proxies are good for nothing with a SPIFFE id that is almost right", func(id string) {
		parsed, err := url.Parse(id)
		Expect(err).NotTo(HaveOccurred())
		// As a bare certificate: not all can be issued.
		_, err = ProxyOf(&x509.Certificate{SerialNumber: big.NewInt(1), URIs: []*url.URL{parsed}})
		Expect(err).To(MatchError(fmt.Sprintf(
			"the name %q of the client certificate has to be of the form spiffe://TRUST-DOMAIN/mesh/MESH/dataplane/NAME, and nothing more", id)))
	},
		Entry(nil, "spiffe://example.com/mesh/shop/dataplane/web/"),
		Entry(nil, "spiffe://example.com/mesh/shop/dataplane/web/more"),
		Entry(nil, "spiffe://example.com/mesh/shop/dataplane/web%2Fmore"),
		Entry(nil, "spiffe://example.com/mesh/shop/dataplane/w%65b"),
		Entry(nil, "spiffe://example.com/mesh/shop%2Fdataplane%2Fweb"),
		Entry(nil, "spiffe://example.com/mesh/shop/dataplane/"),
		Entry(nil, "spiffe://example.com/mesh/shop/dataplane"),
		Entry(nil, "spiffe://example.com/mesh/shop"),
		Entry(nil, "spiffe://example.com/mesh/"),
		Entry(nil, "spiffe://example.com/mesh//dataplane/web"),
		Entry(nil, "spiffe://example.com/mesh/shop/dataplanes/web"),
		Entry(nil, "spiffe://example.com/mesh/shop/dataplane/web?x"),
		Entry(nil, "spiffe://example.com/mesh/shop/dataplane/web#x"),
		Entry(nil, "spiffe://me@example.com/mesh/shop/dataplane/web"),
		Entry(nil, "spiffe:///mesh/shop/dataplane/web"),
	)

	It("of proxies are not bound to two", func() {
		cert, key := issue(newCA(), nil, "spiffe://a/mesh/shop/dataplane/web", "spiffe://a/mesh/shop/dataplane/till")
		pair, err := tls.X509KeyPair(cert, key)
		Expect(err).NotTo(HaveOccurred())
		_, err = ProxyOf(pair.Leaf)
		Expect(err).To(MatchError(ContainSubstring("bound to two data planes")))
	})
})
