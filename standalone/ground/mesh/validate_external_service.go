package mesh

import (
	"net"
	"strconv"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
)

func (v *validation) externalService(root api.Path, spec *api.ExternalService) {
	v.tags(root.Field("tags"), spec.GetTags())
	n := spec.GetNetworking()
	at := root.Field("networking")
	if n == nil {
		v.add(at, "is missing")
		return
	}
	v.hostAndPort(at.Field("address"), n.GetAddress())
	v.tls(at.Field("tls"), n.GetTls())
	CredentialsOf(spec).Check(func(path api.Path, format string, args ...any) {
		v.add(root.Field(string(path)), format, args...)
	})
}

func (v *validation) hostAndPort(at api.Path, address string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		v.add(at, "%q is not host:port, such as shadow.example:443 or 192.0.2.1:80", address)
		return
	}
	if net.ParseIP(host) == nil && !plugin.IsHostName(host) {
		v.add(at, "%q is neither a host name nor an IP address", host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		v.add(at, "%q is not a port; it must be 1 to 65535", port)
	}
}

func (v *validation) tls(at api.Path, tls *api.ExternalService_Networking_TLS) {
	if name := tls.GetServerName(); name != nil {
		switch {
		case net.ParseIP(name.GetValue()) != nil:
			v.add(at.Field("serverName"), "is an IP address, which TLS does not allow; leave it out or give a host name")
		case !plugin.IsHostName(name.GetValue()):
			v.add(at.Field("serverName"), "%q is not a host name", name.GetValue())
		}
	}
	v.dataSource(at.Field("caCert"), tls.GetCaCert())
	v.dataSource(at.Field("clientCert"), tls.GetClientCert())
	v.dataSource(at.Field("clientKey"), tls.GetClientKey())
	switch {
	case tls.GetClientCert() != nil && tls.GetClientKey() == nil:
		v.add(at.Field("clientKey"), "is missing; clientCert needs it")
	case tls.GetClientKey() != nil && tls.GetClientCert() == nil:
		v.add(at.Field("clientCert"), "is missing; clientKey needs it")
	}
}

func (v *validation) dataSource(at api.Path, source *api.ExternalService_DataSource) {
	if source == nil {
		return
	}
	switch t := source.GetType().(type) {
	case *api.ExternalService_DataSource_Inline:
		if len(t.Inline.GetValue()) == 0 {
			v.add(at.Field("inline"), "is empty")
		}
	case *api.ExternalService_DataSource_InlineString:
		if t.InlineString.GetValue() == "" {
			v.add(at.Field("inlineString"), "is empty")
		}
	case *api.ExternalService_DataSource_File:
		if t.File == "" {
			v.add(at.Field("file"), "is empty")
		}
	default:
		v.add(at, "has no data; give inline, inlineString or file")
	}
}
