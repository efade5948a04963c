package mesh

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// Service is what stands behind one value of `kuma.io/service`: inbounds of data
// planes, or ExternalServices. Where there are both, the ExternalServices win, as
// in Kuma.
type Service struct {
	protocol  api.Protocol // "" before the first inbound
	endpoints []Endpoint
	external  []ExternalEndpoint
}

// Endpoint is a ready instance of a service.
type Endpoint struct {
	// Address is an IP address in its canonical spelling.
	Address string
	Port    uint32
	// Tags of the inbound; of several on one address and port, those in which
	// they agree.
	Tags api.Tags
	// Weight is the number of inbounds on the address and port.
	Weight uint32
}

// ExternalEndpoint is what one ExternalService stands for.
type ExternalEndpoint struct {
	// Host is a name or an IP address.
	Host string
	Port uint32
	// Tags of the ExternalService; with TLS also its name, which tells the
	// TLS settings of several ExternalServices of one service apart.
	Tags api.Tags
	// TLS is nil where it is not enabled.
	TLS *api.ExternalService_Networking_TLS
}

func (s *Service) addInbound(n *api.Dataplane_Networking, inbound *api.Dataplane_Networking_Inbound) {
	// Inbounds that are not ready count for the protocol: a listener that turned
	// into a TCP one while the last instance restarts would lose its routes.
	if !s.IsExternal() {
		p := api.ParseProtocol(inbound.GetTags()[api.ProtocolTag])
		if s.protocol != "" {
			p = api.CommonProtocol(s.protocol, p)
		}
		s.protocol = p
	}
	if inbound.GetState() != api.Dataplane_Networking_Inbound_Ready ||
		inbound.GetHealth() != nil && !inbound.GetHealth().GetReady() {
		return
	}
	s.endpoints = append(s.endpoints, Endpoint{
		Address: cmp.Or(canonical(n.GetAdvertisedAddress()), InboundAddress(n, inbound).IP),
		Port:    inbound.GetPort(),
		Tags:    inbound.GetTags(),
		Weight:  1,
	})
}

func (s *Service) addExternal(name string, spec *api.ExternalService) {
	p := api.ParseProtocol(spec.GetTags()[api.ProtocolTag])
	if s.IsExternal() {
		p = api.CommonProtocol(s.protocol, p)
	}
	s.protocol = p

	host, port := splitAddress(spec.GetNetworking().GetAddress())
	e := ExternalEndpoint{Host: host, Port: port, Tags: spec.GetTags()}
	if tls := spec.GetNetworking().GetTls(); tls.GetEnabled() {
		e.TLS = tls
		e.Tags = maps.Clone(e.Tags)
		e.Tags[api.ExternalServiceNameTag] = name
	}
	s.external = append(s.external, e)
}

// Protocol returns the most specific protocol that all instances can be taken
// for, ready or not; ProtocolTCP for a nil Service.
func (s *Service) Protocol() api.Protocol {
	if s == nil {
		return api.ProtocolTCP
	}
	return s.protocol
}

// IsExternal reports whether ExternalServices stand behind the service.
func (s *Service) IsExternal() bool { return s != nil && len(s.external) > 0 }

// Endpoints returns the ready instances that have all the tags, ordered by
// address and port, those of one address and port as one. A nil Service and an
// external one have none.
func (s *Service) Endpoints(tags api.Tags) []Endpoint {
	if s == nil || s.IsExternal() {
		return nil
	}
	var out []Endpoint
	for _, e := range s.endpoints {
		if tags.Matches(e.Tags) {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, compareAddress)
	return mergeEqual(out)
}

func compareAddress(a, b Endpoint) int {
	return cmp.Or(strings.Compare(a.Address, b.Address), cmp.Compare(a.Port, b.Port))
}

// mergeEqual makes one of neighbours of equal address and port; Envoy would
// count only one of them.
func mergeEqual(sorted []Endpoint) []Endpoint {
	var out []Endpoint
	for _, e := range sorted {
		if len(out) == 0 || compareAddress(out[len(out)-1], e) != 0 {
			out = append(out, e)
			continue
		}
		last := &out[len(out)-1]
		last.Weight += e.Weight
		last.Tags = agreement(last.Tags, e.Tags)
	}
	return out
}

func agreement(a, b api.Tags) api.Tags {
	out := api.Tags{}
	for k, v := range a {
		if w, ok := b[k]; ok && v == w {
			out[k] = v
		}
	}
	return out
}

// External returns the ExternalServices that have all the tags, ordered by name.
func (s *Service) External(tags api.Tags) []ExternalEndpoint {
	if s == nil {
		return nil
	}
	var out []ExternalEndpoint
	for _, e := range s.external {
		if tags.Matches(e.Tags) {
			out = append(out, e)
		}
	}
	return out
}

// splitAddress splits host:port; a port that is not a number is 0.
func splitAddress(address string) (host string, port uint32) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return address, 0
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return host, 0
	}
	return host, uint32(n)
}
