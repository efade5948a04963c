package secure

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// ParseKeyPair makes a certificate of PEM contents: its chain, then its key. It
// refuses one that is not valid now.
func ParseKeyPair(contents [][]byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(contents[0], contents[1])
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "tls: "))
	}
	now := time.Now()
	if now.After(pair.Leaf.NotAfter) {
		return nil, fmt.Errorf("the certificate expired at %s", pair.Leaf.NotAfter.Format(time.RFC3339))
	}
	if now.Before(pair.Leaf.NotBefore) {
		return nil, fmt.Errorf("the certificate is not valid before %s", pair.Leaf.NotBefore.Format(time.RFC3339))
	}
	return &pair, nil
}

// ParseAuthorities makes a pool of the PEM certificates of one file.
func ParseAuthorities(contents [][]byte) (*x509.CertPool, error) {
	pool, found := x509.NewCertPool(), 0
	for rest := contents[0]; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		found++
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %s", found, strings.TrimPrefix(err.Error(), "x509: "))
		}
		pool.AddCert(cert)
	}
	if found == 0 {
		return nil, errors.New("has no certificate in PEM (-----BEGIN CERTIFICATE-----)")
	}
	return pool, nil
}

// ProxyOf returns who a verified client certificate stands for. A URI of the form
//
//	spiffe://TRUST-DOMAIN/mesh/MESH/dataplane/NAME
//
// among its names binds it to that data plane. Without one it is good for all. A
// name that is meant to be one and is not is an error: it would open all.
func ProxyOf(cert *x509.Certificate) (Proxy, error) {
	p := Proxy{Name: "certificate " + cert.Subject.CommonName + " (serial " + cert.SerialNumber.Text(16) + ")"}
	for _, uri := range cert.URIs {
		node, err := boundTo(uri)
		if err != nil {
			return p, err
		}
		if node == "" {
			continue
		}
		if p.Node != "" && p.Node != node {
			return p, errors.New("the client certificate is bound to two data planes; it has to be bound to one")
		}
		p.Name, p.Node = uri.String(), node
	}
	return p, nil
}

// boundTo returns "" for names that bind to nothing, such as those of other
// schemes, and SPIFFE ids of other systems.
func boundTo(uri *url.URL) (node string, err error) {
	if uri.Scheme != "spiffe" || !strings.HasPrefix(uri.Path, "/mesh/") {
		return "", nil
	}
	parts := strings.Split(uri.Path, "/")
	if len(parts) != 5 || parts[3] != "dataplane" || parts[2] == "" || parts[4] == "" || uri.Host == "" ||
		// Nothing besides, such as a query, and nothing escaped: SPIFFE ids have neither.
		uri.String() != "spiffe://"+uri.Host+uri.Path {
		return "", fmt.Errorf("the name %q of the client certificate has to be of the form spiffe://TRUST-DOMAIN/mesh/MESH/dataplane/NAME, and nothing more", uri)
	}
	return nodeID(parts[2], parts[4]), nil
}
