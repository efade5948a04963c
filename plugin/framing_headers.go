package plugin

import (
	"iter"
	"regexp"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// framingHeaders say where a message ends and what a connection does with it:
// the fields of RFC 9110 for content, expectations, trailers and hops, with
// those that HTTP/1.1 and the upgrade to HTTP/2 add. Whoever changes one changes
// what the other side takes for the message: with `content-length: 0` it takes
// the body for another request.
var framingHeaders = wordSet(`
	connection content-length expect http2-settings keep-alive proxy-connection te
	trailer transfer-encoding upgrade`)

// routerHeaders are read by Envoy's router, which sends the copies. They would
// take the place of the mirror's limits: how long a copy lives, how often it is
// tried, under which name it is counted.
var routerHeaders = regexp.MustCompile(`^x-envoy-(upstream-.*|max-retries|retry-on|retry-grpc-on|retriable-.*|hedge-on-per-try-timeout|is-timeout-retry)$`)

// headerForm is the name as those read it who make no difference between its
// letters, or between dashes and underscores, as CGI and WSGI do not.
func headerForm(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "_", "-")
}

// copyHeaders checks what a mirror changes of the headers of its copy.
func (c *checker) copyHeaders(at api.Path, headers *api.TrafficRoute_Http_Modify_Headers, host api.Path) {
	c.headers(at, headers, host)
	for at, name := range headerNames(at, headers) {
		switch form := headerForm(name); {
		case framingHeaders[form]:
			c.add(at, "is %q, which says where a message ends or what a connection does; a mirror cannot change it: %s", name, framingHint(form))
		case routerHeaders.MatchString(form):
			c.add(at, "is %q, by which Envoy decides how it sends the copy; a mirror cannot change it: use limits", name)
		}
	}
	for i, add := range headers.GetAdd() {
		if command, ok := machineCommand(add.GetValue()); ok {
			c.add(at.Field("add").Index(i).Field("value"), "has %q, which reads the machine of the proxy; the values of a copy's headers come from the request or are written here", command)
		}
	}
}

func framingHint(form string) string {
	if form == "content-length" || form == "transfer-encoding" {
		return "a copy without a body is \"body: omit\""
	}
	return "Envoy sets it for each connection"
}

// framingWarnings looks at what an entry changes of the headers of the primary
// and its client, where Kuma allows everything.
func (c *checker) framingWarnings(at api.Path, modify *api.TrafficRoute_Http_Modify) {
	warn := func(at api.Path, headers *api.TrafficRoute_Http_Modify_Headers, whom string) {
		for at, name := range headerNames(at, headers) {
			if framingHeaders[headerForm(name)] {
				c.add(at, "is %q, which says where a message ends or what a connection does: changing it can break the messages to %s, or let a client smuggle requests", name, whom)
			}
		}
	}
	warn(at.Field("requestHeaders"), modify.GetRequestHeaders(), "the primary and its mirrors")
	warn(at.Field("responseHeaders"), modify.GetResponseHeaders(), "the client")
}

// headerNames yields the names that headers changes, each with its path.
func headerNames(at api.Path, headers *api.TrafficRoute_Http_Modify_Headers) iter.Seq2[api.Path, string] {
	return func(yield func(api.Path, string) bool) {
		for i, add := range headers.GetAdd() {
			if !yield(at.Field("add").Index(i).Field("name"), add.GetName()) {
				return
			}
		}
		for i, remove := range headers.GetRemove() {
			if !yield(at.Field("remove").Index(i).Field("name"), remove.GetName()) {
				return
			}
		}
	}
}
