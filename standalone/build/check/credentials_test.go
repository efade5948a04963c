package check_test

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/check"
)

var _ = Describe("a check of credentials in files", func() {
	var dir string
	var ca *backend.CA
	BeforeEach(func() {
		dir = GinkgoT().TempDir()
		var err error
		ca, err = backend.NewCA()
		Expect(err).NotTo(HaveOccurred())
	})
	file := func(name string, content []byte) string {
		GinkgoHelper()
		path := filepath.Join(dir, name)
		Expect(os.WriteFile(path, content, 0o600)).To(Succeed())
		return path
	}
	issue := func(change func(*x509.Certificate)) (cert, key []byte) {
		GinkgoHelper()
		cert, key, err := ca.IssueChanged(change, "client.example")
		Expect(err).NotTo(HaveOccurred())
		return cert, key
	}
	asIs := func(*x509.Certificate) {}
	warnings := func(ctx SpecContext, tls string, read func(string) ([]byte, error)) []string {
		GinkgoHelper()
		resources, err := api.Parse("input.yaml", fmt.Appendf(nil, "type: ExternalService\nname: shadow\n"+
			"tags: {kuma.io/service: shadow}\nnetworking: {address: 'shadow.example:443', tls: {enabled: true, %s}}\n", tls))
		Expect(err).NotTo(HaveOccurred())
		errors, warnings := check.Resources(ctx, resources, read)
		Expect(errors).To(BeEmpty())
		out := []string{}
		for _, w := range warnings {
			out = append(out, w.Path+": "+w.Message)
		}
		return out
	}

	It("is silent about those that fit", func(ctx SpecContext) {
		cert, key := issue(asIs)
		Expect(warnings(ctx, fmt.Sprintf("caCert: {file: %q}, clientCert: {file: %q}, clientKey: {file: %q}",
			file("ca", ca.PEM()), file("cert", cert), file("key", key)), check.ReadFile)).To(BeEmpty())
	})

	It("warns of each that cannot be checked here, by its path", func(ctx SpecContext) {
		missing, pipe := filepath.Join(dir, "missing.pem"), filepath.Join(dir, "pipe")
		Expect(syscall.Mkfifo(pipe, 0o600)).To(Succeed())
		Expect(warnings(ctx, fmt.Sprintf("caCert: {file: %q}, clientCert: {file: %q}, clientKey: {file: %q}",
			missing, pipe, file("empty", nil)), check.ReadFile)).To(HaveExactElements(
			fmt.Sprintf("networking.tls.caCert.file: %q cannot be checked here: no such file or directory; Envoy reads it on its own machine, where it must be there and valid", missing),
			HavePrefix(fmt.Sprintf("networking.tls.clientCert.file: %q cannot be checked here: it is not a regular file; ", pipe)),
			HaveSuffix(`it is empty; Envoy reads it on its own machine, where it must be there and valid`),
		))
	})

	It("warns of content that an Envoy would refuse", func(ctx SpecContext) {
		cert, _ := issue(asIs)
		_, key := issue(asIs)
		Expect(warnings(ctx, fmt.Sprintf("caCert: {file: %q}, clientCert: {inlineString: %q}, clientKey: {file: %q}",
			file("ca", []byte("hello")), cert, file("key", key)), check.ReadFile)).To(HaveExactElements(
			HavePrefix("networking.tls.caCert.file: as the files are on this machine: is not PEM; it must be PEM certificates"),
			HavePrefix("networking.tls.clientKey.file: as the files are on this machine: is not the private key of the first certificate"),
		))
	})

	It("warns of certificates that are out of date, inline ones too", func(ctx SpecContext) {
		expired, key := issue(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Unix(0, 0), time.Unix(86400, 0)
		})
		future, _ := issue(func(c *x509.Certificate) { c.NotBefore = c.NotAfter.Add(-time.Minute) })
		Expect(warnings(ctx, fmt.Sprintf("caCert: {file: %q}, clientCert: {inlineString: %q}, clientKey: {inlineString: %q}",
			file("ca", future), expired, key), check.ReadFile)).To(HaveExactElements(
			HavePrefix(`networking.tls.caCert.file: the certificate of "CN=client.example" is not valid before `),
			`networking.tls.clientCert.inlineString: the certificate of "CN=client.example" expired at 1970-01-02T00:00:00Z`,
		))
	})

	It("reads nothing for callers from elsewhere, and says so alike whether the file is there", func(ctx SpecContext) {
		there, missing := file("there", []byte("hello")), filepath.Join(dir, "missing")
		for _, path := range []string{there, missing} {
			Expect(warnings(ctx, fmt.Sprintf("caCert: {file: %q}", path), nil)).To(HaveExactElements(
				fmt.Sprintf("networking.tls.caCert.file: %q is not checked: Envoy reads it on its own machine, where it must be there and valid", path)))
		}
	})
})
