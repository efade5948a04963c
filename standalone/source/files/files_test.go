package files

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/types"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
)

// service is a document of an ExternalService called name, at the host address.
func service(name, address string) string {
	return fmt.Sprintf("type: ExternalService\nname: %s\ntags: {kuma.io/service: %s}\nnetworking: {address: %s:80}\n", name, name, address)
}

// follower runs a Source and remembers what it emitted.
type follower struct {
	source *Source
	log    *gbytes.Buffer

	mu   sync.Mutex
	seen [][]string
}

// aged makes the files ones that nobody has written lately.
func aged(paths ...string) {
	GinkgoHelper()
	then := time.Now().Add(-time.Minute)
	for _, root := range paths {
		Expect(filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			return os.Chtimes(path, then, then)
		})).To(Succeed())
	}
}

// follow opens the paths and follows them until the spec ends.
func follow(paths ...string) *follower {
	GinkgoHelper()
	aged(paths...)
	f := &follower{log: gbytes.NewBuffer()}
	source, err := Open(context.Background(), paths, Options{Check: mesh.Validate, Log: slog.New(slog.NewTextHandler(f.log, nil))})
	Expect(err).NotTo(HaveOccurred())
	f.source = source
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx, f.emit) }()
	DeferCleanup(func() {
		cancel()
		Eventually(ended).Should(Receive(BeNil()))
		Expect(source.Close()).To(Succeed())
	})
	Eventually(f.sets).ShouldNot(BeEmpty())
	return f
}

// emit notes each set as "name=host", ordered by name.
func (f *follower) emit(resources []*api.Resource) {
	set := []string{}
	for _, r := range resources {
		address := r.Spec.(*api.ExternalService).GetNetworking().GetAddress()
		set = append(set, r.Meta.Name+"="+strings.TrimSuffix(address, ":80"))
	}
	slices.Sort(set)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, set)
}

func (f *follower) sets() [][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seen)
}

func (f *follower) latest() []string {
	sets := f.sets()
	return sets[len(sets)-1]
}

func (f *follower) comesTo(set ...string) {
	GinkgoHelper()
	Eventually(f.latest).Should(Equal(append([]string{}, set...)))
}

// always fails if there ever was a set that does not match.
func (f *follower) always(matcher types.GomegaMatcher) {
	GinkgoHelper()
	Expect(f.sets()).To(HaveEach(matcher))
}

// reports waits for a problem with the file.
func (f *follower) reports(path, message string) {
	GinkgoHelper()
	Eventually(f.problems).WithArguments(path).Should(ContainSubstring(message))
	Eventually(f.log).Should(gbytes.Say("refused.*" + filepath.Base(path)))
}

func (f *follower) problems(path string) string {
	for _, s := range f.source.Status() {
		if s.Path == path {
			return s.Problems.Error()
		}
	}
	return ""
}

var _ = Describe("the files", func() {
	var dir string

	// write replaces a file by another.
	write := func(name, content string) string {
		GinkgoHelper()
		path := filepath.Join(dir, name)
		next := filepath.Join(filepath.Dir(path), ".next")
		Expect(os.MkdirAll(filepath.Dir(path), 0o755)).To(Succeed())
		Expect(os.WriteFile(next, []byte(content), 0o644)).To(Succeed())
		Expect(os.Rename(next, path)).To(Succeed())
		return path
	}
	inPlace := func(name, content string) {
		GinkgoHelper()
		Expect(os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644)).To(Succeed())
	}
	rename := func(from, to string) {
		GinkgoHelper()
		Expect(os.Rename(filepath.Join(dir, from), filepath.Join(dir, to))).To(Succeed())
	}
	remove := func(name string) {
		GinkgoHelper()
		Expect(os.RemoveAll(filepath.Join(dir, name))).To(Succeed())
	}
	link := func(target, name string) {
		GinkgoHelper()
		Expect(os.Symlink(target, filepath.Join(dir, name))).To(Succeed())
	}

	BeforeEach(func() { dir = GinkgoT().TempDir() })

	Describe("at the start", func() {
		It("are read with those of sub-directories, without hidden ones and other kinds", func() {
			write("a.yaml", service("a", "one")+"---\n"+service("b", "one"))
			write("sub/deeper/c.yml", service("c", "one"))
			write("d.json", `{"type": "ExternalService", "name": "d", "tags": {"kuma.io/service": "d"}, "networking": {"address": "one:80"}}`)
			write(".hidden.yaml", "nonsense")
			write(".git/e.yaml", "nonsense")
			write("a.yaml~", "nonsense")
			f := follow(dir)
			Expect(f.latest()).To(Equal([]string{"a=one", "b=one", "c=one", "d=one"}))
			Expect(f.source.Status()).To(HaveLen(3))
			Expect(f.source.Status()[0]).To(Equal(Status{Path: filepath.Join(dir, "a.yaml"), Resources: 2}))
		})

		It("may be named one by one, and twice", func() {
			a, b := write("a.yaml", service("a", "one")), write("b.txt", service("b", "one"))
			f := follow(a, b, dir)
			Expect(f.latest()).To(Equal([]string{"a=one", "b=one"}))
		})

		It("have all that is wrong with them told at once", func() {
			write("a.yaml", service("a", "one"))
			write("b.yaml", service("a", "one"))
			write("c.yaml", "type: Nonsense\nname: x\n")
			write("d.yaml", strings.Replace(service("d", "one"), "one:80", "one:99999", 1))
			link("nowhere", "f.yaml")
			_, err := Open(context.Background(), []string{dir, "/does/not/exist", "-"}, Options{Check: mesh.Validate})
			Expect(err).To(MatchError(And(
				ContainSubstring("b.yaml: ExternalService \"a\" in mesh \"default\": is already in "+dir+"/a.yaml"),
				ContainSubstring("c.yaml: type: unknown type \"Nonsense\""),
				ContainSubstring("d.yaml: ExternalService \"d\""),
				ContainSubstring("f.yaml: cannot be read: no such file"),
				ContainSubstring("/does/not/exist: cannot be read: no such file"),
				ContainSubstring("-: standard input cannot be followed"),
			)))
		})

		It("must be some", func() {
			_, err := Open(context.Background(), []string{dir}, Options{Check: mesh.Validate})
			Expect(err).To(MatchError(dir + ": holds no resource file: *.yaml, *.yml or *.json"))
		})
	})

	Describe("that change", func() {
		It("are taken when they are written in place", func() {
			write("a.yaml", service("a", "one"))
			f := follow(dir)
			inPlace("a.yaml", service("a", "two"))
			f.comesTo("a=two")
			inPlace("a.yaml", service("a", "three"))
			f.comesTo("a=three")
		})

		It("are taken when an editor replaces them by another file", func() {
			write("a.yaml", service("a", "one"))
			f := follow(filepath.Join(dir, "a.yaml"))
			write(".a.yaml.swp", service("a", "two"))
			rename(".a.yaml.swp", "a.yaml")
			f.comesTo("a=two")
			write("4913", service("a", "three"))
			rename("4913", "a.yaml")
			f.comesTo("a=three")
		})

		It("never seem to be gone while an editor puts the old one aside first", func() {
			write("a.yaml", service("a", "one"))
			write("b.yaml", service("b", "one"))
			f := follow(dir)
			rename("a.yaml", "a.yaml~")
			write("b.yaml", service("b", "two")) // makes it look in between
			f.comesTo("a=one", "b=two")
			inPlace("a.yaml", service("a", "two"))
			f.comesTo("a=two", "b=two")
			f.always(ContainElement(HavePrefix("a=")))
		})

		It("never seem to be empty while a shell truncates them first", func() {
			write("a.yaml", service("a", "one"))
			f := follow(dir)
			inPlace("a.yaml", "")
			write("b.yaml", service("b", "one")) // makes it look in between
			f.comesTo("a=one", "b=one")
			inPlace("a.yaml", service("a", "two"))
			f.comesTo("a=two", "b=one")
			Expect(f.log).NotTo(gbytes.Say("refused"))
		})

		It("are taken once for a burst of writes, and in the end as they are", func() {
			write("a.yaml", service("a", "zero"))
			f := follow(dir)
			for i := range 300 {
				inPlace("a.yaml", service("a", fmt.Sprintf("n%d", i)))
			}
			f.comesTo("a=n299")
			f.always(Or(Equal([]string{"a=zero"}), Equal([]string{"a=n299"})))
		})

		It("are taken even if the writing never pauses", func() {
			write("a.yaml", service("a", "zero"))
			write("busy.yaml", service("busy", "one"))
			f := follow(dir)
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for {
					select {
					case <-stop:
						return
					case <-time.After(quiet / 4):
						_ = os.Chtimes(filepath.Join(dir, "busy.yaml"), time.Now(), time.Now())
					}
				}
			}()
			write("a.yaml", service("a", "one"))
			f.comesTo("a=one", "busy=one")
			close(stop)
			Eventually(stopped).Should(BeClosed())
		})

		It("appear", func() {
			write("a.yaml", service("a", "one"))
			f := follow(dir)
			write("b.yaml", service("b", "one"))
			f.comesTo("a=one", "b=one")
		})

		It("disappear with their resources", func() {
			write("a.yaml", service("a", "one"))
			write("b.yaml", service("b", "one"))
			f := follow(dir)
			remove("b.yaml")
			f.comesTo("a=one")
			Eventually(f.log).Should(gbytes.Say("gone.*b.yaml"))
			Expect(f.source.Status()).To(HaveLen(1))
		})

		It("are renamed without a moment in which they are missing", func() {
			write("a.yaml", service("a", "one"))
			f := follow(dir)
			rename("a.yaml", "b.yaml")
			Eventually(func() []Status { return f.source.Status() }).
				Should(Equal([]Status{{Path: filepath.Join(dir, "b.yaml"), Resources: 1}}))
			f.always(Equal([]string{"a=one"}))
			Expect(f.log).NotTo(gbytes.Say("refused"))
		})

		It("lie in sub-directories that appear, change, are renamed and go", func() {
			write("a.yaml", service("a", "one"))
			f := follow(dir)
			write("x/y/b.yaml", service("b", "one"))
			f.comesTo("a=one", "b=one")
			write("x/y/b.yaml", service("b", "two"))
			f.comesTo("a=one", "b=two")
			rename("x", "z")
			write("z/y/b.yaml", service("b", "three"))
			f.comesTo("a=one", "b=three")
			write("z/y/b.yaml", service("b", "four"))
			f.comesTo("a=one", "b=four")
			remove("z")
			f.comesTo("a=one")
		})

		It("are swapped as a mounted ConfigMap is", func() {
			write("..one/a.yaml", service("a", "one"))
			write("..one/b.yaml", service("b", "one"))
			link("..one", "..data")
			link("..data/a.yaml", "a.yaml")
			link("..data/b.yaml", "b.yaml")
			f := follow(dir)
			Expect(f.latest()).To(Equal([]string{"a=one", "b=one"}))
			for _, next := range []string{"two", "three"} {
				write(".."+next+"/a.yaml", service("a", next))
				write(".."+next+"/b.yaml", service("b", next))
				link(".."+next, "..data_tmp")
				rename("..data_tmp", "..data")
				f.comesTo("a="+next, "b="+next)
			}
			remove("..one")
			remove("..two")
			f.always(Or(Equal([]string{"a=one", "b=one"}), Equal([]string{"a=two", "b=two"}), Equal([]string{"a=three", "b=three"})))
		})

		It("are swapped where a link on the way to the directory is", func() {
			write("releases/1/conf/a.yaml", service("a", "one"))
			write("releases/2/conf/a.yaml", service("a", "two"))
			link("releases/1", "current")
			f := follow(filepath.Join(dir, "current", "conf"))
			link("releases/2", "next")
			rename("next", "current")
			f.comesTo("a=two")
			write("releases/2/conf/a.yaml", service("a", "three"))
			f.comesTo("a=three")
		})

		It("are replaced with the whole directory", func() {
			write("conf/a.yaml", service("a", "one"))
			write("new/b.yaml", service("b", "two"))
			f := follow(filepath.Join(dir, "conf"))
			rename("conf", "old")
			rename("new", "conf")
			f.comesTo("b=two")
			write("conf/b.yaml", service("b", "three"))
			f.comesTo("b=three")
		})

		It("stay in use when the directory itself is gone, and are followed when it is back", func() {
			write("conf/sub/a.yaml", service("a", "one"))
			f := follow(filepath.Join(dir, "conf"))
			remove("conf")
			f.reports(filepath.Join(dir, "conf"), "no such file")
			Expect(f.latest()).To(Equal([]string{"a=one"}))
			write("conf/sub/a.yaml", service("a", "two"))
			f.comesTo("a=two")
			Eventually(func() []Status { return f.source.Status() }).Should(HaveLen(1))
		})

		It("are read again after the kernel has lost events", func() {
			write("a.yaml", service("a", "one"))
			f := follow(dir)
			real, err := filepath.EvalSymlinks(dir)
			Expect(err).NotTo(HaveOccurred())
			Expect(f.source.watches.watcher.Remove(real)).To(Succeed())
			write("a.yaml", service("a", "two"))
			f.source.watches.watcher.Errors <- fsnotify.ErrEventOverflow
			f.comesTo("a=two")
			write("a.yaml", service("a", "three"))
			f.comesTo("a=three")
		})
	})

	Describe("that are bad", func() {
		DescribeTable("keep what they held, while others go on", func(content, message string) {
			a := write("a.yaml", service("a", "one"))
			write("b.yaml", service("b", "one"))
			f := follow(dir)
			write("a.yaml", content)
			f.reports(a, message)
			write("b.yaml", service("b", "two"))
			f.comesTo("a=one", "b=two")
			f.always(ContainElement("a=one"))

			write("a.yaml", service("a", "three"))
			f.comesTo("a=three", "b=two")
			Expect(f.problems(a)).To(BeEmpty())
			Eventually(f.log).Should(gbytes.Say("in use again.*a.yaml"))
		},
			Entry("as they are no YAML", "type: [", "not YAML"),
			Entry("as a field is unknown", service("a", "two")+"nonsense: 1\n", "nonsense: unknown field"),
			Entry("as a value is not allowed", strings.Replace(service("a", "two"), "two:80", "two:99999", 1), "address"),
			Entry("as they are truncated", "type: ExternalService\nna", "a.yaml"),
			Entry("as one of several documents is bad", service("a", "two")+"---\nnonsense: 1\n", "a.yaml#2"),
			Entry("as they are too long", strings.Repeat("#\n", api.MaxInputBytes/2+1), "4 MiB"),
		)

		It("are reported once for each change", func() {
			a := write("a.yaml", service("a", "one"))
			f := follow(dir)
			write("a.yaml", "type: [")
			f.reports(a, "not YAML")
			write("b.yaml", service("b", "one"))
			f.comesTo("a=one", "b=one")
			now := time.Now()
			Expect(os.Chtimes(a, now, now)).To(Succeed())
			Consistently(f.log, 2*settle).ShouldNot(gbytes.Say("refused"))
			write("a.yaml", "type: {")
			Eventually(f.log).Should(gbytes.Say("refused.*a.yaml"))
		})

		It("contribute nothing when they are new", func() {
			write("a.yaml", service("a", "one"))
			f := follow(dir)
			b := write("b.yaml", "type: [")
			f.reports(b, "not YAML")
			Expect(f.sets()).To(HaveLen(1))
			remove("b.yaml")
			Eventually(f.source.Status).Should(HaveLen(1))
			Expect(f.sets()).To(HaveLen(1))
		})

		It("are those that bring a resource a second time, until the first gives it up", func() {
			write("b.yaml", service("b", "one"))
			f := follow(dir)
			a := write("a.yaml", service("b", "two")) // read before b.yaml, and still the later one
			f.reports(a, "is already in "+filepath.Join(dir, "b.yaml"))
			Expect(f.latest()).To(Equal([]string{"b=one"}))
			write("b.yaml", service("c", "one"))
			f.comesTo("b=two", "c=one")
			Expect(f.problems(a)).To(BeEmpty())
		})

		It("are not those that exchange resources with another", func() {
			write("a.yaml", service("a", "one"))
			write("b.yaml", service("b", "one"))
			f := follow(dir)
			write("a.yaml", service("b", "two"))
			write("b.yaml", service("a", "two"))
			f.comesTo("a=two", "b=two")
			Expect(f.log).NotTo(gbytes.Say("refused"))
		})

		It("do not hold up a good one that changes with them", func() {
			write("a.yaml", service("a", "one"))
			write("b.yaml", service("b", "one"))
			f := follow(dir)
			c := write("c.yaml", service("a", "two"))
			write("b.yaml", service("b", "two"))
			f.comesTo("a=one", "b=two")
			f.reports(c, "is already in")
		})

		It("are links that lead nowhere any more", func() {
			write("target", service("a", "one"))
			link("target", "a.yaml")
			f := follow(dir)
			remove("target")
			f.reports(filepath.Join(dir, "a.yaml"), "no such file")
			Expect(f.latest()).To(Equal([]string{"a=one"}))
			write("target", service("a", "two"))
			f.comesTo("a=two")
		})
	})
})
