package mesh

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// maxRings bounds how many rings Loops looks for.
const maxRings = 20

// Loops returns an error for each mirror whose copies the resources lead back to
// the outbound that they come from, over any number of outbounds and inbounds.
// resources are valid, with unique keys. What an entry matches does not count,
// and names other than localhost lead nowhere.
//
// It takes time in proportion to the outbounds, and more only for those that
// something leads to.
func Loops(resources []*api.Resource) api.Violations {
	g := &graph{
		index:     New(resources),
		listeners: map[Address][]*outboundNode{},
		local:     map[localPort][]*outboundNode{},
		inbounds:  map[Address][]application{},
		selectors: map[api.Key]*plugin.RouteSelector{},
		targets:   map[target][]Address{},
	}
	if !g.addNodes() {
		return nil
	}
	for _, n := range g.nodes {
		n.edges = g.edgesOf(n)
	}
	g.components()
	return g.rings()
}

// graph has an edge for each way from an outbound to another.
type graph struct {
	index *Index
	nodes []*outboundNode
	// listeners by the address they can be called at from anywhere.
	listeners map[Address][]*outboundNode
	// local has those that are called at a loopback address, by the machine.
	local map[localPort][]*outboundNode
	// inbounds by address, with where their requests go on.
	inbounds  map[Address][]application
	selectors map[api.Key]*plugin.RouteSelector
	targets   map[target][]Address
}

// outboundNode is an outbound that something may lead to.
type outboundNode struct {
	dataplane *api.Resource
	outbound  *api.Dataplane_Networking_Outbound
	listen    Address
	edges     []edge

	// Of Tarjan's algorithm.
	number, low, component int
	stacked                bool
}

// edge leads to an outbound, by a primary or, with route and path, by a mirror.
type edge struct {
	to    *outboundNode
	route *api.Resource
	path  api.Path
}

// localPort is a port of a machine. Data planes of one address are on one machine.
type localPort struct {
	machine string
	port    uint32
}

type application struct {
	machine string
	at      Address
}

type target struct{ mesh, tags string }

func (n *outboundNode) String() string {
	return fmt.Sprintf("outbound %s of %q", n.listen, n.dataplane.Meta.Name)
}

func isLoopback(ip string) bool {
	a, err := netip.ParseAddr(ip)
	// Who calls an address of all interfaces calls the own machine.
	return err == nil && (a.IsLoopback() || a.IsUnspecified())
}

func isUnspecified(ip string) bool {
	a, err := netip.ParseAddr(ip)
	return err == nil && a.IsUnspecified()
}

// machineOf is the same for all data planes of one machine.
func machineOf(n *api.Dataplane_Networking) string {
	if ip := canonical(n.GetAddress()); !isLoopback(ip) {
		return ip
	}
	return "loopback"
}

// addNodes adds the outbounds whose ports anything leads to, and reports whether
// there are any.
func (g *graph) addNodes() bool {
	ports := map[uint32]bool{}
	for _, m := range g.index.meshes {
		for _, s := range m.services {
			for _, e := range s.external {
				ports[e.Port] = true
			}
			for _, e := range s.endpoints {
				ports[e.Port] = true
			}
		}
		for _, d := range m.dataplanes {
			n := d.Spec.(*api.Dataplane).GetNetworking()
			for _, inbound := range n.GetInbound() {
				ports[ApplicationAddress(n, inbound).Port] = true
			}
		}
	}
	for _, key := range g.index.Dataplanes() {
		d := g.index.Mesh(key.Mesh).Dataplane(key.Name)
		n := d.Spec.(*api.Dataplane).GetNetworking()
		for _, o := range n.GetOutbound() {
			if ports[o.GetPort()] {
				g.addNode(&outboundNode{dataplane: d, outbound: o, listen: OutboundAddress(o)}, n)
			}
		}
	}
	if len(g.nodes) == 0 {
		return false
	}
	for _, m := range g.index.meshes {
		for _, d := range m.dataplanes {
			g.addInbounds(d.Spec.(*api.Dataplane).GetNetworking())
		}
	}
	return true
}

func (g *graph) addNode(node *outboundNode, n *api.Dataplane_Networking) {
	g.nodes = append(g.nodes, node)
	port := node.listen.Port
	if !isLoopback(node.listen.IP) {
		g.listeners[node.listen] = append(g.listeners[node.listen], node)
		return
	}
	at := localPort{machineOf(n), port}
	g.local[at] = append(g.local[at], node)
	if isUnspecified(node.listen.IP) {
		addresses := map[string]bool{canonical(n.GetAddress()): true, canonical(n.GetAdvertisedAddress()): true}
		for ip := range addresses {
			if ip != "" && !isLoopback(ip) {
				g.listeners[Address{ip, port}] = append(g.listeners[Address{ip, port}], node)
			}
		}
	}
}

func (g *graph) addInbounds(n *api.Dataplane_Networking) {
	for _, inbound := range n.GetInbound() {
		at, app := InboundAddress(n, inbound), ApplicationAddress(n, inbound)
		if at == app {
			continue // called itself
		}
		at.IP = cmp.Or(canonical(n.GetAdvertisedAddress()), at.IP)
		g.inbounds[at] = append(g.inbounds[at], application{machineOf(n), app})
	}
}

// edgesOf returns what an outbound sends to.
func (g *graph) edgesOf(n *outboundNode) []edge {
	tags := api.Tags(n.outbound.GetTags())
	route := g.selector(n.dataplane).For(tags.Service())
	if route == nil {
		return g.lead(n, tags, edge{})
	}
	var out []edge
	for at, e := range route.Spec.(*api.TrafficRoute).Entries() {
		if len(e.GetDestination()) > 0 {
			out = append(out, g.lead(n, e.GetDestination(), edge{})...)
		}
		for _, s := range e.GetSplit() {
			if s.GetWeight().GetValue() > 0 {
				out = append(out, g.lead(n, s.GetDestination(), edge{})...)
			}
		}
		for at, m := range api.MirrorsOf(at, e) {
			if xds.Percentage(m) > 0 {
				out = append(out, g.lead(n, m.GetDestination(), edge{route: route, path: at.Field("destination")})...)
			}
		}
	}
	return out
}

func (g *graph) selector(dataplane *api.Resource) *plugin.RouteSelector {
	key := dataplane.Key()
	if g.selectors[key] == nil {
		n := dataplane.Spec.(*api.Dataplane).GetNetworking()
		g.selectors[key] = plugin.NewRouteSelector(SourceTags(n), g.index.Mesh(key.Mesh).Routes())
	}
	return g.selectors[key]
}

// lead returns like with each outbound that the destination leads to.
func (g *graph) lead(from *outboundNode, destination api.Tags, like edge) []edge {
	tags := destination.Resolve(from.outbound.GetTags())
	n := from.dataplane.Spec.(*api.Dataplane).GetNetworking()
	var out []edge
	for _, at := range g.addresses(from.dataplane.Meta.Mesh, tags) {
		for _, to := range g.at(machineOf(n), at) {
			like.to = to
			out = append(out, like)
		}
		for _, app := range g.inbounds[at] {
			for _, to := range g.at(app.machine, app.at) {
				like.to = to
				out = append(out, like)
			}
		}
	}
	return out
}

// addresses are those of the instances with the tags.
func (g *graph) addresses(mesh string, tags api.Tags) []Address {
	key := target{mesh, tags.String()}
	if known, ok := g.targets[key]; ok {
		return known
	}
	var all []Address
	s := g.index.Mesh(mesh).Service(tags.Service())
	for _, e := range s.Endpoints(tags) {
		all = append(all, Address{e.Address, e.Port})
	}
	for _, e := range s.External(tags) {
		if strings.EqualFold(strings.TrimSuffix(e.Host, "."), "localhost") {
			all = append(all, Address{"127.0.0.1", e.Port}, Address{"::1", e.Port})
			continue
		}
		all = append(all, Address{canonical(e.Host), e.Port})
	}
	g.targets[key] = all
	return all
}

// at returns the outbounds that take calls of the machine to the address.
func (g *graph) at(machine string, a Address) []*outboundNode {
	if !isLoopback(a.IP) {
		return g.listeners[a]
	}
	var out []*outboundNode
	for _, n := range g.local[localPort{machine, a.Port}] {
		if n.listen.IP == a.IP || isUnspecified(n.listen.IP) || isUnspecified(a.IP) {
			out = append(out, n)
		}
	}
	return out
}

// components numbers the sets of outbounds that lead to each other, by Tarjan's
// algorithm.
func (g *graph) components() {
	var stack []*outboundNode
	count := 0
	var visit func(n *outboundNode)
	visit = func(n *outboundNode) {
		count++
		n.number, n.low, n.stacked = count, count, true
		stack = append(stack, n)
		for _, e := range n.edges {
			if e.to.number == 0 {
				visit(e.to)
				n.low = min(n.low, e.to.low)
			} else if e.to.stacked {
				n.low = min(n.low, e.to.number)
			}
		}
		if n.low != n.number {
			return
		}
		for {
			last := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			last.stacked, last.component = false, n.number
			if last == n {
				return
			}
		}
	}
	for _, n := range g.nodes {
		if n.number == 0 {
			visit(n)
		}
	}
}

// rings reports the mirrors that are part of a ring, each once.
func (g *graph) rings() api.Violations {
	type mirror struct {
		route api.Key
		path  api.Path
	}
	found := map[mirror]bool{}
	var out api.Violations
	for _, n := range g.nodes {
		for _, e := range n.edges {
			if e.route == nil || e.to.component != n.component || len(found) == maxRings {
				continue
			}
			m := mirror{e.route.Key(), e.path}
			if found[m] {
				continue
			}
			found[m] = true
			out = append(out, e.route.Violation(e.route.SpecPath().Field(string(e.path)),
				"is a loop: copies come back to where they are made, %s; the shadow must be something that does not lead there", ring(n, e.to)))
		}
	}
	return out.Sorted()
}

// ring names the outbounds from one over the next back to it, by the shortest
// way.
func ring(from, next *outboundNode) string {
	before := map[*outboundNode]*outboundNode{next: nil}
	for queue := []*outboundNode{next}; len(queue) > 0; queue = queue[1:] {
		for _, e := range queue[0].edges {
			if _, known := before[e.to]; !known && e.to.component == from.component {
				before[e.to] = queue[0]
				queue = append(queue, e.to)
			}
		}
	}
	way := []string{from.String()}
	for n := from; n != next; n = before[n] {
		way = append(way, before[n].String())
	}
	way = append(way, from.String())
	slices.Reverse(way)
	return strings.Join(way, " -> ")
}
