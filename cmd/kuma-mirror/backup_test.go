package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
)

var _ = Describe("kuma-mirror backup and restore", func() {
	var h *apiHost
	var file string
	BeforeEach(func(ctx SpecContext) {
		h = startAPI("")
		h.applied(ctx, toV2+"---\n"+shopMesh)
		file = filepath.Join(GinkgoT().TempDir(), "a.backup")
	})

	backup := func(ctx SpecContext, args ...string) ran { return h.run(ctx, newBackupCommand(), "", args...) }

	It("bring everything to another host", func(ctx SpecContext) {
		r := backup(ctx, file)
		Expect(r.code).To(Equal(exitOK), r.stderr)
		Expect(r.stdout).To(MatchRegexp(`^Saved [0-9.]+ KiB to ` + file + `\n$`))
		info, err := os.Stat(file)
		Expect(err).NotTo(HaveOccurred())
		Expect(info.Mode()).To(Equal(os.FileMode(0o600)))
		Expect(os.ReadDir(filepath.Dir(file))).To(HaveLen(1), "nothing else is left")

		other := startAPI("")
		r = other.run(ctx, newRestoreCommand(), "", file)
		Expect(r.code).To(Equal(exitOK), r.stderr)
		Expect(r.stdout).To(Equal("Restored 1 Mesh, 1 Dataplane, 1 ExternalService, 2 TrafficRoutes.\n"))
		Expect(other.exported(ctx)).To(Equal(h.exported(ctx)))
	})

	It("do not write over what is there, unless told to", func(ctx SpecContext) {
		Expect(os.WriteFile(file, []byte("precious"), 0o644)).To(Succeed())
		r := backup(ctx, file)
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stderr).To(Equal("Error: write " + file + ": is there already; choose another name, or add --force to replace it\n"))
		Expect(os.ReadFile(file)).To(BeEquivalentTo("precious"))
		Expect(backup(ctx, file, "--force").code).To(Equal(exitOK))
		Expect(os.ReadFile(file)).NotTo(BeEquivalentTo("precious"))

		// Of the host it comes from, this is all there is to lose.
		r = h.run(ctx, newRestoreCommand(), "", file)
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stderr).To(Equal("Error: nothing is restored: the store of " + h.address + " holds 1 Mesh, 1 Dataplane, 1 ExternalService, 2 TrafficRoutes, " +
			"which would be lost; save it with 'kuma-mirror backup', then add --force\n"))
		h.applied(ctx, "type: Mesh\nname: new\n")
		r = h.run(ctx, newRestoreCommand(), "", file, "--force")
		Expect(r.code).To(Equal(exitOK), r.stderr)
		Expect(r.stdout).To(Equal("Replaced 2 Meshes, 1 Dataplane, 1 ExternalService, 2 TrafficRoutes.\nRestored 1 Mesh, 1 Dataplane, 1 ExternalService, 2 TrafficRoutes.\n"))
		Expect(h.exported(ctx)).NotTo(ContainSubstring("new"))
	})

	It("go through pipes", func(ctx SpecContext) {
		r := backup(ctx, "-")
		Expect(r.code).To(Equal(exitOK), r.stderr)
		other := startAPI("")
		r = other.run(ctx, newRestoreCommand(), r.stdout, "-")
		Expect(r.code).To(Equal(exitOK), r.stderr)
		Expect(other.exported(ctx)).To(Equal(h.exported(ctx)))
	})

	It("do not lose what files hide", func(ctx SpecContext) {
		fromFile := startAPI("")
		fromFile.applied(ctx, toV2)
		Expect(backup(ctx, file).code).To(Equal(exitOK))
		hidden := startAPIOn(fromFile.store, toV2)
		Expect(hidden.run(ctx, newExportCommand(), "", "--source", "api").stdout).To(BeEmpty(), "the file is in its place")
		r := hidden.run(ctx, newRestoreCommand(), "", file)
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stderr).To(ContainSubstring("holds 1 TrafficRoute, which would be lost"))
	})

	It("do not ask for more than files hold", func(ctx SpecContext) {
		fromFile := startAPI(toV2)
		Expect(backup(ctx, file).code).To(Equal(exitOK))
		r := fromFile.run(ctx, newRestoreCommand(), "", file)
		Expect(r.code).To(Equal(exitOK), r.stderr)
	})

	DescribeTable("refuse what is no backup, and keep what is there", func(ctx SpecContext, content, message string) {
		before := h.exported(ctx)
		Expect(os.WriteFile(file, []byte(content), 0o600)).To(Succeed())
		r := h.run(ctx, newRestoreCommand(), "", file, "--force")
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stderr).To(ContainSubstring(message))
		Expect(h.exported(ctx)).To(Equal(before))
	},
		Entry("an empty file", "", "is empty, and no backup"),
		Entry("resources", toV2, "a.backup: is damaged"),
	)

	It("name files that cannot be", func(ctx SpecContext) {
		dir := GinkgoT().TempDir()
		Expect(backup(ctx, dir, "--force").stderr).To(ContainSubstring(dir + ": is a directory"))
		Expect(backup(ctx, filepath.Join(dir, "no", "such")).stderr).To(ContainSubstring("no such file or directory"))
		Expect(h.run(ctx, newRestoreCommand(), "", filepath.Join(dir, "none")).stderr).To(ContainSubstring("no such file or directory"))
		Expect(h.run(ctx, newRestoreCommand(), "", dir).stderr).To(ContainSubstring("is a directory"))
	})

	It("leave nothing of a backup that breaks off", func() {
		Expect(writeFile(file, false, func(w io.Writer) error {
			_, _ = w.Write([]byte("half"))
			return errors.New("broken off")
		})).To(MatchError("broken off"))
		Expect(os.ReadDir(filepath.Dir(file))).To(BeEmpty())
	})

	It("leave a file alone that came up meanwhile", func() {
		Expect(writeFile(file, false, func(io.Writer) error {
			return os.WriteFile(file, []byte("precious"), 0o600)
		})).To(MatchError(ContainSubstring("is there already")))
		Expect(os.ReadFile(file)).To(BeEquivalentTo("precious"))
	})
})

var _ = DescribeTable("sizes are for people", func(n int64, want string) {
	Expect(byteCount(n)).To(Equal(want))
},
	Entry(nil, int64(1), "1 byte"),
	Entry(nil, int64(1023), "1023 bytes"),
	Entry(nil, int64(65536), "64.0 KiB"),
	Entry(nil, int64(3<<20+200<<10), "3.2 MiB"),
)

var _ = Describe("a backup that is too long to be restored over the API", func() {
	It("says so when it is saved", func() {
		var out strings.Builder
		Expect(warnOfSize(&out, store.MaxBackupBytes)).To(Succeed())
		Expect(out.String()).To(BeEmpty())
		Expect(warnOfSize(&out, store.MaxBackupBytes+1)).To(Succeed())
		Expect(out.String()).To(HavePrefix("Warning: 'kuma-mirror restore' takes at most 256.0 MiB."))
	})

	It("is not sent", func(ctx SpecContext) {
		file := filepath.Join(GinkgoT().TempDir(), "a.backup")
		Expect(os.WriteFile(file, nil, 0o600)).To(Succeed())
		Expect(os.Truncate(file, store.MaxBackupBytes+1)).To(Succeed()) // of holes
		r := runAlone(ctx, newRestoreCommand(), "", file, "--address", "http://127.0.0.1:1")
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stderr).To(ContainSubstring("a host takes at most 256.0 MiB; put it in the place of the host's store.db"))
	})
})
