package mesh_test

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
)

var _ = Describe("validation", func() {
	validate := func(documents string) []string {
		GinkgoHelper()
		var out []string
		for _, v := range mesh.Validate(parse(documents)) {
			Expect(v.Source).To(HavePrefix("input.yaml"))
			Expect(v.Object).NotTo(BeEmpty())
			out = append(out, v.Path+": "+v.Message)
		}
		return out
	}
	const valid = `
type: Dataplane
name: web
networking:
  address: 192.0.2.1
  advertisedAddress: 198.51.100.1
  inbound:
  - {port: 80, servicePort: 8080, serviceAddress: 127.0.0.1, tags: {kuma.io/service: web, kuma.io/protocol: http}}
  outbound:
  - {port: 10001, tags: {kuma.io/service: backend}}
  - {port: 10001, address: 127.0.0.2, tags: {kuma.io/service: backend}}
  - {port: 10002, address: 0.0.0.0, tags: {kuma.io/service: backend}}
  admin: {port: 9901}
`

	It("finds nothing wrong with a valid Dataplane", func() {
		Expect(validate(valid)).To(BeEmpty())
	})

	It("lets an inbound listen on all interfaces where others call an advertised address", func() {
		everywhere := strings.Replace(valid, "{port: 80, ", "{port: 80, address: 0.0.0.0, ", 1)
		Expect(validate(everywhere)).To(BeEmpty())
		Expect(validate(strings.Replace(everywhere, "  advertisedAddress: 198.51.100.1\n", "", 1))).To(HaveExactElements(
			HavePrefix("networking.inbound[0].address: 0.0.0.0 is no address that others can call")))
	})

	DescribeTable("of a Dataplane names the field and what is allowed",
		func(from, to string, want ...string) {
			Expect(valid).To(ContainSubstring(from))
			got := validate(strings.Replace(valid, from, to, 1))
			Expect(got).To(HaveLen(len(want)))
			for i := range want {
				Expect(got[i]).To(ContainSubstring(want[i]))
			}
		},
		Entry("no address", "  address: 192.0.2.1\n", "",
			`networking.address: is missing`),
		Entry("a host name", "192.0.2.1", "web.example",
			`networking.address: "web.example" is not an IP address; a service with a host name is an ExternalService`),
		Entry("an address of all interfaces", "address: 192.0.2.1", "address: 0.0.0.0",
			"networking.address: 0.0.0.0 is no address that others can call"),
		Entry("advertised host name", "198.51.100.1", "web.example", `networking.advertisedAddress: "web.example" is not an IP address`),
		Entry("application's host name", "127.0.0.1", "localhost", `networking.inbound[0].serviceAddress: "localhost" is not an IP address`),
		Entry("outbound's host name", "127.0.0.2", "localhost", `networking.outbound[1].address: "localhost" is not an IP address`),
		Entry("port 0", "port: 80,", "port: 0,", "networking.inbound[0].port: 0 is not a port; it must be 1 to 65535"),
		Entry("a port too high", "port: 10002", "port: 65536", "networking.outbound[2].port: 65536 is not a port"),
		Entry("an application's port too high", "8080", "70000", "networking.inbound[0].servicePort: 70000 is not a port"),
		Entry("an admin port too high", "9901", "70000", "networking.admin.port: 70000 is not a port"),
		Entry("no service", "kuma.io/service: web, ", "", `networking.inbound[0].tags: the tag "kuma.io/service" is required`),
		Entry("a wildcard to call", "{kuma.io/service: backend}", "{kuma.io/service: '*'}",
			`networking.outbound[0].tags["kuma.io/service"]: is "*"`),
		Entry("an unknown protocol", "kuma.io/protocol: http", "kuma.io/protocol: https",
			`networking.inbound[0].tags["kuma.io/protocol"]: "https" is not a protocol; it is one of http, http2, grpc, kafka and tcp`),
		Entry("a limit of none", "port: 10002,", "port: 10002, limits: {maxConnections: 0},",
			"networking.outbound[2].limits.maxConnections: is 0; must be 1 or more, or absent for no limit"),
		Entry("two outbounds on one port", "address: 127.0.0.2", "address: 127.0.0.1",
			"networking.outbound[1].port: 127.0.0.1:10001 is taken by networking.outbound[0] already"),
		Entry("an outbound on the admin's port", "port: 10001, tags", "port: 9901, tags",
			"networking.outbound[0].port: 127.0.0.1:9901 is taken by networking.admin already"),
		Entry("an outbound on an inbound", "port: 10001, address: 127.0.0.2", "port: 80, address: 192.0.2.1",
			"networking.outbound[1].port: 192.0.2.1:80 is taken by networking.inbound[0] already"),
		Entry("an application on an outbound", "servicePort: 8080", "servicePort: 10001",
			"networking.inbound[0].servicePort: the application cannot listen on 127.0.0.1:10001, which is taken by networking.outbound[0]"),
		Entry("neither inbound nor gateway",
			"  inbound:\n  - {port: 80, servicePort: 8080, serviceAddress: 127.0.0.1, tags: {kuma.io/service: web, kuma.io/protocol: http}}\n", "",
			"networking: has neither inbound nor gateway"),
		Entry("both inbound and gateway", "  admin:", "  gateway: {tags: {kuma.io/service: web}}\n  admin:",
			"networking: has both inbound and gateway"),
		Entry("a name that Kuma would not take", "name: web", "name: Web", `name: "Web" is no name; it is 1 to 253 of a-z 0-9 . - _`),
	)

	It("knows an address in all its spellings", func() {
		Expect(validate(`
type: Dataplane
name: web
networking:
  address: "::1"
  inbound:
  - {port: 80, address: "::01", servicePort: 81, tags: {kuma.io/service: a}}
  - {port: 81, address: "0:0:0:0:0:0:0:1", tags: {kuma.io/service: b}}
  - {port: 82, serviceAddress: "::0:1", tags: {kuma.io/service: c}}
  outbound:
  - {port: 10001, address: "::2", tags: {kuma.io/service: a}}
  - {port: 10001, address: "0:0:0:0:0:0:0:2", tags: {kuma.io/service: b}}
  - {port: 9901, address: "::ffff:127.0.0.1", tags: {kuma.io/service: b}}
  admin: {port: 9901}
`)).To(HaveExactElements(
			"networking.inbound[0].servicePort: the application cannot listen on [::1]:81, which is taken by networking.inbound[1]",
			"networking.outbound[1].port: [::2]:10001 is taken by networking.outbound[0] already",
			"networking.outbound[2].port: 127.0.0.1:9901 is taken by networking.admin already",
		))
	})

	It("gives everything that is wrong at once, in order", func() {
		Expect(validate(`
type: Dataplane
name: web
networking:
  address: nowhere
  inbound: [{port: 0}]
`)).To(HaveExactElements(
			HavePrefix("networking.address: "),
			HavePrefix("networking.inbound[0].port: "),
			HavePrefix("networking.inbound[0].tags: "),
		))
	})

	It("says where the field stands in the form that was written", func() {
		Expect(validate(`
apiVersion: kuma.io/v1alpha1
kind: Dataplane
mesh: default
metadata: {name: web}
spec: {networking: {address: nowhere, gateway: {tags: {kuma.io/service: web}}}}
`)).To(HaveExactElements(HavePrefix("spec.networking.address: ")))
	})

	It("requires an address of a Dataplane, and of an ExternalService", func() {
		Expect(validate("{type: Dataplane, name: a}\n---\n{type: ExternalService, name: a, tags: {kuma.io/service: a}}")).To(Equal(
			[]string{"networking: is missing", "networking: is missing"}))
	})

	const external = `
type: ExternalService
name: shadow
tags: {kuma.io/service: shadow, kuma.io/protocol: http}
networking:
  address: shadow.example:443
  tls:
    enabled: true
    serverName: shadow.example
    caCert: {file: /ca.pem}
    clientCert: {file: /cert.pem}
    clientKey: {file: /key.pem}
`
	It("finds nothing wrong with valid ExternalServices", func() {
		Expect(validate(external)).To(BeEmpty())
		Expect(validate(strings.Replace(external, "shadow.example:443", `"[2001:db8::1]:443"`, 1))).To(BeEmpty())
	})

	DescribeTable("of an ExternalService names the field and what is allowed",
		func(from, to, want string) {
			Expect(external).To(ContainSubstring(from))
			Expect(validate(strings.Replace(external, from, to, 1))).To(HaveExactElements(ContainSubstring(want)))
		},
		Entry("no port", "shadow.example:443", "shadow.example", `networking.address: "shadow.example" is not host:port`),
		Entry("a port that is none", "example:443", "example:x", `networking.address: "x" is not a port; it must be 1 to 65535`),
		Entry("port 0", "example:443", "example:0", `networking.address: "0" is not a port`),
		Entry("a host that is none", "shadow.example:443", "http://shadow:443", "networking.address: "),
		Entry("an empty host", "shadow.example:443", `":443"`, `networking.address: "" is neither a host name nor an IP address`),
		Entry("no service", "kuma.io/service: shadow, ", "", `tags: the tag "kuma.io/service" is required`),
		Entry("an unknown protocol", "protocol: http", "protocol: https", `tags["kuma.io/protocol"]: "https" is not a protocol`),
		Entry("an empty server name", "serverName: shadow.example", `serverName: ""`, `networking.tls.serverName: "" is not a host name`),
		Entry("an address as server name", "serverName: shadow.example", "serverName: 192.0.2.1", "networking.tls.serverName: is an IP address"),
		Entry("a CA without data", `{file: /ca.pem}`, "{}", "networking.tls.caCert: has no data; give inline, inlineString or file"),
		Entry("an empty CA", `{file: /ca.pem}`, `{inlineString: ""}`, "networking.tls.caCert.inlineString: is empty"),
		Entry("an empty key", "{file: /key.pem}", `{inline: ""}`, "networking.tls.clientKey.inline: is empty"),
		Entry("no file", "/cert.pem", `""`, "networking.tls.clientCert.file: is empty"),
		Entry("a certificate without key", "    clientKey: {file: /key.pem}\n", "", "networking.tls.clientKey: is missing; clientCert needs it"),
		Entry("a key without certificate", "    clientCert: {file: /cert.pem}\n", "", "networking.tls.clientCert: is missing; clientKey needs it"),
	)

	It("validates TrafficRoutes, too", func() {
		Expect(validate("{type: TrafficRoute, name: a}")).To(ContainElement(HavePrefix("sources: ")))
	})

	It("finds a resource that is there twice, and says where else", func() {
		got := mesh.Validate(parse(external + "---" + external))
		Expect(got).To(Equal(api.Violations{{
			Source:  "input.yaml#2",
			Object:  `ExternalService "shadow" in mesh "default"`,
			Message: "is already in input.yaml#1; rename or remove one of the two",
		}}))
	})

	It("wants a Mesh for every mesh but the default one", func() {
		inMesh := strings.Replace(external, "name: shadow", "name: shadow\nmesh: demo", 1)
		Expect(validate(inMesh)).To(HaveExactElements(ContainSubstring(
			`mesh: there is no mesh "demo": add a document with type: Mesh and name: demo, or use one of "default"`)))
		Expect(validate(inMesh + "---\n{type: Mesh, name: demo}")).To(BeEmpty())
	})

	It("takes no mesh that could not be told from a data plane's name", func() {
		Expect(validate("{type: Mesh, name: a.b}")).To(HaveExactElements(HavePrefix(`name: "a.b" is no name of a mesh`)))
	})
})
