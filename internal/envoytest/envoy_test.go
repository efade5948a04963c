package envoytest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"syscall"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
)

// proxyTo is an Envoy configuration: a listener "in" that sends everything to
// the port primary and mirrors it to the port shadow.
func proxyTo(primary, shadow uint32) []byte {
	return fmt.Appendf(nil, `
static_resources:
  listeners:
  - name: in
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route: {cluster: primary, request_mirror_policies: [{cluster: shadow}]}
  clusters:
  - name: primary
    type: STATIC
    load_assignment:
      cluster_name: primary
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]
  - name: shadow
    type: STATIC
    load_assignment:
      cluster_name: shadow
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]
`, primary, shadow)
}

var _ = Describe("a real Envoy", func() {
	for _, version := range envoytest.Versions() {
		Describe(version, func() {
			It("accepts a valid configuration and names what is wrong with another", func(ctx SpecContext) {
				binary := envoytest.Binary(version)
				Expect(envoytest.Validate(ctx, binary, proxyTo(1, 2))).To(Succeed())

				err := envoytest.Validate(ctx, binary, []byte(`static_resources: {clusters: [{name: ""}]}`))
				Expect(err).To(MatchError(And(ContainSubstring("ClusterValidationError.Name"), Not(ContainSubstring("envoy.yaml")))))
			})

			It("validates protobufs", func(ctx SpecContext) {
				binary := envoytest.Binary(version)
				bootstrap := &bootstrapv3.Bootstrap{StaticResources: &bootstrapv3.Bootstrap_StaticResources{
					Clusters: []*clusterv3.Cluster{{Name: "a"}},
				}}
				Expect(envoytest.ValidateBootstrap(ctx, binary, bootstrap)).To(Succeed())

				bootstrap.StaticResources.Clusters[0].Name = ""
				Expect(envoytest.ValidateBootstrap(ctx, binary, bootstrap)).To(MatchError(ContainSubstring("ClusterValidationError.Name")))
			})

			It("proxies, counts, and shows its configuration", func(ctx SpecContext) {
				primary := backend.RunHTTP(backend.Options{Name: "primary"})
				shadow := backend.RunHTTP(backend.Options{Name: "shadow"})
				envoy := envoytest.Run(ctx, envoytest.Options{
					Binary: envoytest.Binary(version),
					Config: proxyTo(primary.Port(), shadow.Port()),
				})
				port, err := envoy.ListenerPort(ctx, "in")
				Expect(err).NotTo(HaveOccurred())

				header, body := get(ctx, port, "/api/v1?x=1")
				Expect(header.Get("X-Backend-Name")).To(Equal("primary"))
				Expect(header.Get("X-Request-Count")).To(Equal("1"))
				Expect(body).To(And(HaveKeyWithValue("backend", "primary"), HaveKeyWithValue("path", "/api/v1?x=1")))

				Eventually(shadow.Count).Should(Equal(1), "requests at the shadow")
				Expect(shadow.Requests()[0].Host).To(HaveSuffix(fmt.Sprintf("-shadow:%d", port)))
				Expect(primary.Count()).To(Equal(1))

				Eventually(envoy.Stat).WithContext(ctx).WithArguments("cluster.shadow.upstream_rq_completed").
					Should(BeEquivalentTo(1))
				_, err = envoy.Stat(ctx, "cluster.shadow.misspelt")
				Expect(err).To(MatchError(ContainSubstring("misspelt")))

				dump, err := envoy.ConfigDump(ctx)
				Expect(err).NotTo(HaveOccurred())
				Expect(string(dump)).To(ContainSubstring(`"request_mirror_policies"`))
				Expect(envoy.Logs()).To(ContainSubstring("all dependencies initialized"))

				_, err = envoy.ListenerPort(ctx, "out")
				Expect(err).To(MatchError(ContainSubstring(`no listener "out"`)))
				_, err = envoy.Get(ctx, "/no-such-page")
				Expect(err).To(MatchError(ContainSubstring("404")))
				_, err = envoy.Post(ctx, "/reset_counters")
				Expect(err).NotTo(HaveOccurred())
				Expect(envoy.Stat(ctx, "cluster.shadow.upstream_rq_total")).To(BeEquivalentTo(0))
			})

			It("ends with SIGTERM and leaves its ports", func(ctx SpecContext) {
				envoy, err := envoytest.Start(ctx, envoytest.Options{Binary: envoytest.Binary(version), Config: proxyTo(1, 2)})
				Expect(err).NotTo(HaveOccurred())
				Expect(envoy.Stop()).To(Succeed())
				Expect(envoy.Done()).To(BeClosed())
				_, err = envoy.Get(ctx, "/ready")
				Expect(err).To(MatchError(syscall.ECONNREFUSED))
				Expect(envoy.Stop()).To(Succeed(), "a second time")
			})

			It("uses the admin address of its configuration", func(ctx SpecContext) {
				port := envoytest.FreePorts(1)[0]
				envoy := envoytest.Run(ctx, envoytest.Options{
					Binary: envoytest.Binary(version),
					Bootstrap: &bootstrapv3.Bootstrap{Admin: &bootstrapv3.Admin{Address: &corev3.Address{
						Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
							Address:       "0.0.0.0",
							PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
						}},
					}}},
				})
				Expect(envoy.AdminAddress()).To(Equal(fmt.Sprintf("127.0.0.1:%d", port)))
			})
		})
	}

	It("that does not start says why", func(ctx SpecContext) {
		_, err := envoytest.Start(ctx, envoytest.Options{Binary: envoytest.Default(), Config: []byte("static_resources: {clusters: [{name: ''}]}")})
		Expect(err).To(MatchError(And(ContainSubstring("exit status 1"), ContainSubstring("ClusterValidationError.Name"))))
	})

	It("that is not ready is given up with the context", func(ctx SpecContext) {
		// Envoy waits 15 s for its clusters from a control plane that says nothing.
		host := backend.RunStalled()
		binary := envoytest.Default()
		config := fmt.Appendf(nil, `
node: {id: a, cluster: a}
dynamic_resources:
  ads_config: {api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: host}}]}
  cds_config: {ads: {}, resource_api_version: V3}
static_resources:
  clusters:
  - name: host
    type: STATIC
    http2_protocol_options: {}
    load_assignment:
      cluster_name: host
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]
`, host.Port())
		starting, giveUp := context.WithCancel(ctx)
		defer giveUp()
		result := make(chan error, 1)
		go func() {
			_, err := envoytest.Start(starting, envoytest.Options{Binary: binary, Config: config})
			result <- err
		}()
		Eventually(host.Connections, "10s").Should(BeNumerically(">=", 1), "Envoy asks its control plane")
		giveUp()
		Eventually(result).Should(Receive(MatchError(context.Canceled)))
	})

	It("that died by itself is an error of Stop", func(ctx SpecContext) {
		envoy, err := envoytest.Start(ctx, envoytest.Options{Binary: envoytest.Default(), Config: proxyTo(1, 2)})
		Expect(err).NotTo(HaveOccurred())
		_, err = envoy.Post(ctx, "/quitquitquit")
		Expect(err).NotTo(HaveOccurred())
		Eventually(envoy.Done()).Should(BeClosed())
		Expect(envoy.Stop()).To(MatchError(ContainSubstring("ended by itself")))
	})

	It("can be killed", func(ctx SpecContext) {
		envoy, err := envoytest.Start(ctx, envoytest.Options{Binary: envoytest.Default(), Config: proxyTo(1, 2)})
		Expect(err).NotTo(HaveOccurred())
		envoy.Kill()
		Expect(envoy.Done()).To(BeClosed())
		Expect(envoy.Stop()).To(Succeed(), "it was meant to end")
	})
})

// get requests path from a port of 127.0.0.1 and returns the header and the JSON.
func get(ctx context.Context, port uint32, path string) (http.Header, map[string]any) {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://localhost:%d%s", port, path), nil)
	Expect(err).NotTo(HaveOccurred())
	response, err := http.DefaultClient.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	Expect(response).To(HaveHTTPStatus(http.StatusOK))
	body, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	var answer map[string]any
	Expect(json.Unmarshal(body, &answer)).To(Succeed())
	return response.Header, answer
}
