package mesh_test

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/proto"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
)

var _ = Describe("loops of mirrors", func() {
	const end = "\n---\n"
	// caller is a Dataplane that calls services: "ADDRESS:PORT service".
	caller := func(name, address string, outbounds ...string) string {
		s := fmt.Sprintf("type: Dataplane\nname: %s\nnetworking:\n  address: %s\n  gateway: {tags: {kuma.io/service: %[1]s}}\n  outbound:\n", name, address)
		for _, o := range outbounds {
			at, service, _ := strings.Cut(o, " ")
			i := strings.LastIndex(at, ":")
			s += fmt.Sprintf("  - {address: %q, port: %s, tags: {kuma.io/service: %s}}\n", at[:i], at[i+1:], service)
		}
		return s + end
	}
	external := func(service, address string) string {
		return fmt.Sprintf("type: ExternalService\nname: %s\ntags: {kuma.io/service: %[1]s, kuma.io/protocol: http}\nnetworking: {address: %q}", service, address) + end
	}
	route := func(service, destination, mirror string) string {
		s := fmt.Sprintf("type: TrafficRoute\nname: %s\nsources: [{match: {kuma.io/service: '*'}}]\ndestinations: [{match: {kuma.io/service: %[1]s}}]\n"+
			"conf:\n  destination: {kuma.io/service: %s}\n", service, destination)
		if mirror != "" {
			s += fmt.Sprintf("  mirror: {destination: {kuma.io/service: %s}}\n", mirror)
		}
		return s + end
	}
	server := func(name, networking string) string {
		return fmt.Sprintf("type: Dataplane\nname: %s\nnetworking: {%s}", name, networking) + end
	}
	loops := func(documents string) []string {
		GinkgoHelper()
		resources := parse(strings.TrimSuffix(documents, end))
		Expect(mesh.Validate(resources)).To(BeEmpty())
		var out []string
		for _, v := range mesh.Loops(resources) {
			out = append(out, v.Object+": "+v.Path+": "+v.Message)
		}
		return out
	}
	const isLoop = "is a loop: copies come back to where they are made, "

	It("are named with their ring", func() {
		Expect(loops(caller("web", "192.0.2.1", "127.0.0.1:10001 backend") + external("backend", "192.0.2.9:80") +
			external("shadow", "127.0.0.1:10001") + route("backend", "backend", "shadow"))).To(HaveExactElements(
			`TrafficRoute "backend" in mesh "default": conf.mirror.destination: ` + isLoop +
				`outbound 127.0.0.1:10001 of "web" -> outbound 127.0.0.1:10001 of "web"; the shadow must be something that does not lead there`))
	})

	DescribeTable("are found where the shadow is the own outbound",
		func(dataplane, listen, shadow string, found bool) {
			got := loops(caller("web", dataplane, listen+" backend") + external("backend", "192.0.2.9:80") +
				external("shadow", shadow) + route("backend", "backend", "shadow"))
			if found {
				Expect(got).To(HaveExactElements(ContainSubstring(isLoop)))
			} else {
				Expect(got).To(BeEmpty())
			}
		},
		Entry("by localhost", "192.0.2.1", "127.0.0.1:10001", "localhost:10001", true),
		Entry("by localhost over IPv6", "192.0.2.1", "::1:10001", "localhost:10001", true),
		Entry("by IPv6", "192.0.2.1", "::1:10001", "[::1]:10001", true),
		Entry("by an address of IPv4 in IPv6", "192.0.2.1", "127.0.0.1:10001", "[::ffff:127.0.0.1]:10001", true),
		Entry("by the address of all interfaces, which is called here", "192.0.2.1", "127.0.0.1:10001", "0.0.0.0:10001", true),
		Entry("on all interfaces, by loopback", "192.0.2.1", "0.0.0.0:10001", "127.0.0.7:10001", true),
		Entry("on all interfaces, by the data plane's address", "192.0.2.1", "0.0.0.0:10001", "192.0.2.1:10001", true),
		Entry("on the data plane's address", "192.0.2.1", "192.0.2.1:10001", "192.0.2.1:10001", true),
		Entry("of a data plane on loopback", "127.0.0.1", "127.0.0.1:10001", "127.0.0.1:10001", true),
		Entry("not by another port", "192.0.2.1", "127.0.0.1:10001", "127.0.0.1:10002", false),
		Entry("not by another loopback address", "192.0.2.1", "127.0.0.2:10001", "127.0.0.1:10001", false),
		Entry("not by the data plane's address, where it listens on loopback", "192.0.2.1", "127.0.0.1:10001", "192.0.2.1:10001", false),
		Entry("not by an address of another machine", "192.0.2.1", "0.0.0.0:10001", "192.0.2.2:10001", false),
	)

	It("are found over other data planes, by primaries too, and both mirrors of a ring are named", func() {
		got := loops(caller("a", "192.0.2.1", "0.0.0.0:10001 x") + caller("b", "192.0.2.2", "0.0.0.0:10002 y") + caller("c", "192.0.2.3", "0.0.0.0:10003 z") +
			external("end", "192.0.2.9:80") + external("b", "192.0.2.2:10002") + external("c", "192.0.2.3:10003") + external("a", "192.0.2.1:10001") +
			external("x", "192.0.2.9:81") + external("y", "192.0.2.9:82") + external("z", "192.0.2.9:83") +
			route("x", "end", "b") + route("y", "c", "") + route("z", "end", "a"))
		Expect(got).To(HaveExactElements(
			ContainSubstring(`"x" in mesh "default": conf.mirror.destination: `+isLoop+
				`outbound 0.0.0.0:10001 of "a" -> outbound 0.0.0.0:10002 of "b" -> outbound 0.0.0.0:10003 of "c" -> outbound 0.0.0.0:10001 of "a"; `),
			ContainSubstring(`"z" in mesh "default": conf.mirror.destination: `+isLoop+
				`outbound 0.0.0.0:10003 of "c" -> outbound 0.0.0.0:10001 of "a" -> outbound 0.0.0.0:10002 of "b" -> outbound 0.0.0.0:10003 of "c"; `)))
	})

	It("are found over an inbound whose application is an outbound of the same machine", func() {
		Expect(loops(caller("web", "192.0.2.1", "127.0.0.1:10001 backend") + external("backend", "192.0.2.9:80") +
			server("front", "address: 192.0.2.1, inbound: [{port: 8080, servicePort: 10001, serviceAddress: 127.0.0.1, tags: {kuma.io/service: shadow, kuma.io/protocol: http}}]") +
			route("backend", "backend", "shadow"))).To(HaveExactElements(ContainSubstring(isLoop)))
	})

	DescribeTable("are not there", func(documents ...string) {
		Expect(loops(strings.Join(documents, ""))).To(BeEmpty())
	},
		Entry("where the outbound that a shadow is does not lead back",
			caller("web", "192.0.2.1", "127.0.0.1:10001 backend", "127.0.0.1:10002 other"), external("backend", "192.0.2.9:80"), external("other", "192.0.2.9:81"),
			external("shadow", "127.0.0.1:10002"), route("backend", "backend", "shadow")),
		Entry("where the shadow is on another machine's loopback",
			caller("web", "192.0.2.1", "127.0.0.1:10001 backend"), caller("other", "192.0.2.2", "127.0.0.1:10002 backend2"),
			external("backend", "192.0.2.9:80"), external("backend2", "192.0.2.9:81"), external("shadow", "127.0.0.1:10002"), external("again", "192.0.2.1:10001"),
			route("backend", "backend", "shadow"), route("backend2", "backend2", "again")),
		Entry("where the mirror is off",
			caller("web", "192.0.2.1", "127.0.0.1:10001 backend"), external("backend", "192.0.2.9:80"), external("shadow", "127.0.0.1:10001"),
			strings.Replace(route("backend", "backend", "shadow"), "mirror: {", "mirror: {percentage: 0, ", 1)),
		Entry("where no copy is part of the ring",
			caller("web", "192.0.2.1", "127.0.0.1:10001 backend"), external("backend", "127.0.0.1:10001"), external("shadow", "192.0.2.9:80"),
			route("backend", "backend", "shadow")),
	)

	It("are looked for in a short time in a mesh of 1000 data planes with 100 outbounds each", func() {
		var b strings.Builder
		outbounds := make([]string, 100)
		for i := range outbounds {
			outbounds[i] = fmt.Sprintf("127.0.0.1:%d s%d", 10001+i, i)
			b.WriteString(external(fmt.Sprintf("s%d", i), "192.0.2.9:10001"))
			b.WriteString(route(fmt.Sprintf("s%d", i), fmt.Sprintf("s%d", i), "shadow"))
		}
		b.WriteString(external("shadow", "127.0.0.1:10050"))
		resources := parse(strings.TrimSuffix(b.String(), end))
		dataplane := parse(strings.TrimSuffix(caller("d", "192.0.2.1", outbounds...), end))[0]
		for i := range 1000 {
			d := *dataplane
			d.Meta.Name = fmt.Sprintf("d%d", i)
			d.Spec = proto.CloneOf(dataplane.Spec.(*api.Dataplane))
			d.Spec.(*api.Dataplane).Networking.Address = fmt.Sprintf("10.0.%d.%d", i/250, i%250+1)
			resources = append(resources, &d)
		}
		begun := time.Now()
		got := mesh.Loops(resources)
		took := time.Since(begun)
		Expect(got).To(HaveExactElements(HaveField("Object", `TrafficRoute "s49" in mesh "default"`)))
		AddReportEntry("1000 × 100", took)
		Expect(took).To(BeNumerically("<", 10*time.Second), "a quadratic search would take minutes")
	})
})
