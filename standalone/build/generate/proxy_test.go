package generate_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/proto"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	envoytest "github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

var clientKey = api.Key{Kind: api.KindDataplane, Mesh: "default", Name: "client"}

// client is a data plane with outbounds to these tags, on ports from 10001.
func client(outbounds ...string) string {
	s := "type: Dataplane\nname: client\nnetworking:\n  address: 127.0.0.1\n  gateway: {tags: {kuma.io/service: client}}\n  outbound:\n"
	for i, tags := range outbounds {
		s += fmt.Sprintf("  - {port: %d, tags: {%s}}\n", 10001+i, tags)
	}
	return s
}

// backend is a data plane that serves these tags.
func backend(name, address, tags string) string {
	return fmt.Sprintf("---\ntype: Dataplane\nname: %s\nnetworking: {address: %s, inbound: [{port: 80, tags: {%s}}]}\n", name, address, tags)
}

// governed is a TrafficRoute of the client for the service.
func governed(service, conf string) string {
	return "---\ntype: TrafficRoute\nname: to-" + service + "\nsources: [{match: {kuma.io/service: client}}]\n" +
		"destinations: [{match: {kuma.io/service: " + service + "}}]\nconf:\n" + conf
}

func parse(documents string) []*api.Resource {
	GinkgoHelper()
	resources, err := api.Parse("input.yaml", []byte(documents))
	Expect(err).NotTo(HaveOccurred())
	Expect(mesh.Validate(resources)).To(BeEmpty())
	return resources
}

func proxy(ctx SpecContext, documents string) (*xds.ResourceSet, plugin.Report) {
	GinkgoHelper()
	rs, report, err := generate.Proxy(ctx, mesh.New(parse(documents)), clientKey)
	Expect(err).NotTo(HaveOccurred())
	return rs, report
}

func names[T interface{ GetName() string }](all []T) []string {
	var out []string
	for _, r := range all {
		out = append(out, r.GetName())
	}
	return out
}

func cluster(rs *xds.ResourceSet, name string) *clusterv3.Cluster {
	GinkgoHelper()
	r := rs.Get((*clusterv3.Cluster)(nil), name)
	Expect(r).NotTo(BeNil(), "cluster %s among %v", name, names(rs.Clusters()))
	return r.Resource.(*clusterv3.Cluster)
}

// filter is the configuration of the listener's only filter.
func filter[T proto.Message](rs *xds.ResourceSet, listener string, into T) T {
	GinkgoHelper()
	r := rs.Get((*listenerv3.Listener)(nil), listener)
	Expect(r).NotTo(BeNil(), "listener %s among %v", listener, names(rs.Listeners()))
	chain := r.Resource.(*listenerv3.Listener).GetFilterChains()[0]
	Expect(chain.GetFilters()).To(HaveLen(1))
	Expect(chain.GetFilters()[0].GetTypedConfig().UnmarshalTo(into)).To(Succeed())
	return into
}

var _ = Describe("a proxy", func() {
	const httpBackend = "kuma.io/service: backend, kuma.io/protocol: http"

	It("needs its data plane", func(ctx SpecContext) {
		_, _, err := generate.Proxy(ctx, mesh.New(nil), clientKey)
		Expect(err).To(MatchError(generate.ErrNoDataplane))
		Expect(err).To(MatchError(ContainSubstring(`Dataplane "client" in mesh "default"`)))
	})

	It("is the same to the byte for the same resources in any order", func(ctx SpecContext) {
		documents := client("kuma.io/service: backend", "kuma.io/service: other", "kuma.io/service: out") +
			governed("backend", "  destination: {kuma.io/service: backend}\n  mirrors:\n"+
				"  - {destination: {kuma.io/service: backend, version: v2}, percentage: 12.5}\n"+
				"  - {destination: {kuma.io/service: out}, name: outside}\n")
		for i := range 8 {
			documents += backend(fmt.Sprintf("b%d", i), fmt.Sprintf("192.0.2.%d", i+1), httpBackend+", version: v2, a: b, c: d")
		}
		for i := range 3 {
			documents += fmt.Sprintf("---\ntype: ExternalService\nname: e%d\ntags: {kuma.io/service: out, kuma.io/protocol: http}\n"+
				"networking: {address: 'e%d.example:443', tls: {enabled: true}}\n", i, i)
		}
		resources := parse(documents)
		bytes := func() [][]byte {
			rs, _, err := generate.Proxy(ctx, mesh.New(resources), clientKey)
			Expect(err).NotTo(HaveOccurred())
			var out [][]byte
			for _, r := range rs.All() {
				b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.Resource)
				Expect(err).NotTo(HaveOccurred())
				out = append(out, append([]byte(r.Name+r.Origin), b...))
			}
			return out
		}
		first := bytes()
		Expect(len(first)).To(BeNumerically(">", 10))
		shuffle := rand.New(rand.NewPCG(1, 2))
		for range 10 {
			shuffle.Shuffle(len(resources), func(i, j int) { resources[i], resources[j] = resources[j], resources[i] })
			Expect(bytes()).To(Equal(first))
		}
	})

	It("lets the mirror policy have the last word", func(ctx SpecContext) {
		rs, report := proxy(ctx, client("kuma.io/service: backend")+
			backend("b", "192.0.2.1", httpBackend)+
			governed("backend", "  destination: {kuma.io/service: backend}\n  mirror: {destination: {kuma.io/service: shadow}}\n"))
		Expect(report).To(HaveLen(1))
		Expect(report[0].State).To(Equal(plugin.Injected))
		Expect(report[0].Listener).To(Equal("outbound:127.0.0.1:10001"))
		mirror := cluster(rs, report[0].Cluster)
		Expect(mirror.GetType()).To(Equal(clusterv3.Cluster_EDS))
		Expect(rs.Routes()[0].GetVirtualHosts()[0].GetRoutes()[1].GetRoute().GetRequestMirrorPolicies()).To(HaveLen(1))
		Expect(rs.Endpoints()).To(HaveLen(2), "a shadow that nobody serves has endpoints, none")
	})

	It("sends an outbound that no TrafficRoute governs to the service it names", func(ctx SpecContext) {
		rs, report := proxy(ctx, client("kuma.io/service: backend, version: v1")+
			backend("b", "192.0.2.1", httpBackend+", version: v1")+
			backend("c", "192.0.2.2", httpBackend+", version: v2")+
			governed("other", "  destination: {kuma.io/service: other}\n"))
		Expect(report).To(BeEmpty())
		Expect(rs.Endpoints()).To(HaveLen(1))
		Expect(rs.Endpoints()[0].GetEndpoints()[0].GetLbEndpoints()).To(HaveLen(1))
		Expect(rs.Routes()[0].GetVirtualHosts()[0].GetRoutes()[0].GetRoute().GetCluster()).To(Equal(rs.Clusters()[0].GetName()))
	})

	It("gives outbounds of one service a route table each if their tags differ, and one else", func(ctx SpecContext) {
		rs, _ := proxy(ctx, client("kuma.io/service: backend", "kuma.io/service: backend, version: v2", "kuma.io/service: backend")+
			backend("b", "192.0.2.1", httpBackend)+
			governed("backend", "  destination: {kuma.io/service: '*'}\n"))
		table := func(port int) string {
			m := filter(rs, fmt.Sprintf("outbound:127.0.0.1:%d", port), &hcmv3.HttpConnectionManager{})
			return m.GetRds().GetRouteConfigName()
		}
		Expect(table(10001)).To(Equal("outbound:backend"))
		Expect(table(10002)).To(Equal("outbound:backend-5b73b3f4adf20020"))
		Expect(table(10003)).To(Equal("outbound:backend"))
		Expect(names(rs.Routes())).To(ConsistOf("outbound:backend", "outbound:backend-5b73b3f4adf20020"))
	})

	It("stays HTTP while one destination of a split is served by nobody", func(ctx SpecContext) {
		rs, _ := proxy(ctx, client("kuma.io/service: backend")+
			backend("b", "192.0.2.1", httpBackend)+
			governed("backend", "  split:\n  - {weight: 1, destination: {kuma.io/service: backend}}\n  - {weight: 1, destination: {kuma.io/service: gone}}\n"))
		filter(rs, "outbound:127.0.0.1:10001", &hcmv3.HttpConnectionManager{})
	})

	It("forwards connections of a TCP outbound to the default destination alone", func(ctx SpecContext) {
		rs, _ := proxy(ctx, client("kuma.io/service: backend")+
			backend("b", "192.0.2.1", "kuma.io/service: backend")+
			governed("backend", "  http: [{match: {path: {prefix: /}}, destination: {kuma.io/service: backend, version: v2}}]\n"+
				"  destination: {kuma.io/service: backend}\n"))
		Expect(filter(rs, "outbound:127.0.0.1:10001", &tcpproxyv3.TcpProxy{}).GetCluster()).To(Equal("backend"))
		Expect(rs.Routes()).To(BeEmpty())
	})

	DescribeTable("balances the load as the TrafficRoute says",
		func(ctx SpecContext, lb string, check func(*clusterv3.Cluster)) {
			rs, _ := proxy(ctx, client("kuma.io/service: backend")+
				governed("backend", "  destination: {kuma.io/service: backend}\n  loadBalancer: {"+lb+"}\n"))
			check(cluster(rs, "backend"))
		},
		Entry("round robin", "roundRobin: {}", func(c *clusterv3.Cluster) {
			Expect(c.GetLbPolicy()).To(Equal(clusterv3.Cluster_ROUND_ROBIN))
		}),
		Entry("random", "random: {}", func(c *clusterv3.Cluster) {
			Expect(c.GetLbPolicy()).To(Equal(clusterv3.Cluster_RANDOM))
		}),
		Entry("maglev", "maglev: {}", func(c *clusterv3.Cluster) {
			Expect(c.GetLbPolicy()).To(Equal(clusterv3.Cluster_MAGLEV))
		}),
		Entry("least request of Envoy's default", "leastRequest: {}", func(c *clusterv3.Cluster) {
			Expect(c.GetLeastRequestLbConfig().GetChoiceCount().GetValue()).To(BeEquivalentTo(2))
		}),
		Entry("ring hash", "ringHash: {hashFunction: MURMUR_HASH_2, minRingSize: 64, maxRingSize: 1024}", func(c *clusterv3.Cluster) {
			Expect(c.GetLbPolicy()).To(Equal(clusterv3.Cluster_RING_HASH))
			Expect(c.GetRingHashLbConfig().GetHashFunction()).To(Equal(clusterv3.Cluster_RingHashLbConfig_MURMUR_HASH_2))
			Expect(c.GetRingHashLbConfig().GetMinimumRingSize().GetValue()).To(BeEquivalentTo(64))
			Expect(c.GetRingHashLbConfig().GetMaximumRingSize().GetValue()).To(BeEquivalentTo(1024))
		}),
		Entry("ring hash of Envoy's default size", "ringHash: {hashFunction: XX_HASH}", func(c *clusterv3.Cluster) {
			Expect(c.GetRingHashLbConfig().GetMinimumRingSize()).To(BeNil())
			Expect(c.GetRingHashLbConfig().GetMaximumRingSize()).To(BeNil())
		}),
	)

	Describe("with inbounds", func() {
		const head = "type: Dataplane\nname: client\nnetworking:\n  address: 127.0.0.1\n  inbound:\n"

		It("leaves those alone whose application listens there itself", func(ctx SpecContext) {
			rs, _ := proxy(ctx, head+"  - {port: 80, tags: {kuma.io/service: client}}\n"+
				"  - {port: 81, servicePort: 81, serviceAddress: 127.0.0.1, tags: {kuma.io/service: client}}\n")
			Expect(rs.All()).To(BeEmpty())
		})

		It("forwards to the application in its protocol", func(ctx SpecContext) {
			rs, _ := proxy(ctx, head+"  - {port: 80, servicePort: 8080, tags: {kuma.io/service: a}}\n"+
				"  - {port: 81, servicePort: 8081, tags: {kuma.io/service: b, kuma.io/protocol: grpc}}\n")
			Expect(filter(rs, "inbound:127.0.0.1:80", &tcpproxyv3.TcpProxy{}).GetCluster()).To(Equal("localhost:8080"))
			Expect(cluster(rs, "localhost:8080").GetTypedExtensionProtocolOptions()).To(BeEmpty())
			grpc := filter(rs, "inbound:127.0.0.1:81", &hcmv3.HttpConnectionManager{})
			Expect(grpc.GetHttpFilters()[0].GetName()).To(Equal("envoy.filters.http.grpc_stats"))
			Expect(cluster(rs, "localhost:8081").String()).To(ContainSubstring("http2"))
		})

		It("tells applications on one port apart, and shares one", func(ctx SpecContext) {
			rs, _ := proxy(ctx, head+"  - {port: 80, servicePort: 8080, tags: {kuma.io/service: a}}\n"+
				"  - {port: 81, servicePort: 8080, serviceAddress: 127.0.0.2, tags: {kuma.io/service: b}}\n"+
				"  - {port: 82, servicePort: 8080, tags: {kuma.io/service: c}}\n")
			Expect(names(rs.Clusters())).To(ConsistOf("localhost:8080", "inbound:127.0.0.1:81"))
			Expect(filter(rs, "inbound:127.0.0.1:81", &tcpproxyv3.TcpProxy{}).GetCluster()).To(Equal("inbound:127.0.0.1:81"))
			Expect(filter(rs, "inbound:127.0.0.1:82", &tcpproxyv3.TcpProxy{}).GetCluster()).To(Equal("localhost:8080"))
		})
	})

	Describe("with ExternalServices", func() {
		external := func(name, networking string) string {
			return "---\ntype: ExternalService\nname: " + name + "\ntags: {kuma.io/service: out, kuma.io/protocol: http, name: " + name + "}\n" +
				"networking: {" + networking + "}\n"
		}

		DescribeTable("looks names up, and only names",
			func(ctx SpecContext, documents string, want clusterv3.Cluster_DiscoveryType) {
				rs, _ := proxy(ctx, client("kuma.io/service: out")+documents)
				Expect(cluster(rs, "out").GetType()).To(Equal(want))
				Expect(rs.Endpoints()).To(BeEmpty())
			},
			Entry("a name", external("a", "address: 'a.example:80'"), clusterv3.Cluster_STRICT_DNS),
			Entry("an address", external("a", "address: '192.0.2.1:80'"), clusterv3.Cluster_STATIC),
			Entry("an IPv6 address", external("a", "address: '[2001:db8::1]:80'"), clusterv3.Cluster_STATIC),
			Entry("both", external("a", "address: '192.0.2.1:80'")+external("b", "address: 'b.example:80'"), clusterv3.Cluster_STRICT_DNS),
		)

		It("looks up IPv6 addresses, too, where the data plane has one", func(ctx SpecContext) {
			documents := client("kuma.io/service: out") + external("a", "address: 'a.example:80'")
			rs, _ := proxy(ctx, documents)
			Expect(cluster(rs, "out").GetDnsLookupFamily()).To(Equal(clusterv3.Cluster_V4_ONLY))
			rs, _ = proxy(ctx, strings.Replace(documents, "address: 127.0.0.1", "address: '::1'", 1))
			Expect(cluster(rs, "out").GetDnsLookupFamily()).To(Equal(clusterv3.Cluster_AUTO))
		})

		It("takes those with the tags asked for", func(ctx SpecContext) {
			rs, _ := proxy(ctx, client("kuma.io/service: out, name: b")+
				external("a", "address: 'a.example:80'")+external("b", "address: 'b.example:80'"))
			endpoints := rs.Clusters()[0].GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints()
			Expect(endpoints).To(HaveLen(1))
			Expect(endpoints[0].GetEndpoint().GetAddress().GetSocketAddress().GetAddress()).To(Equal("b.example"))
		})

		tls := func(ctx SpecContext, networking string) *tlsv3.UpstreamTlsContext {
			GinkgoHelper()
			rs, _ := proxy(ctx, client("kuma.io/service: out")+external("a", networking))
			matches := cluster(rs, "out").GetTransportSocketMatches()
			Expect(matches).To(HaveLen(1))
			context := &tlsv3.UpstreamTlsContext{}
			Expect(matches[0].GetTransportSocket().GetTypedConfig().UnmarshalTo(context)).To(Succeed())
			return context
		}

		DescribeTable("names the server in the handshake, unless it is an address",
			func(ctx SpecContext, networking, want string) {
				Expect(tls(ctx, networking).GetSni()).To(Equal(want))
			},
			Entry("by serverName", "address: 'a.example:443', tls: {enabled: true, serverName: b.example}", "b.example"),
			Entry("by its host", "address: 'a.example:443', tls: {enabled: true}", "a.example"),
			Entry("not by an address", "address: '192.0.2.1:443', tls: {enabled: true}", ""),
		)

		It("verifies the certificate where there is a CA", func(ctx SpecContext) {
			Expect(tls(ctx, "address: 'a.example:443', tls: {enabled: true}").GetCommonTlsContext()).To(BeNil())

			ca, err := envoytest.NewCA()
			Expect(err).NotTo(HaveOccurred())
			pem := string(ca.PEM())
			v := tls(ctx, fmt.Sprintf("address: 'a.example:443', tls: {enabled: true, caCert: {inlineString: %q}}", pem)).GetCommonTlsContext().GetValidationContext()
			Expect(v.GetTrustedCa().GetInlineString()).To(Equal(pem))
			Expect(v.GetMatchTypedSubjectAltNames()).To(HaveLen(2))
			for _, m := range v.GetMatchTypedSubjectAltNames() {
				Expect(m.GetMatcher().GetExact()).To(Equal("a.example"))
			}

			v = tls(ctx, "address: '192.0.2.1:443', tls: {enabled: true, caCert: {file: /ca.pem}}").GetCommonTlsContext().GetValidationContext()
			Expect(v.GetTrustedCa().GetFilename()).To(Equal("/ca.pem"))
			Expect(v.GetMatchTypedSubjectAltNames()[1].GetMatcher().GetExact()).To(Equal("192.0.2.1"))

			v = tls(ctx, fmt.Sprintf("address: 'a.example:443', tls: {enabled: true, caCert: {inline: %s}, skipHostnameVerification: true}",
				base64.StdEncoding.EncodeToString(ca.PEM()))).GetCommonTlsContext().GetValidationContext()
			Expect(v.GetTrustedCa().GetInlineBytes()).To(BeEquivalentTo(pem))
			Expect(v.GetMatchTypedSubjectAltNames()).To(BeEmpty())
		})

		It("shows its own certificate, and renegotiates, where that is asked for", func(ctx SpecContext) {
			context := tls(ctx, "address: 'a.example:443', tls: {enabled: true, allowRenegotiation: true, clientCert: {file: /cert.pem}, clientKey: {file: /key.pem}}")
			Expect(context.GetAllowRenegotiation()).To(BeTrue())
			certificate := context.GetCommonTlsContext().GetTlsCertificates()[0]
			Expect(certificate.GetCertificateChain().GetFilename()).To(Equal("/cert.pem"))
			Expect(certificate.GetPrivateKey().GetFilename()).To(Equal("/key.pem"))
		})

		DescribeTable("gives copies the host that the shadow expects",
			func(ctx SpecContext, networking, want string) {
				rs, report := proxy(ctx, client("kuma.io/service: backend")+
					backend("b", "192.0.2.1", httpBackend)+
					external("a", networking)+
					governed("backend", "  destination: {kuma.io/service: backend}\n  mirror: {destination: {kuma.io/service: out}}\n"))
				Expect(report[0].State).To(Equal(plugin.Injected))
				table := rs.Get((*routev3.RouteConfiguration)(nil), "outbound:backend").Resource
				Expect(text(asObject(table))).To(ContainSubstring(want))
			},
			Entry("a name on port 80", "address: 'a.example:80'", "hostRewriteLiteral: a.example\n"),
			Entry("a name on another port", "address: 'a.example:8080'", "hostRewriteLiteral: a.example:8080\n"),
			Entry("a name on port 443 with TLS", "address: 'a.example:443', tls: {enabled: true}", "hostRewriteLiteral: a.example\n"),
			Entry("a name on port 443 without TLS", "address: 'a.example:443'", "hostRewriteLiteral: a.example:443\n"),
			Entry("an IPv6 address", "address: '[2001:db8::1]:80'", `hostRewriteLiteral: '[2001:db8::1]'`),
		)
	})
})
