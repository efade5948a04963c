package mesh_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
)

var _ = Describe("the credentials of an ExternalService", func() {
	block := func(kind, content string) string {
		return fmt.Sprintf("-----BEGIN %[1]s-----\n%[2]s\n-----END %[1]s-----\n", kind, content)
	}
	// texts are PEM by name; a name that is none stands for itself.
	texts := map[string]string{}
	BeforeEach(func() {
		ca, err := backend.NewCA()
		Expect(err).NotTo(HaveOccurred())
		cert, key, err := ca.Issue("client.example")
		Expect(err).NotTo(HaveOccurred())
		_, other, err := ca.Issue("client.example")
		Expect(err).NotTo(HaveOccurred())
		weak, err := rsa.GenerateKey(rand.Reader, 1024)
		Expect(err).NotTo(HaveOccurred())
		weakCert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)},
			&x509.Certificate{SerialNumber: big.NewInt(1)}, weak.Public(), weak)
		Expect(err).NotTo(HaveOccurred())
		texts = map[string]string{
			"CA":                string(ca.PEM()),
			"CERT":              string(cert),
			"KEY":               string(key),
			"OTHER KEY":         string(other),
			"CHAIN":             string(cert) + string(ca.PEM()),
			"COMBINED":          string(key) + string(cert),
			"CA WITH TEXT":      "Certificate:\n  Subject: CN=Test CA\n" + string(ca.PEM()) + string(cert),
			"CHAIN, BROKEN":     string(cert) + strings.Replace(string(ca.PEM()), "\nMI", "\n!!", 1),
			"NO END":            strings.Split(string(ca.PEM()), "-----END")[0],
			"TWO KEYS":          string(key) + string(other),
			"PKCS 8, ENCRYPTED": block("ENCRYPTED PRIVATE KEY", "AAAA"),
			"PKCS 1, ENCRYPTED": block("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA"),
			"WEAK CERT":         string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: weakCert})),
			"WEAK KEY":          string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(weak)})),
			"GARBAGE CERT":      block("CERTIFICATE", "AAAA"),
			"GARBAGE KEY":       block("EC PRIVATE KEY", "AAAA"),
			"PARAMETERS":        block("EC PARAMETERS", "BggqhkjOPQMBBw==") + string(key),
		}
	})
	problems := func(ca, cert, key string) []string {
		GinkgoHelper()
		document := "type: ExternalService\nname: shadow\ntags: {kuma.io/service: shadow}\n" +
			"networking:\n  address: shadow.example:443\n  tls:\n    enabled: true\n"
		for field, name := range map[string]string{"caCert": ca, "clientCert": cert, "clientKey": key} {
			if name == "" {
				continue
			}
			text, ok := texts[name]
			if !ok {
				text = name
			}
			document += fmt.Sprintf("    %s: {inlineString: %q}\n", field, text)
		}
		var out []string
		for _, v := range mesh.Validate(parse(document)) {
			Expect(v.Object).To(Equal(`ExternalService "shadow" in mesh "default"`))
			out = append(out, v.Path+": "+v.Message)
		}
		return out
	}

	DescribeTable("may be", func(ca, cert, key string) {
		Expect(problems(ca, cert, key)).To(BeEmpty())
	},
		Entry("an authority, a certificate and its key", "CA", "CERT", "KEY"),
		Entry("a chain", "", "CHAIN", "KEY"),
		Entry("several authorities, with text between them", "CA WITH TEXT", "", ""),
		Entry("certificate and key in one text", "", "COMBINED", "COMBINED"),
		Entry("a key after its parameters, as openssl writes it", "", "CERT", "PARAMETERS"),
	)

	DescribeTable("are refused if they are", func(ca, cert, key string, want ...string) {
		got := problems(ca, cert, key)
		Expect(got).To(HaveLen(len(want)))
		for i := range want {
			Expect(got[i]).To(HavePrefix("networking.tls." + want[i]))
		}
	},
		Entry("no PEM", "hello", "hello", "hello",
			"caCert.inlineString: is not PEM; it must be PEM certificates of the authorities",
			"clientCert.inlineString: is not PEM; it must be the client's certificate in PEM, followed by its chain",
			"clientKey.inlineString: is not PEM; it must be the private key of clientCert in PEM, unencrypted"),
		Entry("garbage in a frame", "GARBAGE CERT", "GARBAGE CERT", "GARBAGE KEY",
			"caCert.inlineString: PEM block 1 is not a certificate",
			"clientCert.inlineString: PEM block 1 is not a certificate",
			"clientKey.inlineString: its EC PRIVATE KEY cannot be read"),
		Entry("a chain of which a part is broken", "", "CHAIN, BROKEN", "KEY",
			"clientCert.inlineString: can be read in 1 of its 2 PEM blocks only"),
		Entry("cut off", "NO END", "", "", "caCert.inlineString: can be read in 0 of its 1 PEM blocks only"),
		Entry("the key of another certificate", "CA", "CERT", "OTHER KEY",
			`clientKey.inlineString: is not the private key of the first certificate of clientCert, whose subject is "CN=client.example"`),
		Entry("a key of another kind", "", "CERT", "WEAK KEY", "clientKey.inlineString: is not the private key of the first certificate"),
		Entry("key and certificate exchanged", "", "KEY", "CERT",
			"clientCert.inlineString: holds a private key instead of a certificate",
			"clientKey.inlineString: holds a certificate instead of a private key"),
		Entry("an encrypted key", "", "CERT", "PKCS 8, ENCRYPTED", "clientKey.inlineString: is encrypted, and Envoy has no passphrase for it"),
		Entry("a key encrypted in the old way", "", "CERT", "PKCS 1, ENCRYPTED", "clientKey.inlineString: is encrypted"),
		Entry("of a kind that Envoy refuses", "", "WEAK CERT", "WEAK KEY",
			"clientCert.inlineString: has a key that Envoy refuses; RSA of at least 2048 bits,"),
		Entry("several keys", "", "CERT", "TWO KEYS", "clientKey.inlineString: holds several private keys"),
		Entry("nothing but parameters", "", "CERT", block("EC PARAMETERS", "BggqhkjOPQMBBw=="), "clientKey.inlineString: holds no private key"),
		Entry("a request instead of a certificate", block("CERTIFICATE REQUEST", "AAAA"), "", "", "caCert.inlineString: holds no certificate (-----BEGIN CERTIFICATE-----)"),
	)

	It("never have a part of a key in what is reported", func() {
		key := strings.Split(texts["KEY"], "\n")[1]
		for _, p := range problems("KEY", "KEY", "TWO KEYS") {
			Expect(p).NotTo(ContainSubstring(key[:16]))
		}
	})
})
