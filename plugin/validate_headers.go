package plugin

import (
	"iter"
	"regexp"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// Envoy's bounds: bytes of a header's name or value in a configuration, and
// changes in one list.
const (
	maxHeaderBytes   = 16384
	maxHeaderChanges = 1000
)

const headerNameWords = "1 to 16384 letters, digits and !#$%&'*+-.^_`|~ are allowed"

// headers checks changes to headers. host is the field that changes the host.
//
// Envoy accepts names that are no HTTP; what it then sends, the other side
// refuses.
func (c *checker) headers(at api.Path, headers *api.TrafficRoute_Http_Modify_Headers, host api.Path) {
	if n := len(headers.GetAdd()) + len(headers.GetRemove()); n > maxHeaderChanges {
		c.add(at, "has %d changes; at most %d are allowed", n, maxHeaderChanges)
	}
	for i, add := range headers.GetAdd() {
		at := at.Field("add").Index(i)
		c.headerName(at.Field("name"), add.GetName(), host)
		c.headerValue(at.Field("value"), add.GetValue())
	}
	for i, remove := range headers.GetRemove() {
		c.headerName(at.Field("remove").Index(i).Field("name"), remove.GetName(), host)
	}
}

func (c *checker) headerName(at api.Path, name string, host api.Path) {
	switch {
	case strings.HasPrefix(name, ":"), strings.EqualFold(name, "host"):
		c.add(at, "is %q; the host and the pseudo-headers, which start with a colon, cannot be changed here: use %s for the host", name, host)
	case !isToken(name), len(name) > maxHeaderBytes:
		c.add(at, "is not the name of a header: %s", headerNameWords)
	}
}

func (c *checker) headerValue(at api.Path, value string) {
	switch {
	case value == "":
		c.add(at, "must not be empty")
	case len(value) > maxHeaderBytes:
		c.add(at, "has %d bytes; at most %d are allowed", len(value), maxHeaderBytes)
	case strings.ContainsFunc(value, isControl):
		c.add(at, "must not contain control characters")
	case strings.Trim(value, " \t") != value:
		c.add(at, "must not start or end with a space")
	}
	if command, ok := badCommand(value); ok {
		c.add(at, "has %q, which Envoy takes for a command that it does not know: write %%%% for a percent sign; commands are as in %%REQ(x-user)%%, %%START_TIME%% or %%DOWNSTREAM_REMOTE_ADDRESS%%", command)
	}
}

// isToken reports whether s is a token of RFC 9110.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
}

// isControl reports whether r may not be in the value of a header; a tab may.
func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// Envoy's commands in the values of headers, each seen to be accepted by 1.38.2
// and 1.40.0. Others exist whose arguments are languages of their own; a
// mistake there makes Envoy refuse everything.
var (
	commandSyntax   = regexp.MustCompile(`^%([A-Z0-9_]+)(?:\(([^)]*)\))?(?::[0-9]{1,9})?%`)
	headerArgument  = regexp.MustCompile(`^:?[A-Za-z0-9!#$&'*+.^_|~-]+(\?:?[A-Za-z0-9!#$&'*+.^_|~-]+)?$`)
	keyArgument     = regexp.MustCompile(`^[A-Za-z0-9_.:/-]+$`)
	commandsOfKeys  = wordSet(`CLUSTER_METADATA DYNAMIC_METADATA ENVIRONMENT QUERY_PARAM UPSTREAM_METADATA`)
	commandsOfNames = wordSet(`REQ REQUEST_HEADER RESP RESPONSE_HEADER RESPONSE_TRAILER TRAILER`)
	commandsOfTimes = wordSet(`START_TIME START_TIME_LOCAL`)
	commandsAlone   = wordSet(`
		ACCESS_LOG_TYPE BYTES_RECEIVED BYTES_RETRANSMITTED BYTES_SENT CONNECTION_ID
		CONNECTION_TERMINATION_DETAILS DOWNSTREAM_DIRECT_REMOTE_ADDRESS
		DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_REMOTE_PORT
		DOWNSTREAM_HANDSHAKE_DURATION DOWNSTREAM_LOCAL_ADDRESS
		DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_LOCAL_PORT
		DOWNSTREAM_LOCAL_SUBJECT DOWNSTREAM_LOCAL_URI_SAN DOWNSTREAM_PEER_CERT
		DOWNSTREAM_PEER_CERT_V_END DOWNSTREAM_PEER_CERT_V_START
		DOWNSTREAM_PEER_DNS_SAN DOWNSTREAM_PEER_FINGERPRINT_1
		DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_IP_SAN DOWNSTREAM_PEER_ISSUER
		DOWNSTREAM_PEER_SERIAL DOWNSTREAM_PEER_SUBJECT DOWNSTREAM_PEER_URI_SAN
		DOWNSTREAM_REMOTE_ADDRESS DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT
		DOWNSTREAM_REMOTE_PORT DOWNSTREAM_TLS_CIPHER DOWNSTREAM_TLS_SESSION_ID
		DOWNSTREAM_TLS_VERSION DOWNSTREAM_TRANSPORT_FAILURE_REASON DURATION
		FILTER_CHAIN_NAME GRPC_STATUS GRPC_STATUS_NUMBER HOSTNAME LOCAL_REPLY_BODY
		PACKETS_RETRANSMITTED PATH PROTOCOL QUERY_PARAMS REQUESTED_SERVER_NAME
		REQUEST_DURATION REQUEST_HEADERS_BYTES REQUEST_TX_DURATION RESPONSE_CODE
		RESPONSE_CODE_DETAILS RESPONSE_DURATION RESPONSE_FLAGS RESPONSE_FLAGS_LONG
		RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES RESPONSE_TX_DURATION
		ROUNDTRIP_DURATION ROUTE_NAME SPAN_ID START_TIME START_TIME_LOCAL STREAM_ID
		TLS_JA3_FINGERPRINT TLS_JA4_FINGERPRINT TRACE_ID UNIQUE_ID UPSTREAM_CLUSTER
		UPSTREAM_CLUSTER_RAW UPSTREAM_CONNECTION_ID
		UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED UPSTREAM_HEADER_BYTES_RECEIVED
		UPSTREAM_HOST UPSTREAM_HOST_NAME UPSTREAM_HOST_NAME_WITHOUT_PORT
		UPSTREAM_LOCAL_ADDRESS UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT UPSTREAM_LOCAL_PORT
		UPSTREAM_PEER_URI_SAN UPSTREAM_PROTOCOL UPSTREAM_REMOTE_ADDRESS
		UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_PORT
		UPSTREAM_REQUEST_ATTEMPT_COUNT UPSTREAM_TLS_CIPHER UPSTREAM_TLS_VERSION
		UPSTREAM_TRANSPORT_FAILURE_REASON UPSTREAM_WIRE_BYTES_RECEIVED
		UPSTREAM_WIRE_BYTES_SENT VIRTUAL_CLUSTER_NAME`)
)

func wordSet(list string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(list) {
		set[w] = true
	}
	return set
}

// commands yields each percent sign in the value of a header that is not doubled,
// with what follows, and the submatches of the command that begins there; nil
// where none does.
func commands(value string) iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		for {
			i := strings.IndexByte(value, '%')
			if i < 0 {
				return
			}
			value = value[i:]
			m := commandSyntax.FindStringSubmatch(value)
			if !strings.HasPrefix(value, "%%") && !yield(value, m) {
				return
			}
			if m == nil {
				value = value[min(len(value), 2):]
			} else {
				value = value[len(m[0]):]
			}
		}
	}
}

// badCommand returns the first percent sign, with what follows, that is neither
// doubled nor a command of Envoy's.
func badCommand(value string) (string, bool) {
	for rest, m := range commands(value) {
		if m == nil || !isCommand(m[0], m[1], m[2]) {
			end := strings.IndexByte(rest[1:], '%') + 2 // the whole, if there is an end
			if end == 1 || end > 40 {
				end = min(len(rest), 40)
			}
			return rest[:end], true
		}
	}
	return "", false
}

// machineCommand returns the first command that reads the proxy's machine, of
// those that badCommand lets through.
func machineCommand(value string) (string, bool) {
	for _, m := range commands(value) {
		if m != nil && m[1] == "ENVIRONMENT" {
			return m[0], true
		}
	}
	return "", false
}

// isCommand reports whether whole, which is name and argument between percent
// signs, is a command that Envoy accepts.
func isCommand(whole, name, argument string) bool {
	switch {
	case whole == "%"+name+"%":
		return commandsAlone[name]
	case commandsOfNames[name]:
		return headerArgument.MatchString(argument)
	case commandsOfKeys[name]:
		return keyArgument.MatchString(argument)
	default:
		return commandsOfTimes[name] && whole == "%"+name+"("+argument+")%"
	}
}
