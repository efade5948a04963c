package generator_test

import (
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	buffer "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/buffer/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/generator"
)

const httpOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

func v2() api.Tags { return api.Tags{api.ServiceTag: "backend", "version": "v2"} }

func optionsOf(c *cluster.Cluster) *upstream.HttpProtocolOptions {
	GinkgoHelper()
	options := &upstream.HttpProtocolOptions{}
	Expect(c.GetTypedExtensionProtocolOptions()[httpOptions].UnmarshalTo(options)).To(Succeed())
	return options
}

func configured(id generator.Identity) *cluster.Cluster {
	GinkgoHelper()
	c := &cluster.Cluster{Name: id.ClusterName()}
	Expect(id.Configure(c, &generator.Memo{})).To(Succeed())
	return c
}

var _ = Describe("the identity of a mirror", func() {
	plain := generator.Identity{Tags: v2(), Limits: generator.DefaultLimits}

	It("is named after the destination's Kuma cluster", func() {
		Expect(plain.ClusterName()).To(Equal("backend-5b73b3f4adf20020_mirror"))
		Expect(generator.Identity{Tags: api.Tags{api.ServiceTag: "backend"}, Limits: generator.DefaultLimits}.ClusterName()).
			To(Equal("backend_mirror"))
	})

	It("has the mirror's name in it, for whoever looks for it in Envoy", func() {
		named := plain
		named.Name = "shadow_cluster"
		Expect(named.ClusterName()).To(Equal("backend-5b73b3f4adf20020_mirror-shadow_cluster"))
		named.Limits.MaxConcurrentRequests = 1
		Expect(named.ClusterName()).To(MatchRegexp("^backend-5b73b3f4adf20020_mirror-shadow_cluster-[0-9a-f]{8}$"))
	})

	It("cannot be taken for another by a name that looks like a hash", func() {
		limited := plain
		limited.Limits.MaxConcurrentRequests = 1
		_, hash, _ := strings.Cut(limited.ClusterName(), "_mirror-")
		named := plain
		named.Name = hash
		Expect(named.ClusterName()).NotTo(Equal(limited.ClusterName()))
	})

	It("cannot be taken for another, whatever service and mirror are called", func() {
		parts := []string{"a", "b", "a_mirror", "b_mirror", "a_mirror-b", "b_mirror-a", "mirror", "_mirror", "a-0123abcd", "0123abcd"}
		limits := []generator.Limits{generator.DefaultLimits, {MaxConcurrentRequests: 1}}
		owners := map[string]generator.Identity{}
		for _, service := range parts {
			for _, name := range append(parts, "") {
				for _, limit := range limits {
					id := generator.Identity{Tags: api.Tags{api.ServiceTag: service}, Name: name, Limits: limit}
					Expect(owners).NotTo(HaveKey(id.ClusterName()), "%+v and %+v", id, owners[id.ClusterName()])
					owners[id.ClusterName()] = id
				}
			}
		}
	})

	It("has a name of its own for everything that changes the cluster", func() {
		names := map[string]bool{plain.ClusterName(): true}
		for _, change := range []func(*generator.Identity){
			func(id *generator.Identity) { id.Name = "shadow" },
			func(id *generator.Identity) { id.Name = "other" },
			func(id *generator.Identity) { id.Limits.MaxConcurrentRequests = 1 },
			func(id *generator.Identity) { id.Limits.MaxRequestBodyBytes = 1 },
			func(id *generator.Identity) { id.Limits.MaxDuration = 1 },
			func(id *generator.Identity) { id.Tags = api.Tags{api.ServiceTag: "backend", "version": "v3"} },
		} {
			id := plain
			change(&id)
			Expect(names).NotTo(HaveKey(id.ClusterName()))
			Expect(id.ClusterName()).To(ContainSubstring("_mirror"))
			names[id.ClusterName()] = true
		}
	})

	It("has a distinct name for a service that is called like it", func() {
		Expect(plain.DistinctClusterName()).NotTo(Equal(plain.ClusterName()))
	})

	It("fills in the defaults, option by option", func() {
		m := &api.TrafficRoute_Mirror{Destination: v2()}
		Expect(generator.IdentityOf(m, nil).Limits).To(Equal(generator.DefaultLimits))
		m.Limits = &api.TrafficRoute_Mirror_Limits{MaxRequestBodyBytes: wrapperspb.UInt32(0)}
		limits := generator.IdentityOf(m, nil).Limits
		Expect(limits.MaxRequestBodyBytes).To(BeZero())
		Expect(limits.MaxConcurrentRequests).To(Equal(generator.DefaultLimits.MaxConcurrentRequests))
		m.Limits = &api.TrafficRoute_Mirror_Limits{
			MaxConcurrentRequests: wrapperspb.UInt32(7), MaxDuration: durationpb.New(time.Minute),
		}
		Expect(generator.IdentityOf(m, nil).Limits).To(Equal(generator.Limits{
			MaxConcurrentRequests: 7, MaxRequestBodyBytes: 1 << 20, MaxDuration: time.Minute,
		}))
	})

	It("takes wildcards from the outbound", func() {
		m := &api.TrafficRoute_Mirror{Destination: map[string]string{api.ServiceTag: "*", "version": "v2"}}
		Expect(generator.IdentityOf(m, api.Tags{api.ServiceTag: "backend"}).Tags).To(Equal(v2()))
	})
})

var _ = Describe("a mirror cluster", func() {
	id := generator.Identity{
		Tags: v2(), Name: "shadow_cluster",
		Limits: generator.Limits{MaxConcurrentRequests: 5, MaxRequestBodyBytes: 1000, MaxDuration: 3 * time.Second},
	}

	It("carries name, service and tags", func() {
		c := configured(id)
		Expect(c.GetAltStatName()).To(Equal("shadow_cluster"))
		Expect(c.GetMetadata().GetFilterMetadata()[generator.TagsMetadata].AsMap()).To(Equal(map[string]any{
			"kuma.io/service": "backend", "version": "v2",
		}))
		Expect(c.GetMetadata().GetFilterMetadata()[generator.MirrorMetadata].AsMap()).To(Equal(map[string]any{
			"service": "backend", "name": "shadow_cluster",
		}))
	})

	It("has its cluster's name in stats where the mirror has none", func() {
		Expect(configured(generator.Identity{Tags: v2(), Limits: generator.DefaultLimits}).GetAltStatName()).To(BeEmpty())
	})

	It("bounds what is in flight at both priorities, and retries nothing", func() {
		thresholds := configured(id).GetCircuitBreakers().GetThresholds()
		Expect(thresholds).To(HaveLen(2))
		for i, priority := range []core.RoutingPriority{core.RoutingPriority_DEFAULT, core.RoutingPriority_HIGH} {
			Expect(thresholds[i].GetPriority()).To(Equal(priority))
			Expect(thresholds[i].GetMaxConnections().GetValue()).To(BeEquivalentTo(5))
			Expect(thresholds[i].GetMaxPendingRequests().GetValue()).To(BeEquivalentTo(5))
			Expect(thresholds[i].GetMaxRequests().GetValue()).To(BeEquivalentTo(5))
			Expect(thresholds[i].GetMaxRetries()).NotTo(BeNil())
			Expect(thresholds[i].GetMaxRetries().GetValue()).To(BeZero())
		}
	})

	It("ends a copy after its longest life", func() {
		Expect(optionsOf(configured(id)).GetCommonHttpProtocolOptions().GetMaxStreamDuration().AsDuration()).To(Equal(3 * time.Second))
	})

	It("holds bodies before the codec sees them", func() {
		filters := optionsOf(configured(id)).GetHttpFilters()
		Expect(filters).To(HaveExactElements(
			HaveField("Name", "envoy.filters.http.buffer"), HaveField("Name", "envoy.filters.http.upstream_codec")))
		held := &buffer.Buffer{}
		Expect(filters[0].GetTypedConfig().UnmarshalTo(held)).To(Succeed())
		Expect(held.GetMaxRequestBytes().GetValue()).To(BeEquivalentTo(1000))
	})

	It("streams bodies where the limit is 0", func() {
		streaming := id
		streaming.Limits.MaxRequestBodyBytes = 0
		Expect(optionsOf(configured(streaming)).GetHttpFilters()).To(BeEmpty())
	})

	It("stops trying a shadow that cannot be reached, and never panics", func() {
		c := configured(id)
		Expect(c.GetOutlierDetection().GetConsecutiveLocalOriginFailure().GetValue()).To(BeEquivalentTo(5))
		Expect(c.GetOutlierDetection().GetSplitExternalLocalOriginErrors()).To(BeTrue())
		Expect(c.GetOutlierDetection().GetMaxEjectionPercent().GetValue()).To(BeEquivalentTo(100))
		Expect(c.GetCommonLbConfig().GetHealthyPanicThreshold()).NotTo(BeNil())
		Expect(c.GetCommonLbConfig().GetHealthyPanicThreshold().GetValue()).To(BeZero())
	})

	It("never makes Envoy wait: not for names, health or, beyond a second, endpoints", func() {
		c := &cluster.Cluster{
			EdsClusterConfig: &cluster.Cluster_EdsClusterConfig{EdsConfig: &core.ConfigSource{}},
			HealthChecks:     []*core.HealthCheck{{Timeout: durationpb.New(time.Minute)}},
		}
		Expect(id.Configure(c, &generator.Memo{})).To(Succeed())
		Expect(c.GetWaitForWarmOnInit()).NotTo(BeNil())
		Expect(c.GetWaitForWarmOnInit().GetValue()).To(BeFalse())
		Expect(c.GetHealthChecks()).To(BeEmpty())
		Expect(c.GetEdsClusterConfig().GetEdsConfig().GetInitialFetchTimeout().AsDuration()).To(Equal(time.Second))
	})

	It("keeps what the host built: endpoints, TLS, HTTP/2", func() {
		value, err := anypb.New(&upstream.HttpProtocolOptions{
			CommonHttpProtocolOptions: &core.HttpProtocolOptions{IdleTimeout: durationpb.New(time.Hour)},
			UpstreamProtocolOptions: &upstream.HttpProtocolOptions_ExplicitHttpConfig_{
				ExplicitHttpConfig: &upstream.HttpProtocolOptions_ExplicitHttpConfig{
					ProtocolConfig: &upstream.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{},
				},
			},
		})
		Expect(err).NotTo(HaveOccurred())
		c := &cluster.Cluster{
			Name:                          id.ClusterName(),
			ClusterDiscoveryType:          &cluster.Cluster_Type{Type: cluster.Cluster_EDS},
			TransportSocket:               &core.TransportSocket{Name: "tls"},
			TypedExtensionProtocolOptions: map[string]*anypb.Any{httpOptions: value},
		}
		Expect(id.Configure(c, &generator.Memo{})).To(Succeed())
		Expect(c.GetType()).To(Equal(cluster.Cluster_EDS))
		Expect(c.GetTransportSocket().GetName()).To(Equal("tls"))
		options := optionsOf(c)
		Expect(options.GetExplicitHttpConfig().GetProtocolConfig()).
			To(BeAssignableToTypeOf(&upstream.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{}))
		Expect(options.GetCommonHttpProtocolOptions().GetIdleTimeout().AsDuration()).To(Equal(time.Hour))
	})

	It("speaks HTTP/1.1 to a shadow whose protocol nobody told", func() {
		Expect(optionsOf(configured(id)).GetExplicitHttpConfig().GetHttpProtocolOptions()).NotTo(BeNil())
	})

	It("is the same bytes every time, also when configured twice", func() {
		first := configured(id)
		second := configured(id)
		Expect(id.Configure(second, &generator.Memo{})).To(Succeed())
		Expect(proto.Equal(first, second)).To(BeTrue())
		Expect(first.GetTypedExtensionProtocolOptions()[httpOptions].GetValue()).
			To(Equal(second.GetTypedExtensionProtocolOptions()[httpOptions].GetValue()))
	})

	It("is what it is alone, whatever was configured before it, and nobody else's", func() {
		base := func(protocol *upstream.HttpProtocolOptions_ExplicitHttpConfig) *cluster.Cluster {
			value, err := anypb.New(&upstream.HttpProtocolOptions{
				UpstreamProtocolOptions: &upstream.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: protocol},
			})
			Expect(err).NotTo(HaveOccurred())
			return &cluster.Cluster{TypedExtensionProtocolOptions: map[string]*anypb.Any{httpOptions: value}}
		}
		http1 := &upstream.HttpProtocolOptions_ExplicitHttpConfig{ProtocolConfig: &upstream.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{}}
		http2 := &upstream.HttpProtocolOptions_ExplicitHttpConfig{ProtocolConfig: &upstream.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{}}
		limited := id
		limited.Limits.MaxRequestBodyBytes = 7
		var memo generator.Memo
		for range 2 {
			for _, id := range []generator.Identity{id, limited} {
				for _, protocol := range []*upstream.HttpProtocolOptions_ExplicitHttpConfig{http1, http2} {
					alone, beside := base(protocol), base(protocol)
					Expect(id.Configure(alone, &generator.Memo{})).To(Succeed())
					Expect(id.Configure(beside, &memo)).To(Succeed())
					Expect(proto.Equal(alone, beside)).To(BeTrue())
					// As a host's own modifications may.
					beside.TypedExtensionProtocolOptions[httpOptions].Value = nil
				}
			}
		}
	})
})
