package generate

import (
	"cmp"
	"net"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// transportSocket is TLS towards one ExternalService. Without a CA certificate
// the service's certificate is not verified, as in Kuma.
func transportSocket(e mesh.ExternalEndpoint) (*core.TransportSocket, error) {
	config := e.TLS
	context := &tls.UpstreamTlsContext{
		Sni:                config.GetServerName().GetValue(),
		AllowRenegotiation: config.GetAllowRenegotiation().GetValue(),
	}
	if context.GetSni() == "" && net.ParseIP(e.Host) == nil {
		context.Sni = e.Host // an IP address is not allowed there
	}
	if config.GetClientCert() != nil || config.GetCaCert() != nil {
		context.CommonTlsContext = &tls.CommonTlsContext{}
	}
	if config.GetClientCert() != nil {
		context.CommonTlsContext.TlsCertificates = []*tls.TlsCertificate{{
			CertificateChain: dataSource(config.GetClientCert()),
			PrivateKey:       dataSource(config.GetClientKey()),
		}}
	}
	if config.GetCaCert() != nil {
		validation := &tls.CertificateValidationContext{TrustedCa: dataSource(config.GetCaCert())}
		if !config.GetSkipHostnameVerification().GetValue() {
			validation.MatchTypedSubjectAltNames = subjectAltNames(cmp.Or(context.GetSni(), e.Host))
		}
		context.CommonTlsContext.ValidationContextType = &tls.CommonTlsContext_ValidationContext{ValidationContext: validation}
	}
	packed, err := xds.MarshalAny(context)
	if err != nil {
		return nil, err
	}
	return &core.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: packed},
	}, nil
}

// subjectAltNames matches a certificate for the host, be it a name or an address.
func subjectAltNames(host string) []*tls.SubjectAltNameMatcher {
	var out []*tls.SubjectAltNameMatcher
	for _, t := range []tls.SubjectAltNameMatcher_SanType{tls.SubjectAltNameMatcher_DNS, tls.SubjectAltNameMatcher_IP_ADDRESS} {
		out = append(out, &tls.SubjectAltNameMatcher{
			SanType: t,
			Matcher: &matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_Exact{Exact: host}},
		})
	}
	return out
}

func dataSource(s *api.ExternalService_DataSource) *core.DataSource {
	switch t := s.GetType().(type) {
	case *api.ExternalService_DataSource_Inline:
		return &core.DataSource{Specifier: &core.DataSource_InlineBytes{InlineBytes: t.Inline.GetValue()}}
	case *api.ExternalService_DataSource_InlineString:
		return &core.DataSource{Specifier: &core.DataSource_InlineString{InlineString: t.InlineString.GetValue()}}
	case *api.ExternalService_DataSource_File:
		return &core.DataSource{Specifier: &core.DataSource_Filename{Filename: t.File}}
	default:
		return nil
	}
}
