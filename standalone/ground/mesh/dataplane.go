package mesh

import (
	"cmp"
	"net"
	"net/netip"
	"strconv"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// Address is an IP address, in its one canonical spelling, and a port.
type Address struct {
	IP   string
	Port uint32
}

// canonical gives equal addresses one spelling: ::1 for 0:0:0:0:0:0:0:1, and
// 127.0.0.1 for ::ffff:127.0.0.1. What is no address stays as it is.
func canonical(ip string) string {
	address, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	return address.Unmap().String()
}

// String gives ip:port.
func (a Address) String() string {
	return net.JoinHostPort(a.IP, strconv.FormatUint(uint64(a.Port), 10))
}

// InboundAddress is where an inbound is called.
func InboundAddress(n *api.Dataplane_Networking, inbound *api.Dataplane_Networking_Inbound) Address {
	return Address{
		IP:   canonical(cmp.Or(inbound.GetAddress(), n.GetAddress())),
		Port: inbound.GetPort(),
	}
}

// ApplicationAddress is where the application behind an inbound listens.
func ApplicationAddress(n *api.Dataplane_Networking, inbound *api.Dataplane_Networking_Inbound) Address {
	return Address{
		IP:   canonical(cmp.Or(inbound.GetServiceAddress(), InboundAddress(n, inbound).IP)),
		Port: cmp.Or(inbound.GetServicePort(), inbound.GetPort()),
	}
}

// OutboundAddress is where the proxy listens for an outbound.
func OutboundAddress(outbound *api.Dataplane_Networking_Outbound) Address {
	return Address{IP: canonical(cmp.Or(outbound.GetAddress(), "127.0.0.1")), Port: outbound.GetPort()}
}

// SourceTags are the tags by which sources of TrafficRoutes match a data plane:
// those of each inbound, or of its gateway.
func SourceTags(n *api.Dataplane_Networking) []api.Tags {
	if n.GetGateway() != nil {
		return []api.Tags{n.GetGateway().GetTags()}
	}
	var out []api.Tags
	for _, inbound := range n.GetInbound() {
		out = append(out, inbound.GetTags())
	}
	return out
}

// NodeID is what the Envoy of a data plane calls itself: MESH.NAME, as in Kuma.
func NodeID(dataplane api.Key) string { return dataplane.Mesh + "." + dataplane.Name }

// NodeCluster is the service that the Envoy of a data plane stands for: that of
// its first inbound, or of its gateway.
func NodeCluster(n *api.Dataplane_Networking) string {
	for _, tags := range SourceTags(n) {
		return tags.Service()
	}
	return ""
}
