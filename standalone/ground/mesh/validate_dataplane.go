package mesh

import (
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

func (v *validation) dataplane(root api.Path, spec *api.Dataplane) {
	n := spec.GetNetworking()
	at := root.Field("networking")
	if n == nil {
		v.add(at, "is missing")
		return
	}
	if n.GetAddress() == "" {
		v.add(at.Field("address"), "is missing; it is the IP address of the proxy")
	} else {
		v.ip(at.Field("address"), n.GetAddress(), false)
	}
	v.optionalIP(at.Field("advertisedAddress"), n.GetAdvertisedAddress(), false)

	switch {
	case len(n.GetInbound()) > 0 && n.GetGateway() != nil:
		v.add(at, "has both inbound and gateway; a gateway has no inbounds")
	case n.GetGateway() != nil:
		v.gateway(at.Field("gateway"), n.GetGateway())
	case len(n.GetInbound()) == 0:
		v.add(at, "has neither inbound nor gateway; a proxy that only calls others is a gateway, with the tags that sources of TrafficRoutes match")
	}
	for i, inbound := range n.GetInbound() {
		v.inbound(at.Field("inbound").Index(i), inbound, n.GetAdvertisedAddress() != "")
	}
	for i, outbound := range n.GetOutbound() {
		v.outbound(at.Field("outbound").Index(i), outbound)
	}
	if port := n.GetAdmin().GetPort(); port > 65535 {
		v.add(at.Field("admin").Field("port"), "%d is not a port; it must be 1 to 65535, or 0 for none", port)
	}
	v.addresses(at, n)
}

func (v *validation) gateway(at api.Path, gateway *api.Dataplane_Networking_Gateway) {
	v.tags(at.Field("tags"), gateway.GetTags())
	if p, ok := gateway.GetTags()[api.ProtocolTag]; ok && api.ParseProtocol(p) != api.ProtocolTCP {
		v.add(at.Field("tags").Key(api.ProtocolTag), "a gateway is called by no one in the mesh; only tcp is allowed")
	}
}

// inbound takes an address of all interfaces where others call another one.
func (v *validation) inbound(at api.Path, inbound *api.Dataplane_Networking_Inbound, advertised bool) {
	v.port(at.Field("port"), inbound.GetPort())
	if inbound.GetServicePort() != 0 {
		v.port(at.Field("servicePort"), inbound.GetServicePort())
	}
	v.optionalIP(at.Field("address"), inbound.GetAddress(), advertised)
	v.optionalIP(at.Field("serviceAddress"), inbound.GetServiceAddress(), false)
	v.tags(at.Field("tags"), inbound.GetTags())
}

func (v *validation) outbound(at api.Path, outbound *api.Dataplane_Networking_Outbound) {
	v.port(at.Field("port"), outbound.GetPort())
	v.optionalIP(at.Field("address"), outbound.GetAddress(), true)
	v.tags(at.Field("tags"), outbound.GetTags())
	limits, limitsAt := outbound.GetLimits(), at.Field("limits")
	v.limit(limitsAt.Field("maxConnections"), limits.GetMaxConnections())
	v.limit(limitsAt.Field("maxPendingRequests"), limits.GetMaxPendingRequests())
	v.limit(limitsAt.Field("maxRequests"), limits.GetMaxRequests())
}

func (v *validation) limit(at api.Path, limit *wrapperspb.UInt32Value) {
	if limit != nil && limit.GetValue() == 0 {
		v.add(at, "is 0; must be 1 or more, or absent for no limit")
	}
}

// addresses finds two that would listen on one address and port: Envoy's
// listeners, its admin API, and the applications.
func (v *validation) addresses(at api.Path, n *api.Dataplane_Networking) {
	taken := map[Address]string{}
	claim := func(path api.Path, a Address, who string) {
		if a.Port == 0 {
			return
		}
		if other, ok := taken[a]; ok {
			v.add(path, "%s is taken by %s already", a, other)
			return
		}
		taken[a] = who
	}
	claim(at.Field("admin").Field("port"), Address{IP: "127.0.0.1", Port: n.GetAdmin().GetPort()}, "networking.admin")
	for i, inbound := range n.GetInbound() {
		path := at.Field("inbound").Index(i)
		claim(path.Field("port"), InboundAddress(n, inbound), string(path))
	}
	for i, outbound := range n.GetOutbound() {
		path := at.Field("outbound").Index(i)
		claim(path.Field("port"), OutboundAddress(outbound), string(path))
	}
	for i, inbound := range n.GetInbound() {
		path := at.Field("inbound").Index(i)
		app := ApplicationAddress(n, inbound)
		if app == InboundAddress(n, inbound) {
			continue
		}
		// Several inbounds may lead to one application.
		if other, ok := taken[app]; ok {
			v.add(path.Field("servicePort"), "the application cannot listen on %s, which is taken by %s", app, other)
		}
	}
}
