package load_test

import (
	"fmt"
	"strings"
)

// revisionHeader is in what a TrafficRoute adds to answers: which revision of it
// a proxy has.
const revisionHeader = "x-revision"

// size of a mesh. Each proxy offers a service of its own and calls shared and
// those of the proxies that follow it, round in a circle.
type size struct{ proxies, outbounds int }

func name(i int) string { return fmt.Sprintf("s-%d", i) }

// neighbour is the first service that a proxy calls beside shared.
func (s size) neighbour(i int) string { return name((i + 1) % s.proxies) }

// resources are those of the mesh, with every TrafficRoute in revision 0.
func (s size) resources() []string {
	all := []string{shared(1), everyone(0)}
	for i := range s.proxies {
		var dataplane strings.Builder
		fmt.Fprintf(&dataplane, `type: Dataplane
mesh: default
name: %[1]s
networking:
  address: 127.0.0.1
  inbound: [{port: %[2]d, tags: {kuma.io/service: %[1]s, kuma.io/protocol: http}}]
  outbound:
  - {port: 20000, tags: {kuma.io/service: shared}}
`, name(i), 10000+i)
		for o := 1; o < s.outbounds; o++ {
			fmt.Fprintf(&dataplane, "  - {port: %d, tags: {kuma.io/service: %s}}\n", 20000+o, name((i+o)%s.proxies))
		}
		all = append(all, dataplane.String(), s.route(i, 0))
	}
	return all
}

// shared is what every proxy calls, at a port.
func shared(port int) string {
	return fmt.Sprintf(`type: Dataplane
mesh: default
name: shared
networking:
  address: 127.0.0.1
  inbound: [{port: %d, tags: {kuma.io/service: shared, kuma.io/protocol: http}}]
`, port)
}

// everyone governs what every proxy sends to shared.
func everyone(revision int) string {
	return route("everyone", "*", "shared", revision)
}

// route governs what one proxy sends to its neighbour, and is of no matter to
// any other.
func (s size) route(i, revision int) string {
	return route(name(i), name(i), s.neighbour(i), revision)
}

func route(name, from, to string, revision int) string {
	return fmt.Sprintf(`type: TrafficRoute
mesh: default
name: %s
sources: [{match: {kuma.io/service: %q}}]
destinations: [{match: {kuma.io/service: %s}}]
conf:
  http:
  - match: {path: {prefix: /}}
    modify: {responseHeaders: {add: [{name: %s, value: "%d"}]}}
    destination: {kuma.io/service: %s}
    mirror: {destination: {kuma.io/service: shared}, percentage: 10}
  destination: {kuma.io/service: %s}
`, name, from, to, revisionHeader, revision, to, to)
}

// routePath is where the API has a TrafficRoute.
func routePath(name string) string { return "/meshes/default/traffic-routes/" + name }

// table is the name of the route table of what goes to a service.
func table(service string) string { return "outbound:" + service }
