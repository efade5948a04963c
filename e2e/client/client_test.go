package client_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest/backend"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/plan"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/ads"
)

// freeAddress is one of this machine.
func freeAddress() string { return fmt.Sprintf("127.0.0.1:%d", envoytest.FreePorts(1)[0]) }

// configuration is what Envoy got over xDS, by type and name as in a plan.
func configuration(ctx SpecContext, e *envoytest.Envoy) map[string]string {
	GinkgoHelper()
	dump, err := e.Get(ctx, "/config_dump?include_eds")
	Expect(err).NotTo(HaveOccurred())
	type resource struct {
		Name        string
		ClusterName string `json:"cluster_name"`
	}
	var all struct {
		Configs []struct {
			Clusters []struct {
				Cluster json.RawMessage
			} `json:"dynamic_active_clusters"`
			Listeners []struct {
				Active struct{ Listener json.RawMessage } `json:"active_state"`
			} `json:"dynamic_listeners"`
			Routes []struct {
				Route json.RawMessage `json:"route_config"`
			} `json:"dynamic_route_configs"`
			Endpoints []struct {
				Endpoints json.RawMessage `json:"endpoint_config"`
			} `json:"dynamic_endpoint_configs"`
		}
	}
	Expect(json.Unmarshal(dump, &all)).To(Succeed())
	found := map[string]string{}
	add := func(t plan.Type, raw json.RawMessage) {
		var r resource
		Expect(json.Unmarshal(raw, &r)).To(Succeed())
		// The order in maps varies.
		var content any
		Expect(json.Unmarshal(raw, &content)).To(Succeed())
		found[string(t)+" "+r.Name+r.ClusterName] = fmt.Sprint(content)
	}
	for _, c := range all.Configs {
		for _, r := range c.Clusters {
			add(plan.Cluster, r.Cluster)
		}
		for _, r := range c.Listeners {
			add(plan.Listener, r.Active.Listener)
		}
		for _, r := range c.Routes {
			add(plan.Route, r.Route)
		}
		for _, r := range c.Endpoints {
			add(plan.Endpoints, r.Endpoints)
		}
	}
	return found
}

// differences are those between two configurations, in the words of a plan.
func differences(before, after map[string]string) []string {
	var out []string
	for name, content := range after {
		switch was, ok := before[name]; {
		case !ok:
			out = append(out, "added "+name)
		case was != content:
			out = append(out, "changed "+name)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			out = append(out, "removed "+name)
		}
	}
	return out
}

// announced is what a dry run, as JSON, says of the one data plane it names.
func announced(dryRun string) []string {
	GinkgoHelper()
	var p plan.Plan
	Expect(json.Unmarshal([]byte(dryRun), &p)).To(Succeed())
	Expect(p.Dataplanes).To(HaveExactElements(HaveField("Name", "web")))
	var out []string
	for _, c := range p.Dataplanes[0].Changes {
		out = append(out, fmt.Sprintf("%s %s %s", c.Change, c.Type, c.Name))
	}
	return out
}

const (
	plain    = "destination: {kuma.io/service: backend, version: v1}"
	mirrored = plain + "\nmirror: {destination: {kuma.io/service: backend, version: v2}, name: shadow}"
)

var _ = Describe("the client commands", func() {
	for _, version := range envoytest.Versions() {
		It("change what Envoy "+version+" does, just as a dry run says before", func(ctx SpecContext) {
			w := world.New(GinkgoT())
			primary, shadow := w.HTTP("v1"), w.HTTP("v2")
			w.Route(plain)
			h := startHost(GinkgoT().TempDir(), w.XDSAddress, freeAddress(), "http")
			Expect(h.done("", "apply", "-f", w.Dir)).To(ContainSubstring(`TrafficRoute "web" in mesh "default" created`))
			e := w.Envoy(ctx, envoytest.Binary(version), "web", ads.Delta)
			client := world.NewClient(GinkgoT(), w.URL, true)
			Expect(client.Send(ctx, world.Request{})).To(HaveField("Status", 200))
			Expect(shadow.Requests()).To(BeEmpty())

			before := configuration(ctx, e)
			route := world.Route("web", mirrored)
			said := announced(h.done(route, "apply", "-f", "-", "--dry-run", "-o", "json"))
			Expect(said).To(ConsistOf("changed route outbound:backend", ContainSubstring("added cluster"), ContainSubstring("added endpoints")))
			Expect(configuration(ctx, e)).To(Equal(before), "nothing is done yet")

			Expect(h.done(route, "apply", "-f", "-")).To(Equal("TrafficRoute \"web\" in mesh \"default\" configured\n"))
			Eventually(func() []string { return differences(before, configuration(ctx, e)) }).Should(ConsistOf(said))
			Expect(client.Send(ctx, world.Request{})).To(HaveField("Status", 200))
			Eventually(shadow.Requests).Should(HaveLen(1))
			Expect(h.done("", "get", "tr")).To(ContainSubstring("100 % to backend (version=v2)"))

			// In a hurry: it is off as soon as Envoy has it.
			before = configuration(ctx, e)
			said = announced(h.done("", "delete", "traffic-route", "web", "--dry-run", "-o", "json"))
			Expect(h.done("", "delete", "traffic-route", "web")).To(Equal("TrafficRoute \"web\" in mesh \"default\" deleted\n"))
			Eventually(func() []string { return differences(before, configuration(ctx, e)) }).Should(ConsistOf(said))
			Expect(primary.Requests()).NotTo(BeEmpty())
		})
	}

	DescribeTable("turn mirrors off in a hurry by the line that the guide has", func(apply string) {
		guide, err := os.ReadFile("../../docs/operate.md")
		Expect(err).NotTo(HaveOccurred())
		line := regexp.MustCompile(`(?m)^kuma-mirror get traffic-route backend .*$`).FindString(string(guide))
		Expect(line).NotTo(BeEmpty())
		policy := strings.Replace(world.Route("web", plain+"\nmirror: {destination: {kuma.io/service: backend, version: v2}, percentage: 30}"),
			"name: web", "name: backend", 1)
		h := startHost(GinkgoT().TempDir(), freeAddress(), freeAddress(), "http")
		shell := func(line string) {
			GinkgoHelper()
			cmd := exec.Command("sh", "-c", line)
			cmd.Stdin = strings.NewReader(policy)
			cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "KUMA_MIRROR_ADDRESS="+h.address)
			out, err := cmd.CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), string(out))
		}
		shell(apply)
		Expect(h.done("", "get", "tr")).To(ContainSubstring(" 30 % to backend"))
		shell(line)
		Expect(h.done("", "get", "tr")).To(ContainSubstring(" 0 % to backend"))
	},
		Entry("applied as they are written", "kuma-mirror apply -f -"),
		Entry("applied encoded, as kumactl does", "kuma-mirror encode -f - | kuma-mirror apply -f -"),
	)

	It("move a host's resources to another: by export, and by backup", func() {
		w := world.New(GinkgoT())
		w.Route(mirrored)
		dir := GinkgoT().TempDir()
		first := startHost(dir, freeAddress(), freeAddress(), "http")
		first.done("", "apply", "-f", w.Dir)
		exported := first.done("", "export")
		Expect(strings.Split(strings.TrimSpace(first.done(exported, "apply", "-f", "-")), "\n")).To(HaveEach(HaveSuffix(" unchanged")))
		file := filepath.Join(GinkgoT().TempDir(), "a.backup")
		first.done("", "backup", file)
		listed := first.done("", "get", "tr", "-o", "yaml")

		second := startHost(GinkgoT().TempDir(), freeAddress(), freeAddress(), "http")
		second.done(exported, "apply", "-f", "-")
		Expect(second.done("", "export")).To(Equal(exported))

		third := startHost(GinkgoT().TempDir(), freeAddress(), freeAddress(), "http")
		Expect(third.done("", "restore", file)).To(Equal("Restored 1 Dataplane, 1 TrafficRoute.\n"))
		Expect(third.done("", "get", "tr", "-o", "yaml")).To(Equal(listed), "with its times")

		first.session.Kill().Wait()
		r := first.run("", "get", "tr")
		Expect(r.code).To(Equal(1))
		Expect(r.stderr).To(ContainSubstring("start the host with 'kuma-mirror run --data-dir DIR'"))
		again := startHost(dir, freeAddress(), freeAddress(), "http")
		Expect(again.done("", "get", "tr", "-o", "yaml")).To(Equal(listed))
	})

	It("show what a host has from files, and do not write over it", func() {
		w := world.New(GinkgoT())
		w.Route(mirrored)
		h := startHost(GinkgoT().TempDir(), freeAddress(), freeAddress(), "http", "-f", w.Dir)
		Expect(h.done("", "get", "tr")).To(ContainSubstring("100 % to backend (version=v2)"))
		for _, args := range [][]string{{"apply", "-f", "-"}, {"delete", "-f", "-"}} {
			r := h.run(world.Route("web", plain), args...)
			Expect(r.code).To(Equal(1))
			Expect(r.stderr).To(ContainSubstring(filepath.Join(w.Dir, "route.yaml")))
		}
	})

	It("say what a host on a network asks for", func() {
		const admin, reader = "0123456789abcdef", "fedcba9876543210"
		write := func(name string, content []byte) string {
			GinkgoHelper()
			file := filepath.Join(GinkgoT().TempDir(), name)
			Expect(os.WriteFile(file, content, 0o600)).To(Succeed())
			return file
		}
		ca, err := backend.NewCA()
		Expect(err).NotTo(HaveOccurred())
		cert, key, err := ca.Issue("127.0.0.1")
		Expect(err).NotTo(HaveOccurred())
		h := startHost(GinkgoT().TempDir(), freeAddress(), freeAddress(), "https",
			"--tls-cert-file", write("cert.pem", cert), "--tls-key-file", write("key.pem", key),
			"--token-file", write("tokens", []byte(admin+" admin me\n"+reader+" reader you\n")))
		route := world.Route("web", mirrored)
		refused := func(message string, args ...string) {
			GinkgoHelper()
			r := h.run(route, args...)
			Expect(r.code).To(Equal(1))
			Expect(r.stdout).To(BeEmpty())
			Expect(r.stderr).To(ContainSubstring(message))
		}

		refused("--ca-cert-file", "get", "tr")
		https := h.address
		h.address = strings.Replace(https, "https", "http", 1)
		refused("use --address "+https, "get", "tr")
		h.address = https
		h.flags = []string{"--ca-cert-file", write("ca.pem", ca.PEM())}
		refused("name the file with the token by --token-file", "get", "tr")
		h.flags = append(h.flags, "--token-file", write("token", []byte("none-of-those-there\n")))
		refused("is not one that this host takes", "get", "tr")

		h.flags[3] = write("token", []byte(reader))
		Expect(h.done("", "get", "meshes")).To(ContainSubstring("default"))
		Expect(h.done(route, "apply", "-f", "-", "--dry-run")).To(ContainSubstring("created (dry run)"))
		refused("use a token that may do this", "apply", "-f", "-")
		h.flags[3] = write("token", []byte(admin))
		Expect(h.done(route, "apply", "-f", "-")).To(ContainSubstring("created"))
	})
})
