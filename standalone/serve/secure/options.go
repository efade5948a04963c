// Package secure decides who may reach what the host listens on: its REST API
// and its xDS.
//
// An address that only this machine reaches needs nothing. Any other needs TLS
// and a proof of who calls: a token for the API, a token or a client certificate
// for xDS. What is configured holds on every address, loopback too.
//
// Tokens and certificates come from files, which are read again when they
// change, while connections go on; see Watched.
package secure

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
)

// Options say where the host listens and what protects it. Errors call them by
// the flags of `kuma-mirror run`.
type Options struct {
	// APIAddress of the REST API, as host:port; "" when there is none.
	APIAddress string
	// XDSAddress, as host:port.
	XDSAddress string
	// CertFile and KeyFile make both listeners speak TLS, as PEM.
	CertFile, KeyFile string
	// TokenFile has the tokens that the API asks for; see ParseTokens.
	TokenFile string
	// XDSTokenFile has the tokens that xDS asks for; see ParseXDSTokens.
	XDSTokenFile string
	// XDSClientCAFile has the certificates of the authorities whose client
	// certificates xDS asks for, as PEM. It excludes XDSTokenFile.
	XDSClientCAFile string
	// Insecure allows addresses that other machines reach without what they
	// need otherwise.
	Insecure bool
	// Log takes refusals and changes of the files; nil means slog.Default().
	Log *slog.Logger
	// OnRefusal, where it is set, is called for everybody who is turned away:
	// from "api" or "xds", with one of a few reasons. It has to be quick.
	OnRefusal func(listener, reason string)
}

// IsLoopback reports whether only this machine reaches an address, host:port. A
// name other than localhost counts as reached by others.
func IsLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && isLoopbackHost(host)
}

func isLoopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// Check says what is wrong with the options taken together, all of it; files
// are not read.
func (o Options) Check() error {
	var wrong []error
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if (o.CertFile == "") != (o.KeyFile == "") {
		add("--tls-cert-file and --tls-key-file go together: one has the certificate, the other its key")
	}
	if o.XDSClientCAFile != "" && !o.tls() {
		add("--xds-client-ca-file needs --tls-cert-file and --tls-key-file: without TLS there are no client certificates")
	}
	if o.XDSClientCAFile != "" && o.XDSTokenFile != "" {
		add("--xds-client-ca-file and --xds-token-file exclude each other: proxies show a certificate or a token")
	}
	if o.TokenFile != "" && o.APIAddress == "" {
		add("--token-file is for the REST API, which --api-address off turns off; tokens of proxies go to --xds-token-file")
	}
	if !o.Insecure {
		for _, e := range o.exposures() {
			add("%s %s can be reached from other machines and needs %s; use an address of 127.0.0.0/8 or ::1, or add --insecure "+
				"where everybody on that network is trusted", e.flag, e.address, strings.Join(e.lacks, " and "))
		}
	}
	return errors.Join(wrong...)
}

// Warnings say what --insecure opens.
func (o Options) Warnings() []string {
	if !o.Insecure {
		return nil
	}
	exposures := o.exposures()
	if len(exposures) == 0 {
		return []string{"--insecure changes nothing here: every address is on loopback or protected; leave it out"}
	}
	var all []string
	for _, e := range exposures {
		all = append(all, fmt.Sprintf("insecure: %s %s can be reached from other machines: %s", e.flag, e.address, strings.Join(e.risks, "; ")))
	}
	return all
}

func (o Options) tls() bool { return o.CertFile != "" && o.KeyFile != "" }

// exposure is an address that others reach and that lacks protection.
type exposure struct {
	flag, address string
	lacks         []string // flags that would protect it
	risks         []string
}

func (o Options) exposures() []exposure {
	var all []exposure
	look := func(flag, address string, authenticated bool, lack, risk string) {
		e := exposure{flag: flag, address: address}
		if address == "" || IsLoopback(address) {
			return
		}
		if !o.tls() {
			e.lacks = append(e.lacks, "--tls-cert-file and --tls-key-file")
			eavesdrop := "without TLS anybody on the way reads and changes what is sent"
			if authenticated {
				eavesdrop += ", tokens among it"
			}
			e.risks = append(e.risks, eavesdrop)
		}
		if !authenticated {
			e.lacks = append(e.lacks, lack)
			e.risks = append(e.risks, risk)
		}
		if len(e.lacks) > 0 {
			all = append(all, e)
		}
	}
	look("--api-address", o.APIAddress, o.TokenFile != "", "--token-file",
		"without --token-file anybody who reaches it changes what every Envoy does")
	look("--xds-address", o.XDSAddress, o.XDSTokenFile != "" || o.XDSClientCAFile != "", "--xds-token-file or --xds-client-ca-file",
		"without --xds-token-file or --xds-client-ca-file anybody who reaches it reads every Envoy's configuration, keys of ExternalServices among it, "+
			"and reports statistics in its name")
	return all
}
