package static_test

import (
	"encoding/json"
	"fmt"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/static"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// everything has one of each thing that makes another shape of configuration.
const everything = `
type: Dataplane
name: client
networking:
  address: 127.0.0.1
  inbound:
  - {port: 8080, servicePort: 3000, tags: {kuma.io/service: client, kuma.io/protocol: http}}
  - {port: 8081, servicePort: 3001, tags: {kuma.io/service: client-grpc, kuma.io/protocol: grpc}}
  - {port: 8082, servicePort: 3002, tags: {kuma.io/service: client-tcp, "on": "yes", "1": "2"}}
  outbound:
  - {port: 10001, tags: {kuma.io/service: backend}}
  - {port: 10002, tags: {kuma.io/service: tcp}}
  - {port: 10003, tags: {kuma.io/service: nobody}}
  - {port: 10004, tags: {kuma.io/service: names}}
  - {port: 10005, address: '::1', tags: {kuma.io/service: addresses}}
  admin: {port: 9902}
---
type: Dataplane
name: backend
networking:
  address: 192.0.2.1
  inbound:
  - {port: 80, tags: {kuma.io/service: backend, kuma.io/protocol: http}}
  - {port: 81, tags: {kuma.io/service: tcp}}
---
type: ExternalService
name: name
tags: {kuma.io/service: names, kuma.io/protocol: http}
networking: {address: 'a.example:443', tls: {enabled: true}}
---
type: ExternalService
name: name-and-address
tags: {kuma.io/service: names, kuma.io/protocol: http2}
networking: {address: '192.0.2.2:443', tls: {enabled: true, skipHostnameVerification: true}}
---
type: ExternalService
name: address
tags: {kuma.io/service: addresses, kuma.io/protocol: grpc}
networking: {address: '[2001:db8::1]:80'}
---
type: TrafficRoute
name: all
sources: [{match: {kuma.io/service: '*'}}]
destinations: [{match: {kuma.io/service: '*'}}]
conf:
  http:
  - match: {path: {prefix: /}, headers: {x: {exact: "no"}, y: {prefix: "\u007f\u0085\u009f \u2028\ufeff\ufffe\uffff"}}}
    destination: {kuma.io/service: '*'}
    mirror: {destination: {kuma.io/service: names}, percentage: 50}
  destination: {kuma.io/service: '*'}
  loadBalancer: {ringHash: {hashFunction: XX_HASH, maxRingSize: 2048}}
`

func generated(ctx SpecContext, documents string) (*xds.ResourceSet, *api.Resource) {
	GinkgoHelper()
	resources, err := api.Parse("input.yaml", []byte(documents))
	Expect(err).NotTo(HaveOccurred())
	Expect(mesh.Validate(resources)).To(BeEmpty())
	index := mesh.New(resources)
	key := api.Key{Kind: api.KindDataplane, Mesh: "default", Name: "client"}
	rs, _, err := generate.Proxy(ctx, index, key)
	Expect(err).NotTo(HaveOccurred())
	return rs, index.Mesh("default").Dataplane("client")
}

func bootstrap(ctx SpecContext, documents string) *bootstrapv3.Bootstrap {
	GinkgoHelper()
	b, err := static.Bootstrap(generated(ctx, documents))
	Expect(err).NotTo(HaveOccurred())
	return b
}

var _ = Describe("a static configuration", func() {
	It("needs no host", func(ctx SpecContext) {
		b := bootstrap(ctx, everything)
		Expect(b.GetDynamicResources()).To(BeNil())
		Expect(b.GetStatsSinks()).To(BeEmpty())
		Expect(protojson.Format(b)).NotTo(ContainSubstring("ads"))
		Expect(protojson.Format(b)).NotTo(ContainSubstring("rds"))
		for _, c := range b.GetStaticResources().GetClusters() {
			Expect(c.GetType()).NotTo(Equal(clusterv3.Cluster_EDS))
			Expect(c.GetLoadAssignment()).NotTo(BeNil())
		}
	})

	It("has the route tables in the listeners, and lets Envoy check them", func(ctx SpecContext) {
		for _, l := range bootstrap(ctx, everything).GetStaticResources().GetListeners() {
			if l.GetName() != "outbound:127.0.0.1:10001" {
				continue
			}
			manager := &hcmv3.HttpConnectionManager{}
			Expect(l.GetFilterChains()[0].GetFilters()[0].GetTypedConfig().UnmarshalTo(manager)).To(Succeed())
			Expect(manager.GetRouteConfig().GetName()).To(Equal("outbound:backend"))
			Expect(manager.GetRouteConfig().GetValidateClusters()).To(BeNil())
			Expect(manager.GetRouteConfig().GetVirtualHosts()[0].GetRoutes()[1].GetRoute().GetRequestMirrorPolicies()).To(HaveLen(1))
			return
		}
		Fail("there is no listener of the outbound")
	})

	It("is called as the data plane, and has its admin API on loopback alone", func(ctx SpecContext) {
		b := bootstrap(ctx, everything)
		Expect(b.GetNode().GetId()).To(Equal("default.client"))
		Expect(b.GetNode().GetCluster()).To(Equal("client"))
		Expect(b.GetAdmin().GetAddress().GetSocketAddress().GetAddress()).To(Equal("127.0.0.1"))
		Expect(b.GetAdmin().GetAddress().GetSocketAddress().GetPortValue()).To(BeEquivalentTo(9902))
	})

	It("has no admin API where the data plane has none", func(ctx SpecContext) {
		b := bootstrap(ctx, "type: Dataplane\nname: client\nnetworking: {address: 127.0.0.1, gateway: {tags: {kuma.io/service: a}}}")
		Expect(b.GetAdmin()).To(BeNil())
	})

	It("leaves what it is made of as it was", func(ctx SpecContext) {
		rs, dataplane := generated(ctx, everything)
		again, _ := generated(ctx, everything)
		_, err := static.Bootstrap(rs, dataplane)
		Expect(err).NotTo(HaveOccurred())
		for i, r := range rs.All() {
			Expect(proto.Equal(r.Resource, again.All()[i].Resource)).To(BeTrue(), r.Name)
		}
	})

	It("says the same in YAML and JSON, and the same every time", func(ctx SpecContext) {
		b := bootstrap(ctx, everything)
		asJSON, err := static.JSON(b)
		Expect(err).NotTo(HaveOccurred())
		asYAML, err := static.YAML(b)
		Expect(err).NotTo(HaveOccurred())

		fromYAML, err := yaml.YAMLToJSON(asYAML)
		Expect(err).NotTo(HaveOccurred())
		Expect(fromYAML).To(MatchJSON(asJSON))
		read := &bootstrapv3.Bootstrap{}
		Expect(protojson.Unmarshal(asJSON, read)).To(Succeed())
		Expect(proto.Equal(read, b)).To(BeTrue())
		Expect(json.Valid(asJSON)).To(BeTrue())

		for range 5 {
			again := bootstrap(ctx, everything)
			Expect(static.JSON(again)).To(Equal(asJSON))
			Expect(static.YAML(again)).To(Equal(asYAML))
		}
		Expect(string(asYAML)).To(MatchRegexp(`(?m)^    - name: outbound:127.0.0.1:10001\n      address:`), "in Envoy's order, in blocks")
	})

	It("keeps every character in YAML", func() {
		texts := []string{"a\nb\n", " a\n\n b", "\n a\n\n"}
		for _, r := range "\t\r\u007f\u0080\u0085\u009f\u00a0ü\u2028\u2029\ufeff\ufffd\ufffe\uffff😀" {
			texts = append(texts, string(r), fmt.Sprintf("a%c b %c\n %c", r, r, r))
		}
		for _, text := range texts {
			asYAML, err := static.YAML(&bootstrapv3.Bootstrap{Node: &corev3.Node{Id: text}})
			Expect(err).NotTo(HaveOccurred(), "%q", text)
			asJSON, err := yaml.YAMLToJSON(asYAML)
			Expect(err).NotTo(HaveOccurred(), "%q", asYAML)
			read := &bootstrapv3.Bootstrap{}
			Expect(protojson.Unmarshal(asJSON, read)).To(Succeed())
			Expect(read.GetNode().GetId()).To(Equal(text), "%q", asYAML)
		}
	})

	It("is refused by its maker where a route table is missing", func(ctx SpecContext) {
		rs, dataplane := generated(ctx, everything)
		for _, t := range rs.Routes() {
			rs.Remove(t, t.GetName())
		}
		_, err := static.Bootstrap(rs, dataplane)
		Expect(err).To(MatchError(ContainSubstring("there is no route table")))
	})

	for _, version := range envoytest.Versions() {
		Describe("on Envoy "+version, func() {
			It("is accepted with one of everything, as YAML and as JSON", func(ctx SpecContext) {
				b := bootstrap(ctx, everything)
				asYAML, err := static.YAML(b)
				Expect(err).NotTo(HaveOccurred())
				Expect(envoytest.Validate(ctx, envoytest.Binary(version), asYAML)).To(Succeed())
				asJSON, err := static.JSON(b)
				Expect(err).NotTo(HaveOccurred())
				Expect(envoytest.Validate(ctx, envoytest.Binary(version), asJSON)).To(Succeed())
			})

			It("is refused where a mirror's cluster is missing", func(ctx SpecContext) {
				rs, dataplane := generated(ctx, everything)
				for _, r := range rs.All() {
					if r.Origin == xds.OriginMirror {
						rs.Remove(r.Resource, r.Name)
					}
				}
				b, err := static.Bootstrap(rs, dataplane)
				Expect(err).NotTo(HaveOccurred())
				Expect(envoytest.ValidateBootstrap(ctx, envoytest.Binary(version), b)).To(MatchError(ContainSubstring("unknown")))
			})
		})
	}
})
