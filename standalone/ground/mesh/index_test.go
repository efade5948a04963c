package mesh_test

import (
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
)

var _ = Describe("an index", func() {
	backend := func(tags ...string) api.Tags {
		t := api.Tags{api.ServiceTag: "backend"}
		for i := 0; i < len(tags); i += 2 {
			t[tags[i]] = tags[i+1]
		}
		return t
	}
	service := func(documents, name string) *mesh.Service {
		GinkgoHelper()
		return mesh.New(parse(documents)).Mesh("default").Service(name)
	}
	addresses := func(endpoints []mesh.Endpoint) []string {
		var out []string
		for _, e := range endpoints {
			out = append(out, mesh.Address{IP: e.Address, Port: e.Port}.String())
		}
		return out
	}

	It("has the instances of a service, ordered by address and port, each where others reach it", func() {
		s := service(`
type: Dataplane
name: a
networking:
  address: 192.0.2.3
  inbound:
  - {port: 80, tags: {kuma.io/service: backend}}
  - {port: 81, address: 192.0.2.1, tags: {kuma.io/service: backend, version: v2}}
---
type: Dataplane
name: b
networking:
  address: 10.0.0.1
  advertisedAddress: 192.0.2.2
  inbound: [{port: 80, tags: {kuma.io/service: backend, version: v2}}]
`, "backend")
		Expect(addresses(s.Endpoints(backend()))).To(Equal([]string{"192.0.2.1:81", "192.0.2.2:80", "192.0.2.3:80"}))
		Expect(addresses(s.Endpoints(backend("version", "v2")))).To(Equal([]string{"192.0.2.1:81", "192.0.2.2:80"}))
		Expect(s.Endpoints(backend("version", "v3"))).To(BeEmpty())
	})

	It("makes one endpoint of inbounds on one address and port, with their weights added up", func() {
		s := service(`
type: Dataplane
name: a
networking:
  address: 192.0.2.1
  inbound:
  - {port: 80, address: 127.0.0.1, tags: {kuma.io/service: backend, version: v1, team: x}}
  - {port: 80, address: 127.0.0.1, tags: {kuma.io/service: backend, version: v2, team: x}}
`, "backend")
		Expect(s.Endpoints(backend())).To(Equal([]mesh.Endpoint{
			{Address: "127.0.0.1", Port: 80, Weight: 2, Tags: backend("team", "x")},
		}))
		Expect(s.Endpoints(backend("version", "v1"))).To(Equal([]mesh.Endpoint{
			{Address: "127.0.0.1", Port: 80, Weight: 1, Tags: backend("team", "x", "version", "v1")},
		}))
	})

	It("knows an address in all its spellings", func() {
		s := service(`
type: Dataplane
name: a
networking:
  address: "::0001"
  inbound:
  - {port: 80, tags: {kuma.io/service: backend}}
  - {port: 80, address: "0:0:0:0:0:0:0:1", tags: {kuma.io/service: backend}}
---
type: Dataplane
name: b
networking:
  address: 192.0.2.1
  advertisedAddress: "::1"
  inbound:
  - {port: 80, tags: {kuma.io/service: backend}}
---
type: Dataplane
name: c
networking:
  address: "::ffff:192.0.2.1"
  inbound:
  - {port: 80, tags: {kuma.io/service: backend}}
`, "backend")
		Expect(s.Endpoints(backend())).To(HaveExactElements(
			mesh.Endpoint{Address: "192.0.2.1", Port: 80, Weight: 1, Tags: backend()},
			mesh.Endpoint{Address: "::1", Port: 80, Weight: 3, Tags: backend()},
		))
	})

	DescribeTable("leaves out instances that are not ready",
		func(field string) {
			s := service(`
type: Dataplane
name: a
networking:
  address: 192.0.2.1
  inbound:
  - {port: 80, tags: {kuma.io/service: backend}}
  - {port: 81, tags: {kuma.io/service: backend}, `+field+`}
`, "backend")
			Expect(addresses(s.Endpoints(backend()))).To(Equal([]string{"192.0.2.1:80"}))
		},
		Entry("by their health", "health: {ready: false}"),
		Entry("by their empty health, which is not ready as in Kuma", "health: {}"),
		Entry("by the state NotReady", "state: NotReady"),
		Entry("by the state Ignored", "state: Ignored"),
	)

	DescribeTable("knows the protocol of a service",
		func(inbounds string, want api.Protocol) {
			s := service(`
type: Dataplane
name: a
networking:
  address: 192.0.2.1
  inbound: [`+inbounds+`]
`, "backend")
			Expect(s.Protocol()).To(Equal(want))
		},
		Entry("without a tag", `{port: 1, tags: {kuma.io/service: backend}}`, api.ProtocolTCP),
		Entry("of one inbound", `{port: 1, tags: {kuma.io/service: backend, kuma.io/protocol: grpc}}`, api.ProtocolGRPC),
		Entry("of several, as what all can be taken for", `
			{port: 1, tags: {kuma.io/service: backend, kuma.io/protocol: grpc}},
			{port: 2, tags: {kuma.io/service: backend, kuma.io/protocol: http}}`, api.ProtocolHTTP),
		Entry("of instances that are not ready", `
			{port: 1, tags: {kuma.io/service: backend, kuma.io/protocol: http}, state: NotReady}`, api.ProtocolHTTP),
		Entry("but not of ignored ones", `
			{port: 1, tags: {kuma.io/service: backend, kuma.io/protocol: http}},
			{port: 2, tags: {kuma.io/service: backend, kuma.io/protocol: tcp}, state: Ignored}`, api.ProtocolHTTP),
	)

	It("takes a service nobody serves for TCP without instances", func() {
		s := service("{type: Mesh, name: m}", "backend")
		Expect(s).To(BeNil())
		Expect(s.Protocol()).To(Equal(api.ProtocolTCP))
		Expect(s.IsExternal()).To(BeFalse())
		Expect(s.Endpoints(backend())).To(BeEmpty())
		Expect(s.External(backend())).To(BeEmpty())
	})

	It("has ExternalServices by name, and lets them win over inbounds as in Kuma", func() {
		s := service(`
type: Dataplane
name: c
networking:
  address: 192.0.2.1
  inbound: [{port: 80, tags: {kuma.io/service: backend, kuma.io/protocol: tcp}}]
---
type: ExternalService
name: b
tags: {kuma.io/service: backend, kuma.io/protocol: http}
networking: {address: "b.example:80"}
---
type: ExternalService
name: a
tags: {kuma.io/service: backend, kuma.io/protocol: http2}
networking: {address: "a.example:443", tls: {enabled: true}}
`, "backend")
		Expect(s.IsExternal()).To(BeTrue())
		Expect(s.Protocol()).To(Equal(api.ProtocolHTTP))
		Expect(s.Endpoints(backend())).To(BeEmpty())
		all := s.External(backend())
		Expect(all).To(HaveLen(2))
		Expect(all[0].Host).To(Equal("a.example"))
		Expect(all[0].Port).To(BeEquivalentTo(443))
		Expect(all[0].Tags).To(HaveKeyWithValue(api.ExternalServiceNameTag, "a"))
		Expect(all[0].TLS).NotTo(BeNil())
		Expect(all[1].Tags).NotTo(HaveKey(api.ExternalServiceNameTag))
		Expect(all[1].TLS).To(BeNil())
		Expect(s.External(backend(api.ExternalServiceNameTag, "a"))).To(HaveLen(1))
	})

	It("keeps meshes apart and does not care for the order of resources", func() {
		resources := parse(`
type: Dataplane
mesh: two
name: b
networking: {address: 192.0.2.1, inbound: [{port: 80, tags: {kuma.io/service: backend}}]}
---
type: Dataplane
mesh: two
name: a
networking: {address: 192.0.2.2, inbound: [{port: 80, tags: {kuma.io/service: backend}}]}
---
type: Dataplane
mesh: one
name: z
networking: {address: 192.0.2.3, inbound: [{port: 80, tags: {kuma.io/service: other}}]}
---
type: TrafficRoute
mesh: two
name: y
---
type: TrafficRoute
mesh: two
name: x
`)
		forward := mesh.New(resources)
		slices.Reverse(resources)
		Expect(mesh.New(resources)).To(Equal(forward))

		Expect(forward.Dataplanes()).To(Equal([]api.Key{
			{Kind: api.KindDataplane, Mesh: "one", Name: "z"},
			{Kind: api.KindDataplane, Mesh: "two", Name: "a"},
			{Kind: api.KindDataplane, Mesh: "two", Name: "b"},
		}))
		Expect(forward.Mesh("one").Service("backend")).To(BeNil())
		Expect(forward.Mesh("one").Routes()).To(BeEmpty())
		Expect(forward.Mesh("three").Dataplane("a")).To(BeNil())
		var names []string
		for _, r := range forward.Mesh("two").Routes() {
			names = append(names, r.Meta.Name)
		}
		Expect(names).To(Equal([]string{"x", "y"}))
	})

	It("calls Envoys as Kuma does", func() {
		Expect(mesh.NodeID(api.Key{Kind: api.KindDataplane, Mesh: "m", Name: "a.b"})).To(Equal("m.a.b"))
		n := parse(`
type: Dataplane
name: a
networking: {address: 192.0.2.1, gateway: {tags: {kuma.io/service: edge}}}
`)[0].Spec.(*api.Dataplane).GetNetworking()
		Expect(mesh.NodeCluster(n)).To(Equal("edge"))
	})
})
