package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/spf13/cobra"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/rest"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/files"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
)

// apiHost is the API of a host, on a store of its own.
type apiHost struct {
	address string
	store   *store.Store
}

// startAPI serves until the spec ends. documents are those of its one file; ""
// stands for no file.
func startAPI(documents string) *apiHost {
	GinkgoHelper()
	s, err := store.Open(GinkgoT().TempDir(), store.Options{Log: slog.New(slog.NewTextHandler(GinkgoWriter, nil))})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(s.Close)
	return startAPIOn(s, documents)
}

// startAPIOn is startAPI on a store that is there, with what it has by now.
func startAPIOn(s *store.Store, documents string) *apiHost {
	GinkgoHelper()
	log := slog.New(slog.NewTextHandler(GinkgoWriter, nil))
	o := catalog.Options{Store: s, Log: log}
	if documents != "" {
		var err error
		o.Files, err = files.Open(context.Background(), []string{fileOf(documents)}, files.Options{Check: catalog.Validate, Log: log})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(o.Files.Close)
	}
	c, err := catalog.New(o)
	Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = c.Run(ctx, func([]*api.Resource) {}) })
	DeferCleanup(func() {
		cancel()
		running.Wait()
	})
	server := httptest.NewServer(rest.New(rest.Options{Catalog: c, Store: s, Version: "v0", Log: log}))
	DeferCleanup(server.Close)
	return &apiHost{address: server.URL, store: s}
}

// fileOf writes a file for the spec.
func fileOf(content string) string {
	GinkgoHelper()
	file := filepath.Join(GinkgoT().TempDir(), "resources.yaml")
	Expect(os.WriteFile(file, []byte(content), 0o600)).To(Succeed())
	return file
}

// run runs a command that asks the host.
func (h *apiHost) run(ctx context.Context, cmd *cobra.Command, stdin string, args ...string) ran {
	return runAlone(ctx, cmd, stdin, append(args, "--address", h.address)...)
}

// applied applies documents, which must succeed.
func (h *apiHost) applied(ctx context.Context, documents string) string {
	GinkgoHelper()
	r := h.run(ctx, newApplyCommand(), documents, "-f", "-")
	Expect(r.code).To(Equal(exitOK), r.stderr)
	Expect(r.stderr).To(BeEmpty())
	return r.stdout
}

// exported is all that the host has.
func (h *apiHost) exported(ctx context.Context) string {
	GinkgoHelper()
	r := h.run(ctx, newExportCommand(), "")
	Expect(r.code).To(Equal(exitOK), r.stderr)
	return r.stdout
}

// shopMesh has a mesh with one resource of each kind.
const shopMesh = `type: Mesh
name: shop
---
type: ExternalService
mesh: shop
name: bank
tags: {kuma.io/service: bank, kuma.io/protocol: http}
networking: {address: 'bank.example:443', tls: {enabled: true}}
---
type: Dataplane
mesh: shop
name: till
networking:
  address: 127.0.0.1
  gateway: {tags: {kuma.io/service: till}}
  outbound: [{port: 10001, tags: {kuma.io/service: bank}}]
---
type: TrafficRoute
mesh: shop
name: bank
labels: {team: money}
sources: [{match: {kuma.io/service: till}}]
destinations: [{match: {kuma.io/service: bank}}]
conf:
  destination: {kuma.io/service: bank}
  mirror: {destination: {kuma.io/service: bank, version: v2}, percentage: 0.5}
`

var _ = Describe("commands that ask a host", func() {
	nobody := func() string {
		GinkgoHelper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		Expect(l.Close()).To(Succeed())
		return "http://" + l.Addr().String()
	}

	It("say how to start one where there is none", func(ctx SpecContext) {
		r := runAlone(ctx, newGetCommand(), "", "meshes", "--address", nobody())
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stdout).To(BeEmpty())
		Expect(r.stderr).To(ContainSubstring("nothing listens there; start the host with 'kuma-mirror run --data-dir DIR'"))
	})

	It("take address, token and certificates from the environment, too", func(ctx SpecContext) {
		var got string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r.Header.Get("Authorization")
			_, _ = io.WriteString(w, `{"items":[]}`)
		}))
		DeferCleanup(server.Close)
		GinkgoT().Setenv(envAddress, server.URL)
		GinkgoT().Setenv(envTokenFile, fileOf("s3cret-0123456789\n"))
		Expect(runAlone(ctx, newGetCommand(), "", "meshes").code).To(Equal(exitOK))
		Expect(got).To(Equal("Bearer s3cret-0123456789"))
		Expect(runAlone(ctx, newGetCommand(), "", "meshes", "--token-file", fileOf("other-0123456789")).code).To(Equal(exitOK))
		Expect(got).To(Equal("Bearer other-0123456789"), "a flag comes first")

		GinkgoT().Setenv(envCACertFile, "/does/not/exist")
		r := runAlone(ctx, newGetCommand(), "", "meshes")
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stderr).To(ContainSubstring("the CA certificates cannot be read: open /does/not/exist"))
	})

	DescribeTable("know wrong command lines", func(ctx SpecContext, cmd func() *cobra.Command, message string, args ...string) {
		r := runAlone(ctx, cmd(), "", append(args, "--address", "http://127.0.0.1:1")...)
		Expect(r.stderr).To(ContainSubstring(message))
		Expect(r.code).To(Equal(exitUsage))
		Expect(r.stdout).To(BeEmpty())
	},
		Entry("apply without a file", newApplyCommand, `"file" not set`),
		Entry("a format that is none", newApplyCommand, `--output "xml"`, "-f", "-", "-o", "xml"),
		Entry("a timeout that is none", newApplyCommand, "--timeout 0s", "-f", "-", "--timeout", "0s"),
		Entry("a diff of what is done", newApplyCommand, "--diff is only for --dry-run", "-f", "-", "--diff"),
		Entry("get of nothing", newGetCommand, "needs a kind of resource"),
		Entry("get of what is no kind", newGetCommand, `"pods" is no kind of resource; it is one of meshes (m), dataplanes (dp), external-services (es), traffic-routes (tr)`, "pods"),
		Entry("get of two", newGetCommand, "at most one name", "meshes", "a", "b"),
		Entry("get of a name in all meshes", newGetCommand, "leave out --all-meshes", "dp", "web", "-A"),
		Entry("get of one mesh and all", newGetCommand, "none of the others can be", "dp", "-A", "-m", "x"),
		Entry("delete of nothing", newDeleteCommand, "delete needs a kind and a name"),
		Entry("delete of a whole kind", newDeleteCommand, "delete needs a kind and a name", "traffic-routes"),
		Entry("delete of a file and a name", newDeleteCommand, "not both", "-f", "x", "tr", "web"),
		Entry("delete of a file in a mesh", newDeleteCommand, "has its mesh in the file", "-f", "x", "-m", "shop"),
		Entry("delete of what is no kind", newDeleteCommand, "is no kind of resource", "pod", "web"),
		Entry("export as a table", newExportCommand, `--output "table"`, "-o", "table"),
		Entry("export from nowhere", newExportCommand, `--source "host"`, "--source", "host"),
		Entry("export of two kinds", newExportCommand, "at most one kind", "dp", "tr"),
		Entry("export of what is no kind", newExportCommand, "is no kind of resource", "pods"),
		Entry("backup to nowhere", newBackupCommand, "needs one FILE"),
		Entry("restore from two", newRestoreCommand, "needs one FILE", "a", "b"),
	)

	DescribeTable("tell an address that is none", func(ctx SpecContext, address string) {
		r := runAlone(ctx, newGetCommand(), "", "meshes", "--address", address)
		Expect(r.code).To(Equal(exitUsage))
		Expect(r.stderr).To(ContainSubstring("the address"))
	},
		Entry("without a scheme", "127.0.0.1:5681"),
		Entry("of files", "file:///etc/passwd"),
	)

	It("end with their context", func() {
		hold := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold }))
		DeferCleanup(server.Close)
		DeferCleanup(func() { close(hold) })
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan ran, 1)
		go func() { done <- runAlone(ctx, newGetCommand(), "", "meshes", "--address", server.URL) }()
		cancel()
		var r ran
		Eventually(done).WithTimeout(5 * time.Second).Should(Receive(&r))
		Expect(r.code).To(Equal(exitFailed))
	})
})

var _ = Describe("completion", func() {
	complete := func(ctx SpecContext, h *apiHost, cmd *cobra.Command, args ...string) ([]string, cobra.ShellCompDirective) {
		GinkgoHelper()
		cmd.SetContext(ctx)
		Expect(cmd.ParseFlags([]string{"--address", h.address, "-m", "shop"})).To(Succeed())
		names, directive := cmd.ValidArgsFunction(cmd, args, "")
		return names, directive
	}

	It("knows kinds and names", func(ctx SpecContext) {
		h := startAPI("")
		h.applied(ctx, shopMesh)
		for _, cmd := range []func() *cobra.Command{newGetCommand, newDeleteCommand} {
			names, directive := complete(ctx, h, cmd())
			Expect(names).To(Equal([]string{"meshes", "dataplanes", "external-services", "traffic-routes"}))
			Expect(directive).To(Equal(cobra.ShellCompDirectiveNoFileComp))
			names, _ = complete(ctx, h, cmd(), "dp")
			Expect(names).To(Equal([]string{"till"}))
			names, _ = complete(ctx, h, cmd(), "pods")
			Expect(names).To(BeEmpty())
		}
		names, _ := complete(ctx, h, newGetCommand(), "dp", "till")
		Expect(names).To(BeEmpty(), "get takes one name")
		names, _ = complete(ctx, h, newDeleteCommand(), "dp", "till")
		Expect(names).To(Equal([]string{"till"}))

		cmd := newGetCommand()
		cmd.SetContext(ctx)
		Expect(cmd.ParseFlags([]string{"--address", h.address})).To(Succeed())
		meshes, ok := cmd.GetFlagCompletionFunc("mesh")
		Expect(ok).To(BeTrue())
		names, _ = meshes(cmd, nil, "")
		Expect(names).To(Equal([]string{"default", "shop"}))
	})

	It("does without a host that is not there", func(ctx SpecContext) {
		names, _ := complete(ctx, &apiHost{address: "http://127.0.0.1:1"}, newGetCommand(), "dp")
		Expect(names).To(BeEmpty())
	})
})
