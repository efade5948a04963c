package envoy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	injector "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/credential_injector/v3"
	codec "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	generic "github.com/envoyproxy/go-control-plane/envoy/extensions/http/injected_credentials/generic/v3"
	transport "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpoptions "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/kuma-mirror/kuma-mirror/standalone/serve/secure"
)

// Security says how an Envoy, and what looks after it, speak to the host. The
// zero value is plain text, for a host on loopback.
type Security struct {
	// CAFile has the certificates, as PEM, of who signs the host's; its name
	// has to be that of the xDS address. "" means no TLS.
	CAFile string
	// CertFile and KeyFile are shown to the host, as PEM; "" means none.
	CertFile, KeyFile string
	// TokenFile has the token to show; "" means none. See secure.ParseToken.
	TokenFile string
}

// Check says what is wrong with the options taken together, by the flags of
// `kuma-mirror proxy`; files are not read.
func (s Security) Check(xdsAddress string) error {
	var wrong []error
	if (s.CertFile == "") != (s.KeyFile == "") {
		wrong = append(wrong, errors.New("--xds-cert-file and --xds-key-file go together: one has the certificate, the other its key"))
	}
	if s.CertFile != "" && s.CAFile == "" {
		wrong = append(wrong, errors.New("--xds-cert-file needs --xds-ca-file: without TLS there are no client certificates"))
	}
	if s.TokenFile != "" && s.CAFile == "" && !secure.IsLoopback(xdsAddress) {
		wrong = append(wrong, fmt.Errorf("--xds-token-file needs --xds-ca-file: without TLS anybody on the way to %s reads the token", xdsAddress))
	}
	return errors.Join(wrong...)
}

// shown is what a connection to the host is made with. Two are equal where no
// file has changed in between.
type shown struct {
	authorities *x509.CertPool   // nil means no TLS
	certificate *tls.Certificate // nil means none
	token       string           // "" means none
}

// sources are the files of a Security, for Fetch; see secrets for Envoy's. nil
// where there is no file.
type sources struct {
	authorities *secure.Watched[*x509.CertPool]
	certificate *secure.Watched[*tls.Certificate]
	token       *secure.Watched[string]
}

// watch reads the files, all of which have to be good.
func (s Security) watch() (*sources, error) {
	var w sources
	var err error
	if s.CAFile != "" {
		if w.authorities, err = secure.Watch("the authorities of the host's certificate", []string{s.CAFile}, secure.ParseAuthorities); err != nil {
			return nil, err
		}
	}
	if s.CertFile != "" {
		if w.certificate, err = secure.Watch("the certificate to show to the host", []string{s.CertFile, s.KeyFile}, secure.ParseKeyPair); err != nil {
			return nil, err
		}
	}
	if s.TokenFile != "" {
		parse := func(contents [][]byte) (string, error) { return secure.ParseToken(contents[0]) }
		if w.token, err = secure.Watch("the token to show to the host", []string{s.TokenFile}, parse); err != nil {
			return nil, err
		}
	}
	return &w, nil
}

// run follows the files until ctx ends.
func (w *sources) run(ctx context.Context, log *slog.Logger) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	if w.authorities != nil {
		tasks.Go(func() { w.authorities.Run(ctx, log, nil) })
	}
	if w.certificate != nil {
		tasks.Go(func() { w.certificate.Run(ctx, log, nil) })
	}
	if w.token != nil {
		tasks.Go(func() { w.token.Run(ctx, log, nil) })
	}
}

func (w *sources) now() shown {
	var now shown
	if w.authorities != nil {
		now.authorities = w.authorities.Value()
	}
	if w.certificate != nil {
		now.certificate = w.certificate.Value()
	}
	if w.token != nil {
		now.token = w.token.Value()
	}
	return now
}

// dialOptions make a connection show it.
func (s shown) dialOptions() []grpc.DialOption {
	var options []grpc.DialOption
	if s.authorities == nil {
		options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	} else {
		config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.authorities}
		if s.certificate != nil {
			config.Certificates = []tls.Certificate{*s.certificate}
		}
		options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	}
	if s.token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(s.token)))
	}
	return options
}

// bearer shows a token with each call. Check sees to it that it is sent in
// plain text to this machine only.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

// Names of the secrets, and of their files without the ending.
const (
	secretTrust    = "xds-trust"
	secretIdentity = "xds-identity"
	secretToken    = "xds-token"
)

// secretFile is where a secret is.
func secretFile(dir, name string) string { return filepath.Join(dir, name+".json") }

// fromFile lets Envoy take a secret from a directory, and again when its file is
// replaced there.
func fromFile(dir, name string) *transport.SdsSecretConfig {
	return &transport.SdsSecretConfig{Name: name, SdsConfig: &core.ConfigSource{
		ResourceApiVersion: core.ApiVersion_V3,
		ConfigSourceSpecifier: &core.ConfigSource_PathConfigSource{PathConfigSource: &core.PathConfigSource{
			Path: secretFile(dir, name),
		}},
	}}
}

// secureXDS makes the xDS cluster speak to the host as s says. dir has the
// secrets; without it, Envoy reads the certificates from the files of s, once.
func secureXDS(c *cluster.Cluster, address string, s Security, dir string) error {
	if err := injectToken(c, s, dir); err != nil {
		return err
	}
	if s.CAFile == "" {
		return nil
	}
	host, _, err := splitAddress(address)
	if err != nil {
		return err
	}
	upstream := &transport.UpstreamTlsContext{CommonTlsContext: &transport.CommonTlsContext{
		TlsParams:     &transport.TlsParameters{TlsMinimumProtocolVersion: transport.TlsParameters_TLSv1_2},
		AlpnProtocols: []string{"h2"},
	}}
	if net.ParseIP(host) == nil {
		upstream.Sni = host
	}
	common := upstream.GetCommonTlsContext()
	if dir != "" {
		common.ValidationContextType = &transport.CommonTlsContext_ValidationContextSdsSecretConfig{
			ValidationContextSdsSecretConfig: fromFile(dir, secretTrust),
		}
	} else {
		common.ValidationContextType = &transport.CommonTlsContext_ValidationContext{
			ValidationContext: trust(host, fileSource(s.CAFile)),
		}
	}
	switch {
	case s.CertFile == "":
	case dir != "":
		common.TlsCertificateSdsSecretConfigs = []*transport.SdsSecretConfig{fromFile(dir, secretIdentity)}
	default:
		common.TlsCertificates = []*transport.TlsCertificate{{
			CertificateChain: fileSource(s.CertFile), PrivateKey: fileSource(s.KeyFile),
		}}
	}
	config, err := anypb.New(upstream)
	if err != nil {
		return err
	}
	c.TransportSocket = &core.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: config},
	}
	return nil
}

// trust accepts certificates of the authorities in the name of the host.
func trust(host string, authorities *core.DataSource) *transport.CertificateValidationContext {
	kind := transport.SubjectAltNameMatcher_DNS
	if net.ParseIP(host) != nil {
		kind = transport.SubjectAltNameMatcher_IP_ADDRESS
	}
	return &transport.CertificateValidationContext{
		TrustedCa: authorities,
		MatchTypedSubjectAltNames: []*transport.SubjectAltNameMatcher{{
			SanType: kind,
			Matcher: &matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_Exact{Exact: host}},
		}},
	}
}

// injectToken adds the token to every call on the cluster. It does so in a filter
// of the cluster, which takes the token from a secret: another token needs no
// restart of Envoy, as one among the initial metadata of a gRPC service would.
func injectToken(c *cluster.Cluster, s Security, dir string) error {
	if s.TokenFile == "" {
		return nil
	}
	if dir == "" {
		return errors.New("the token cannot be shown in a bootstrap: Envoy takes it from a file that kuma-mirror proxy writes while it runs")
	}
	credential, err := anypb.New(&generic.Generic{Credential: fromFile(dir, secretToken)})
	if err != nil {
		return err
	}
	var filters []*hcm.HttpFilter
	for _, f := range []struct {
		name   string
		config proto.Message
	}{
		{"envoy.filters.http.credential_injector", &injector.CredentialInjector{
			Overwrite:  true,
			Credential: &core.TypedExtensionConfig{Name: "envoy.http.injected_credentials.generic", TypedConfig: credential},
		}},
		{"envoy.filters.http.upstream_codec", &codec.UpstreamCodec{}},
	} {
		config, err := anypb.New(f.config)
		if err != nil {
			return err
		}
		filters = append(filters, &hcm.HttpFilter{Name: f.name, ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: config}})
	}
	const key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	var options httpoptions.HttpProtocolOptions
	if err := c.GetTypedExtensionProtocolOptions()[key].UnmarshalTo(&options); err != nil {
		return err
	}
	options.HttpFilters = filters
	packed, err := anypb.New(&options)
	if err != nil {
		return err
	}
	c.TypedExtensionProtocolOptions[key] = packed
	return nil
}

func fileSource(name string) *core.DataSource {
	return &core.DataSource{Specifier: &core.DataSource_Filename{Filename: name}}
}

func bytesSource(content []byte) *core.DataSource {
	return &core.DataSource{Specifier: &core.DataSource_InlineBytes{InlineBytes: content}}
}
