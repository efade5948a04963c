package v1alpha1

// Protocol is what a service speaks, as `kuma.io/protocol` spells it.
type Protocol string

// The protocols of Kuma. Anything else counts as ProtocolTCP.
const (
	ProtocolHTTP  Protocol = "http"
	ProtocolHTTP2 Protocol = "http2"
	ProtocolGRPC  Protocol = "grpc"
	ProtocolKafka Protocol = "kafka"
	ProtocolTCP   Protocol = "tcp"
)

// ParseProtocol returns the protocol of a tag's value; "" and unknown values
// are ProtocolTCP.
func ParseProtocol(tag string) Protocol {
	switch p := Protocol(tag); p {
	case ProtocolHTTP, ProtocolHTTP2, ProtocolGRPC, ProtocolKafka:
		return p
	default:
		return ProtocolTCP
	}
}

// IsHTTP reports whether requests can be told apart, and so mirrored.
func (p Protocol) IsHTTP() bool {
	return p == ProtocolHTTP || p == ProtocolHTTP2 || p == ProtocolGRPC
}

// IsHTTP2 reports whether an endpoint of the protocol is spoken to in HTTP/2.
func (p Protocol) IsHTTP2() bool {
	return p == ProtocolHTTP2 || p == ProtocolGRPC
}

// layers lists, for each protocol, itself and those it can be taken for.
var layers = map[Protocol][]Protocol{
	ProtocolGRPC:  {ProtocolGRPC, ProtocolHTTP2, ProtocolHTTP, ProtocolTCP},
	ProtocolHTTP2: {ProtocolHTTP2, ProtocolHTTP, ProtocolTCP},
	ProtocolHTTP:  {ProtocolHTTP, ProtocolTCP},
	ProtocolKafka: {ProtocolKafka, ProtocolTCP},
	ProtocolTCP:   {ProtocolTCP},
}

// CommonProtocol returns the most specific protocol that both can be taken
// for: grpc and http2 give http2, http and kafka give tcp.
func CommonProtocol(a, b Protocol) Protocol {
	for _, p := range layers[a] {
		for _, q := range layers[b] {
			if p == q {
				return p
			}
		}
	}
	return ProtocolTCP
}
