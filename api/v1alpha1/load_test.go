package v1alpha1_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// endless gives zeros for ever and counts them.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return len(p), nil
}

var _ = Describe("Load", func() {
	var dir string
	var ctx context.Context
	stdin := strings.NewReader("")

	BeforeEach(func() {
		dir, ctx = GinkgoT().TempDir(), context.Background()
	})

	write := func(name, text string) string {
		GinkgoHelper()
		path := filepath.Join(dir, name)
		Expect(os.MkdirAll(filepath.Dir(path), 0o755)).To(Succeed())
		Expect(os.WriteFile(path, []byte(text), 0o644)).To(Succeed())
		return path
	}
	mesh := func(name string) string { return "type: Mesh\nname: " + name + "\n" }
	sources := func(resources []*api.Resource) []string {
		var names []string
		for _, r := range resources {
			names = append(names, strings.TrimPrefix(r.Source, dir+"/")+"="+r.Meta.Name)
		}
		return names
	}

	It("reads files, directories and standard input in the order given", func() {
		write("d/b.yaml", mesh("b1")+"---\n"+mesh("b2"))
		write("d/a.json", `{"type": "Mesh", "name": "a"}`)
		write("d/sub/c.yml", mesh("c"))
		write("d/README.md", "no resource")
		write("d/.hidden.yaml", mesh("hidden"))
		write("d/.git/e.yaml", mesh("hidden"))
		one := write("z.txt", mesh("z"))

		resources, err := api.Load(ctx, []string{one, filepath.Join(dir, "d"), api.Stdin}, strings.NewReader(mesh("in")))
		Expect(err).NotTo(HaveOccurred())
		Expect(sources(resources)).To(Equal([]string{"z.txt=z", "d/a.json=a", "d/b.yaml#1=b1", "d/b.yaml#2=b2", "d/sub/c.yml=c", "-=in"}))
	})

	It("reads a mounted ConfigMap once", func() {
		write("m/..2024_05_31/route.yaml", mesh("a"))
		Expect(os.Symlink("..2024_05_31", filepath.Join(dir, "m", "..data"))).To(Succeed())
		Expect(os.Symlink(filepath.Join("..data", "route.yaml"), filepath.Join(dir, "m", "route.yaml"))).To(Succeed())
		Expect(os.Symlink("m", filepath.Join(dir, "link"))).To(Succeed())

		resources, err := api.Load(ctx, []string{filepath.Join(dir, "link")}, stdin)
		Expect(err).NotTo(HaveOccurred())
		Expect(sources(resources)).To(Equal([]string{"link/route.yaml=a"}))
	})

	It("does not run in circles of links", func() {
		write("d/a.yaml", mesh("a"))
		Expect(os.Symlink("..", filepath.Join(dir, "d", "up"))).To(Succeed())
		Expect(api.Load(ctx, []string{filepath.Join(dir, "d")}, stdin)).To(HaveLen(1))
	})

	It("tells everything that is wrong with any path at once", func() {
		bad := write("d/bad.yaml", "type: Mesh\nname: 1\n")
		write("d/fine.yaml", mesh("fine"))
		empty := write("d/empty.yaml", "")
		dangling := filepath.Join(dir, "d", "gone.yaml")
		Expect(os.Symlink("nowhere", dangling)).To(Succeed())
		missing := filepath.Join(dir, "missing.yaml")

		resources, err := api.Load(ctx, []string{missing, filepath.Join(dir, "d")}, stdin)
		Expect(sources(resources)).To(Equal([]string{"d/fine.yaml=fine"}))
		Expect(err).To(MatchError(fs.ErrNotExist))
		var violations api.Violations
		Expect(errors.As(err, &violations)).To(BeTrue())
		Expect(violations).To(Equal(api.Violations{
			{Source: bad, Path: "name", Message: "must be a string, is the number 1; put it in quotes (line 2)"},
			{Source: empty, Message: "nothing in it: expected at least one resource"},
		}))
		Expect(err.Error()).To(ContainSubstring(missing))
		Expect(err.Error()).To(ContainSubstring(dangling))
	})

	It("names both places of two resources with one key", func() {
		a := write("a.yaml", mesh("m")+"---\ntype: Dataplane\nname: m\n")
		b := write("b.yaml", "apiVersion: kuma.io/v1alpha1\nkind: Mesh\nmetadata: {name: m}\n")
		_, err := api.Load(ctx, []string{a, b}, stdin)
		Expect(err).To(MatchError(b + `: Mesh "m": is already in ` + a + "#1; rename or remove one of the two"))
	})

	It("refuses a directory without a resource file", func() {
		write("d/README.md", "no resource")
		_, err := api.Load(ctx, []string{filepath.Join(dir, "d")}, stdin)
		Expect(err).To(MatchError(filepath.Join(dir, "d") + ": holds no resource file: *.yaml, *.yml or *.json"))
	})

	It("reads standard input only once", func() {
		_, err := api.Load(ctx, []string{api.Stdin, api.Stdin}, strings.NewReader(mesh("m")))
		Expect(err).To(MatchError("-: standard input can be read only once"))
	})

	It("refuses a large file by its size, unread", func() {
		path := write("large.yaml", "")
		Expect(os.Truncate(path, 50_000_000)).To(Succeed())
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := api.Load(ctx, []string{path}, stdin)
		runtime.ReadMemStats(&after)
		Expect(err).To(MatchError(path + ": is 50000000 bytes long; at most 4194304 (4 MiB) are read"))
		Expect(after.TotalAlloc - before.TotalAlloc).To(BeNumerically("<", 1<<20))
	})

	It("stops reading an endless input", func() {
		input := &endless{}
		_, err := api.Load(ctx, []string{api.Stdin}, input)
		Expect(err).To(MatchError("-: is longer than 4194304 bytes (4 MiB)"))
		Expect(input.read).To(BeNumerically("<=", api.MaxInputBytes+1))
	})

	It("passes on an error of the input", func() {
		_, err := api.Load(ctx, []string{api.Stdin}, io.MultiReader(strings.NewReader("type"), failing{}))
		Expect(err).To(MatchError(io.ErrClosedPipe))
	})

	It("ends when it is told to", func() {
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		resources, err := api.Load(cancelled, []string{write("a.yaml", mesh("m"))}, stdin)
		Expect(err).To(MatchError(context.Canceled))
		Expect(resources).To(BeEmpty())
	})

	DescribeTable("ends while it waits",
		func(ctx SpecContext, path func() string) {
			open, write, err := os.Pipe()
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(func() {
				Expect(write.Close()).To(Succeed())
				Expect(open.Close()).To(Succeed())
			})
			waiting, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			DeferCleanup(cancel)
			resources, err := api.Load(waiting, []string{path()}, open)
			Expect(err).To(Equal(context.DeadlineExceeded))
			Expect(resources).To(BeEmpty())
		},
		Entry("for standard input", NodeTimeout(10*time.Second), func() string { return api.Stdin }),
		Entry("for a pipe that nobody writes to", NodeTimeout(10*time.Second), func() string {
			path := filepath.Join(dir, "fifo")
			Expect(syscall.Mkfifo(path, 0o600)).To(Succeed())
			// Its opening for reading waits for a writer; this is the last one.
			DeferCleanup(func() {
				writer, err := os.OpenFile(path, os.O_RDWR, 0)
				Expect(err).NotTo(HaveOccurred())
				Expect(writer.Close()).To(Succeed())
			})
			return path
		}),
	)
})

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }
