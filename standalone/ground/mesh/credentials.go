package mesh

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// Credential is a certificate, a chain or a private key of an ExternalService.
type Credential struct {
	// Path of the field in the spec, such as networking.tls.caCert.inline.
	Path api.Path
	// File that Envoy reads it from; empty where it is inline.
	File string
	// Text is the PEM; nil while it is not known.
	Text []byte
}

// Credentials are those of one ExternalService; nil for each that it lacks.
type Credentials struct {
	CACert, ClientCert, ClientKey *Credential
}

// CredentialsOf returns the credentials of an ExternalService. Texts of files are
// not known yet.
func CredentialsOf(spec *api.ExternalService) Credentials {
	tls := spec.GetNetworking().GetTls()
	at := api.Path("networking").Field("tls")
	return Credentials{
		CACert:     credential(at.Field("caCert"), tls.GetCaCert()),
		ClientCert: credential(at.Field("clientCert"), tls.GetClientCert()),
		ClientKey:  credential(at.Field("clientKey"), tls.GetClientKey()),
	}
}

func credential(at api.Path, source *api.ExternalService_DataSource) *Credential {
	switch t := source.GetType().(type) {
	case *api.ExternalService_DataSource_Inline:
		return &Credential{Path: at.Field("inline"), Text: append([]byte{}, t.Inline.GetValue()...)}
	case *api.ExternalService_DataSource_InlineString:
		return &Credential{Path: at.Field("inlineString"), Text: []byte(t.InlineString.GetValue())}
	case *api.ExternalService_DataSource_File:
		return &Credential{Path: at.Field("file"), File: t.File}
	default:
		return nil
	}
}

// All returns the credentials that there are.
func (c Credentials) All() []*Credential {
	var all []*Credential
	for _, one := range []*Credential{c.CACert, c.ClientCert, c.ClientKey} {
		if one != nil {
			all = append(all, one)
		}
	}
	return all
}

// Check calls add with everything for which an Envoy would refuse the texts that
// are known and not empty.
func (c Credentials) Check(add func(at api.Path, format string, args ...any)) {
	if c.CACert.known() {
		if _, err := c.CACert.Certificates(); err != nil {
			add(c.CACert.Path, "%s; it must be PEM certificates of the authorities that sign the service's certificate", err)
		}
	}
	var chain []*x509.Certificate
	var key crypto.Signer
	var err error
	if c.ClientCert.known() {
		if chain, err = c.ClientCert.Certificates(); err != nil {
			add(c.ClientCert.Path, "%s; it must be the client's certificate in PEM, followed by its chain", err)
		} else if !usable(chain[0].PublicKey) {
			add(c.ClientCert.Path, "has a key that Envoy refuses; RSA of at least 2048 bits, P-256, P-384, P-521 and Ed25519 are allowed")
		}
	}
	if c.ClientKey.known() {
		if key, err = c.ClientKey.privateKey(); err != nil {
			add(c.ClientKey.Path, "%s; it must be the private key of clientCert in PEM, unencrypted", err)
		}
	}
	if len(chain) > 0 && key != nil {
		if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(chain[0].PublicKey) {
			add(c.ClientKey.Path, "is not the private key of the first certificate of clientCert, whose subject is %q", chain[0].Subject)
		}
	}
}

// usable reports whether Envoys 1.38.2 and 1.40.0 take a certificate of the key.
func usable(public crypto.PublicKey) bool {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= 2048
	case *ecdsa.PublicKey:
		return key.Curve != elliptic.P224()
	case ed25519.PublicKey:
		return true
	default:
		return false
	}
}

func (c *Credential) known() bool { return c != nil && len(c.Text) > 0 }

// Certificates returns the certificates in the text, of which there is at least
// one. Other PEM blocks are ignored, as Envoy does.
func (c *Credential) Certificates() ([]*x509.Certificate, error) {
	all, err := blocks(c.Text)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	keys := false
	for i, block := range all {
		if isKey(block) {
			keys = true
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d is not a certificate (%s)", i+1, strings.TrimPrefix(err.Error(), "x509: "))
		}
		out = append(out, parsed)
	}
	switch {
	case len(out) > 0:
		return out, nil
	case keys:
		return nil, errors.New("holds a private key instead of a certificate")
	default:
		return nil, errors.New("holds no certificate (-----BEGIN CERTIFICATE-----)")
	}
}

// privateKey returns the only private key in the text.
func (c *Credential) privateKey() (crypto.Signer, error) {
	all, err := blocks(c.Text)
	if err != nil {
		return nil, err
	}
	var found *pem.Block
	certificates := false
	for _, block := range all {
		switch {
		case block.Type == "CERTIFICATE":
			certificates = true
		case !isKey(block):
		case found != nil:
			return nil, errors.New("holds several private keys")
		default:
			found = block
		}
	}
	switch {
	case found == nil && certificates:
		return nil, errors.New("holds a certificate instead of a private key")
	case found == nil:
		return nil, errors.New("holds no private key (-----BEGIN PRIVATE KEY-----)")
	case found.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(found.Headers["Proc-Type"], "ENCRYPTED"):
		return nil, errors.New("is encrypted, and Envoy has no passphrase for it")
	}
	return parseKey(found)
}

func parseKey(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		// The error of the parser may have bytes of the key.
		return nil, fmt.Errorf("its %s cannot be read", block.Type)
	}
	return signer, nil
}

func isKey(block *pem.Block) bool {
	return block.Type == "PRIVATE KEY" || strings.HasSuffix(block.Type, " PRIVATE KEY")
}

// blocks returns all PEM blocks. A malformed one, which pem.Decode skips, is an
// error: Envoy stops there.
func blocks(text []byte) ([]*pem.Block, error) {
	var all []*pem.Block
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		all = append(all, block)
	}
	if begun := bytes.Count(text, []byte("-----BEGIN ")); begun > len(all) {
		return nil, fmt.Errorf("can be read in %[2]d of its %[1]d PEM blocks only: the others are not base64 or have no -----END line", begun, len(all))
	}
	if len(all) == 0 {
		return nil, errors.New("is not PEM")
	}
	return all, nil
}
