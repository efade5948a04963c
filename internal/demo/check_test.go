package demo_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/internal/demo"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
)

// checkPatience is for a machine that is busy with other suites.
const checkPatience = 2 * time.Minute

func options(envoy string) demo.Options {
	GinkgoHelper()
	self, err := os.Executable()
	Expect(err).NotTo(HaveOccurred())
	n := envoytest.FreePorts(5)
	return demo.Options{
		Ports:   demo.Ports{Listener: int(n[0]), Admin: int(n[1]), Primary: int(n[2]), Shadow: int(n[3]), XDS: int(n[4])},
		Envoy:   envoy,
		Backend: []string{self, "backend"},
		Stdout:  io.Discard,
		Stderr:  GinkgoWriter,
		Log:     slog.New(slog.NewTextHandler(GinkgoWriter, nil)),
	}
}

// route returns an entry of the demo's TrafficRoute: 0, 1 and 2 are /api/v1 to
// /api/v3.
func route(all []*api.Resource, i int) *api.TrafficRoute_Http {
	at := slices.IndexFunc(all, func(r *api.Resource) bool { return r.Kind == api.KindTrafficRoute })
	return all[at].Spec.(*api.TrafficRoute).GetConf().GetHttp()[i]
}

func answerFromShadow(all []*api.Resource, i int, weight uint32) {
	entry := route(all, i)
	entry.Split = []*api.TrafficRoute_Split{
		{Weight: wrapperspb.UInt32(100 - weight), Destination: entry.GetDestination()},
		{Weight: wrapperspb.UInt32(weight), Destination: map[string]string{api.ServiceTag: "backend-shadow"}},
	}
	entry.Destination = nil
}

// sabotage is a broken demo and the checks that have to notice.
type sabotage struct {
	what   string
	how    func([]*api.Resource)
	checks []string
}

func sabotages() []sabotage {
	return []sabotage{
		{"/api/v1 has no mirror", func(all []*api.Resource) { route(all, 0).Mirror = nil },
			[]string{"test_100_percent_mirroring", "test_post_request_mirroring", "test_envoy_mirroring_stats",
				"Shadow Traffic", "POST Body Mirroring", "No Impact on Primary"}},
		{"nothing has a mirror", func(all []*api.Resource) { route(all, 0).Mirror, route(all, 1).Mirror = nil, nil },
			[]string{"test_50_percent_mirroring_sampling", "test_envoy_cluster_health", "Sampling Rate", "Cluster Health"}},
		{"/api/v1 is mirrored at 90 %", func(all []*api.Resource) { route(all, 0).Mirror.Percentage = wrapperspb.Double(90) },
			[]string{"test_100_percent_mirroring", "test_envoy_mirroring_stats"}},
		{"/api/v2 is mirrored at 30 %", func(all []*api.Resource) { route(all, 1).Mirror.Percentage = wrapperspb.Double(30) },
			[]string{"test_50_percent_mirroring_sampling", "Sampling Rate"}},
		{"/api/v2 is mirrored at 70 %", func(all []*api.Resource) { route(all, 1).Mirror.Percentage = wrapperspb.Double(70) },
			[]string{"test_50_percent_mirroring_sampling", "Sampling Rate"}},
		{"/api/v3 is mirrored, too", func(all []*api.Resource) { route(all, 2).Mirror = route(all, 1).Mirror },
			[]string{"test_no_mirroring_baseline"}},
		{"every request is copied twice", func(all []*api.Resource) {
			entry := route(all, 0)
			entry.Mirrors = []*api.TrafficRoute_Mirror{entry.Mirror, entry.Mirror}
			entry.Mirror = nil
		}, []string{"test_100_percent_mirroring", "test_post_request_mirroring", "test_envoy_mirroring_stats", "POST Body Mirroring"}},
		{"the shadow answers", func(all []*api.Resource) { answerFromShadow(all, 0, 100) },
			[]string{"test_100_percent_mirroring", "test_envoy_mirroring_stats", "Primary Response Only", "Shadow Traffic"}},
		{"the shadow answers one request in five", func(all []*api.Resource) { answerFromShadow(all, 2, 20) },
			[]string{"test_no_mirroring_baseline"}},
		{"bodies above 1000 bytes are not copied", func(all []*api.Resource) {
			route(all, 0).Mirror.Limits = &api.TrafficRoute_Mirror_Limits{MaxRequestBodyBytes: wrapperspb.UInt32(1000)}
		}, []string{"POST Body Mirroring"}},
		{"bodies above 20 bytes are not copied", func(all []*api.Resource) {
			route(all, 0).Mirror.Limits = &api.TrafficRoute_Mirror_Limits{MaxRequestBodyBytes: wrapperspb.UInt32(20)}
		}, []string{"test_post_request_mirroring"}},
		{"the mirror is called something else", func(all []*api.Resource) {
			route(all, 0).Mirror.Name, route(all, 1).Mirror.Name = "other", "other"
		}, []string{"test_envoy_cluster_health", "test_envoy_mirroring_stats", "Shadow Traffic"}},
		{"the shadow has no instance", func(all []*api.Resource) {
			for _, r := range all {
				if dataplane, ok := r.Spec.(*api.Dataplane); ok && r.Meta.Name == "backend-shadow" {
					dataplane.Networking.Inbound[0].Health = &api.Dataplane_Networking_Inbound_Health{Ready: false}
				}
			}
		}, []string{"test_envoy_cluster_health", "Cluster Health", "test_100_percent_mirroring"}},
	}
}

var _ = Describe("The check of the demo", func() {
	It("has the test cases and the verifications of the documentation", func() {
		Expect(demo.CheckNames(demo.TestCase)).To(Equal([]string{
			"test_100_percent_mirroring", "test_50_percent_mirroring_sampling", "test_no_mirroring_baseline",
			"test_post_request_mirroring", "test_envoy_cluster_health", "test_envoy_mirroring_stats",
		}))
		Expect(demo.CheckNames(demo.Verification)).To(Equal([]string{
			"Primary Response Only", "Shadow Traffic", "Sampling Rate",
			"POST Body Mirroring", "Cluster Health", "No Impact on Primary",
		}))
	})

	for _, version := range envoytest.Versions() {
		It("passes with Envoy "+version, func(ctx SpecContext) {
			report, err := demo.Check(ctx, options(envoytest.Binary(version)))
			Expect(err).NotTo(HaveOccurred())
			for _, result := range report.Results {
				Expect(result.Passed).To(BeTrue(), fmt.Sprintf("%+v", result))
			}
			Expect(report.Results).To(HaveLen(12))
			Expect(report.Passed).To(BeTrue())
			Expect(report.Envoy).To(Equal(version))
			Expect(report.ChanceOfFalseFailure).To(BeNumerically("<", 1e-9))
		}, SpecTimeout(checkPatience))
	}

	for _, s := range sabotages() {
		It("notices when "+s.what, func(ctx SpecContext) {
			o := options(envoytest.Default())
			o.Sabotage(s.how, s.checks...)
			report, err := demo.Check(ctx, o)
			Expect(err).NotTo(HaveOccurred())
			Expect(report.Passed).To(BeFalse())
			Expect(report.Results).To(HaveLen(len(s.checks)))
			for _, result := range report.Results {
				Expect(result.Passed).To(BeFalse(), fmt.Sprintf("%+v", result))
				Expect(result.Problem).NotTo(BeEmpty())
			}
		}, SpecTimeout(checkPatience))
	}

	It("notices when primary's answers depend on the shadow", func(ctx SpecContext) {
		o := options(envoytest.Default())
		// The shadow calls itself primary and answers half of the requests:
		// that comes to light when it is killed.
		o.Backend = append(o.Backend, "--masquerade")
		o.Sabotage(func(all []*api.Resource) { answerFromShadow(all, 0, 50) }, "Primary Response Only", "No Impact on Primary")
		report, err := demo.Check(ctx, o)
		Expect(err).NotTo(HaveOccurred())
		Expect(report.Results[0].Passed).To(BeTrue(), fmt.Sprintf("%+v", report.Results[0]))
		Expect(report.Results[1].Passed).To(BeFalse(), fmt.Sprintf("%+v", report.Results[1]))
		Expect(report.Results[1].Problem).To(ContainSubstring("status 503"))
	}, SpecTimeout(checkPatience))

	It("has no check that could not fail", func() {
		var noticed []string
		for _, s := range sabotages() {
			noticed = append(noticed, s.checks...)
		}
		for _, kind := range []demo.Kind{demo.TestCase, demo.Verification} {
			for _, name := range demo.CheckNames(kind) {
				Expect(noticed).To(ContainElement(name))
			}
		}
	})

	It("says why it could not begin", func(ctx SpecContext) {
		o := options("/nonexistent/envoy")
		_, err := demo.Check(ctx, o)
		Expect(err).To(MatchError(And(ContainSubstring("cannot start Envoy"), ContainSubstring("/nonexistent/envoy"))))
		By("leaving nothing behind")
		Expect(o.Ports.Reserve()).To(Equal(o.Ports))
	}, SpecTimeout(checkPatience))

	It("says why a backend could not begin", func(ctx SpecContext) {
		o := options(envoytest.Default())
		o.Backend = []string{o.Backend[0], "backend", "--no-such-flag"}
		_, err := demo.Check(ctx, o)
		Expect(err).To(MatchError(ContainSubstring("the primary backend ended before it listened: exit status 2")))
	}, SpecTimeout(checkPatience))
})

var _ = Describe("A cluster's health", func() {
	cluster := func(change func(*adminv3.HostStatus)) []*adminv3.ClusterStatus {
		endpoint := &adminv3.HostStatus{
			Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
				Address: "127.0.0.1", PortSpecifier: &core.SocketAddress_PortValue{PortValue: 18081},
			}}},
			HealthStatus: &adminv3.HostHealthStatus{EdsHealthStatus: core.HealthStatus_HEALTHY},
		}
		change(endpoint)
		return []*adminv3.ClusterStatus{{Name: "c", ObservabilityName: "shadow_cluster", HostStatuses: []*adminv3.HostStatus{endpoint}}}
	}
	health := func(clusters []*adminv3.ClusterStatus) error {
		return demo.ClusterHealth(clusters, "shadow_cluster", "http://127.0.0.1:18081")
	}

	It("is good with one endpoint in use", func() {
		Expect(health(cluster(func(*adminv3.HostStatus) {}))).To(Succeed())
	})

	DescribeTable("is bad",
		func(change func(*adminv3.HostStatus), problem string) {
			Expect(health(cluster(change))).To(MatchError(ContainSubstring(problem)))
		},
		Entry("when the endpoint is ejected", func(h *adminv3.HostStatus) { h.HealthStatus.FailedOutlierCheck = true }, "ejected"),
		Entry("when the host says so", func(h *adminv3.HostStatus) { h.HealthStatus.EdsHealthStatus = core.HealthStatus_UNHEALTHY }, "UNHEALTHY"),
		Entry("when it is another endpoint", func(h *adminv3.HostStatus) {
			h.Address.GetSocketAddress().PortSpecifier = &core.SocketAddress_PortValue{PortValue: 1}
		}, "http://127.0.0.1:1,"),
	)

	It("is bad without an endpoint, and without the cluster", func() {
		Expect(health([]*adminv3.ClusterStatus{{Name: "shadow_cluster"}})).To(MatchError("0 endpoints"))
		Expect(health(nil)).To(MatchError(ContainSubstring("no such cluster")))
	})
})

var _ = Describe("A demo to watch", func() {
	It("says what is wrong with its ports before anything else", func(ctx SpecContext) {
		var out bytes.Buffer
		o := options(envoytest.Default())
		o.Stdout = &out
		o.Ports.Admin = listen("tcp4", "127.0.0.1:0")
		Expect(demo.Run(ctx, o)).To(MatchError(ContainSubstring("--admin-port")))
		Expect(out.String()).To(BeEmpty())
	})
})
