package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"go.etcd.io/bbolt"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

var start = time.Date(2031, 2, 3, 4, 5, 6, 789, time.UTC)

// parse reads the one resource of a document.
func parse(document string) *api.Resource {
	GinkgoHelper()
	resources, err := api.Parse("test", []byte(document))
	Expect(err).NotTo(HaveOccurred())
	Expect(resources).To(HaveLen(1))
	return resources[0]
}

// service is an ExternalService of that name, at a host of that name.
func service(name, host string) *api.Resource {
	GinkgoHelper()
	return parse(fmt.Sprintf("type: ExternalService\nmesh: default\nname: %s\ntags: {kuma.io/service: %s}\nnetworking: {address: %q}\n", name, name, host+":80"))
}

// drafts are drafts of services, each written as "name=host".
func drafts(services ...string) []*Draft {
	GinkgoHelper()
	var all []*Draft
	for _, s := range services {
		name, host, _ := strings.Cut(s, "=")
		d, err := NewDraft(service(name, host))
		Expect(err).NotTo(HaveOccurred())
		d.Resource.Meta.CreationTime, d.Resource.Meta.ModificationTime = start, start.Add(time.Hour)
		all = append(all, d)
	}
	return all
}

func key(name string) api.Key {
	return api.Key{Kind: api.KindExternalService, Mesh: "default", Name: name}
}

// services are the services among records, each as "name=host".
func services(records []Record) []string {
	all := []string{}
	for _, r := range records {
		host, _, _ := strings.Cut(r.Resource.Spec.(*api.ExternalService).GetNetworking().GetAddress(), ":")
		all = append(all, r.Resource.Meta.Name+"="+host)
	}
	return all
}

// opened opens a store until the spec ends.
func opened(dir string, o Options) *Store {
	GinkgoHelper()
	s, err := Open(dir, o)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(s.Close)
	return s
}

func write(s *Store, services ...string) {
	GinkgoHelper()
	_, err := s.Write(drafts(services...), nil)
	Expect(err).NotTo(HaveOccurred())
}

// holds expects exactly these services in the store.
func holds(s *Store, want ...string) {
	GinkgoHelper()
	records, err := s.Records()
	Expect(err).NotTo(HaveOccurred())
	Expect(services(records)).To(Equal(append([]string{}, want...)))
	Expect(s.Status().Records).To(Equal(len(want)))
}

// quiet drops what is logged.
func quiet() Options { return Options{Log: slog.New(slog.DiscardHandler)} }

var _ = Describe("a store", func() {
	var dir, path string
	BeforeEach(func() {
		dir = filepath.Join(GinkgoT().TempDir(), "data")
		path = filepath.Join(dir, FileName)
	})

	It("has what was written when it is opened again, in either form", func() {
		s := opened(dir, quiet())
		documents := []string{
			"type: Mesh\nname: demo\n",
			"type: ExternalService\nmesh: demo\nname: a\nlabels: {x: <&>}\ntags: {kuma.io/service: a}\nnetworking: {address: \"a:1\"}\n",
			"apiVersion: kuma.io/v1alpha1\nkind: TrafficRoute\nmesh: demo\nmetadata: {name: b, namespace: n, annotations: {x: y}}\n" +
				"spec: {sources: [{match: {kuma.io/service: \"*\"}}], destinations: [{match: {kuma.io/service: \"*\"}}], conf: {destination: {kuma.io/service: c}}}\n",
		}
		var puts []*Draft
		for _, document := range documents {
			d, err := NewDraft(parse(document))
			Expect(err).NotTo(HaveOccurred())
			d.Resource.Meta.CreationTime, d.Resource.Meta.ModificationTime = start, start.Add(time.Nanosecond)
			puts = append(puts, d)
		}
		written, err := s.Write(puts, nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(s.Close()).To(Succeed())

		records, err := opened(dir, quiet()).Records()
		Expect(err).NotTo(HaveOccurred())
		Expect(records).To(HaveLen(3))
		for i, at := range []int{1, 0, 2} { // ordered by kind
			got, want := records[i], written[at]
			gotYAML, err := api.MarshalYAML(got.Resource)
			Expect(err).NotTo(HaveOccurred())
			wantYAML, err := api.MarshalYAML(want.Resource)
			Expect(err).NotTo(HaveOccurred())
			Expect(string(gotYAML)).To(Equal(string(wantYAML)))
			Expect(got.Resource.Meta).To(Equal(want.Resource.Meta))
			Expect(got.Resource.Meta.CreationTime).To(BeTemporally("==", start))
			Expect(got.Resource.Meta.ModificationTime).To(BeTemporally("==", start.Add(time.Nanosecond)))
			got.Resource, want.Resource = nil, nil
			Expect(got).To(Equal(want))
		}
	})

	It("writes and removes in one step, and counts every write", func() {
		s := opened(dir, quiet())
		write(s, "a=1", "b=1")
		records, err := s.Write(drafts("b=2", "c=2"), []api.Key{key("a"), key("never-there")})
		Expect(err).NotTo(HaveOccurred())
		Expect([]uint64{records[0].Revision, records[1].Revision}).To(Equal([]uint64{3, 4}))
		holds(s, "b=2", "c=2")

		again, err := s.Write(drafts("b=2"), nil)
		Expect(err).NotTo(HaveOccurred())
		Expect(again[0].Content).To(Equal(records[0].Content))
		Expect(again[0].Digest).NotTo(Equal(records[0].Digest))
		Expect(again[0].Content).NotTo(Equal(records[1].Content))
	})

	It("is for its owner alone, whatever the umask", func() {
		defer syscall.Umask(syscall.Umask(0))
		opened(dir, quiet())
		for name, mode := range map[string]os.FileMode{dir: 0o700, path: 0o600} {
			info, err := os.Stat(name)
			Expect(err).NotTo(HaveOccurred())
			Expect(info.Mode().Perm()).To(Equal(mode), name)
		}
		files, err := os.ReadDir(dir)
		Expect(err).NotTo(HaveOccurred())
		Expect(files).To(HaveLen(1))
	})

	It("warns of a file that others can read", func() {
		Expect(opened(dir, quiet()).Close()).To(Succeed())
		Expect(os.Chmod(path, 0o640)).To(Succeed())
		log := gbytes.NewBuffer()
		opened(dir, Options{Log: slog.New(slog.NewTextHandler(log, nil))})
		Expect(log).To(gbytes.Say("other users can read.*0600.*store.db"))
	})

	It("belongs to one process at a time", func() {
		s := opened(dir, quiet())
		_, err := Open(dir, quiet())
		Expect(err).To(MatchError(ErrInUse))
		Expect(err).To(MatchError(path + " is in use by another kuma-mirror; stop that one, or give this one a directory of its own"))
		write(s, "a=1")
		Expect(s.Close()).To(Succeed())
		holds(opened(dir, quiet()), "a=1")
	})

	It("says what is wrong with the way to it", func() {
		Expect(os.WriteFile(dir, nil, 0o600)).To(Succeed())
		_, err := Open(dir, quiet())
		Expect(err).To(MatchError(path + " cannot be opened: open " + path + ": not a directory"))
		_, err = Open(filepath.Join(dir, "below"), quiet())
		Expect(err).To(MatchError(ContainSubstring("not a directory")))

		o := quiet()
		o.openFile = func(string, int, os.FileMode) (*os.File, error) {
			return nil, &os.PathError{Op: "open", Path: path, Err: syscall.EACCES}
		}
		Expect(os.Remove(dir)).To(Succeed())
		_, err = Open(dir, o)
		Expect(err).To(MatchError(path + " cannot be opened: open " + path + ": permission denied; start as the user who owns it"))
	})

	It("tells the figures of each write", func() {
		var writes []Write
		o := quiet()
		o.OnWrite = func(w Write) { writes = append(writes, w) }
		s := opened(dir, o)
		_, err := s.Write(drafts("a=1", "b=1"), []api.Key{key("c")})
		Expect(err).NotTo(HaveOccurred())
		Expect(writes).To(HaveLen(1))
		Expect(writes[0].Records).To(Equal(3))
		Expect(writes[0].Duration).To(BeNumerically(">", 0))
		Expect(writes[0].Err).NotTo(HaveOccurred())
		info, err := os.Stat(path)
		Expect(err).NotTo(HaveOccurred())
		Expect(s.Status()).To(Equal(Status{Path: path, Records: 2, Bytes: info.Size()}))
	})

	It("refuses what could not be read back", func() {
		r := service("a", "b")
		r.Meta.Labels = map[string]string{"x": strings.Repeat("<", api.MaxInputBytes/6)}
		_, err := NewDraft(r)
		Expect(err).To(MatchError(MatchRegexp(`^is \d+ bytes long as JSON; at most 4194304 \(4 MiB\) can be stored$`)))
	})

	It("is not touched any more once it is closed", func() {
		s := opened(dir, quiet())
		Expect(s.Close()).To(Succeed())
		_, err := s.Write(drafts("a=1"), nil)
		Expect(err).To(MatchError("cannot write to " + path + ": database not open"))
		Expect(s.Backup(GinkgoWriter)).NotTo(Succeed())
	})

	It("removes what a crash left beside it, and nothing else", func() {
		Expect(os.MkdirAll(dir, 0o700)).To(Succeed())
		for _, name := range []string{".store-new-1", ".store-restore-2", "mine"} {
			Expect(os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600)).To(Succeed())
		}
		opened(dir, quiet())
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		Expect(err).NotTo(HaveOccurred())
		Expect(files).To(ConsistOf(filepath.Join(dir, "mine"), path))
		Expect(filepath.Join(dir, ".store-new-1")).NotTo(BeAnExistingFile())
		Expect(filepath.Join(dir, ".store-restore-2")).NotTo(BeAnExistingFile())
	})

	Describe("on a disk that fails", func() {
		It("changes nothing when the file cannot grow, and writes again when it can", func() {
			s := opened(dir, quiet())
			write(s, "a=1")
			limitFiles(s.Status().Bytes)
			_, err := s.Write([]*Draft{large("b")}, []api.Key{key("a")})
			Expect(err).To(MatchError(And(HavePrefix("cannot write to "+path), ContainSubstring("file too large"))))
			Expect(s.Status().Err).To(Equal(err))
			holds(s, "a=1")
			var backup strings.Builder
			Expect(s.Backup(&backup)).To(Succeed())

			limitFiles(-1)
			_, err = s.Write([]*Draft{large("b")}, []api.Key{key("a")})
			Expect(err).NotTo(HaveOccurred())
			Expect(s.Status().Err).NotTo(HaveOccurred())
			holds(s, "b=b")
			Expect(s.Close()).To(Succeed())
			holds(opened(dir, quiet()), "b=b")
		})

		It("cannot be made, and leaves nothing behind", func() {
			limitFiles(100)
			_, err := Open(dir, quiet())
			Expect(err).To(MatchError(And(HavePrefix("there is no store in "+dir+", and none can be made: "), ContainSubstring("file too large"))))
			limitFiles(-1)
			files, err := os.ReadDir(dir)
			Expect(err).NotTo(HaveOccurred())
			Expect(files).To(BeEmpty())
			holds(opened(dir, quiet()))
		})

		It("undoes what a failed write may have left in the file with the next one", func() {
			s := opened(dir, quiet())
			write(s, "a=1", "b=1")
			commit := s.commit
			s.commit = func(do func(*bbolt.Tx) error) error {
				return errors.Join(commit(do), syscall.EIO) // all went well but for the last word of the disk
			}
			for range 2 {
				_, err := s.Write(drafts("a=2", "c=2"), []api.Key{key("b")})
				Expect(err).To(MatchError(syscall.EIO))
			}
			s.commit = commit
			write(s, "d=1")
			holds(s, "a=1", "b=1", "d=1")
			Expect(s.Close()).To(Succeed())
			holds(opened(dir, quiet()), "a=1", "b=1", "d=1")
		})

		It("is not written to any more once bbolt says that it makes no sense", func() {
			s := opened(dir, quiet())
			s.commit = func(func(*bbolt.Tx) error) error { panic("page 3 already freed") }
			_, err := s.Write(drafts("a=1"), nil)
			Expect(err).To(MatchError("cannot write to " + path + ": is damaged: page 3 already freed"))
			s.commit = s.db.Update
			_, err = s.Write(drafts("a=1"), nil)
			Expect(err).To(MatchError(ErrDamaged))
			Expect(s.Close()).To(Succeed())
			Expect(s.db.Close()).To(Succeed())
		})

		It("is served from a file system that cannot be written to", func() {
			s := opened(dir, quiet())
			write(s, "a=1")
			Expect(s.Close()).To(Succeed())
			o := quiet()
			log := gbytes.NewBuffer()
			o.Log = slog.New(slog.NewTextHandler(log, nil))
			o.openFile = func(path string, flag int, mode os.FileMode) (*os.File, error) {
				if flag&(os.O_RDWR|os.O_WRONLY) != 0 {
					return nil, &os.PathError{Op: "open", Path: path, Err: syscall.EROFS}
				}
				return os.OpenFile(path, flag, mode)
			}
			s = opened(dir, o)
			Expect(log).To(gbytes.Say("cannot be written to"))
			holds(s, "a=1")
			_, err := s.Write(drafts("a=2"), nil)
			Expect(err).To(MatchError(ContainSubstring("its file system could not be written to")))
			holds(s, "a=1")
			Expect(s.Backup(GinkgoWriter)).To(Succeed())
		})
	})
})

// large is a draft that makes the file grow.
func large(name string) *Draft {
	GinkgoHelper()
	return long(name, 2*growth)
}

// long is a draft of at least so many bytes.
func long(name string, bytes int) *Draft {
	GinkgoHelper()
	r := service(name, name)
	r.Meta.Labels = map[string]string{"x": strings.Repeat("x", bytes)}
	d, err := NewDraft(r)
	Expect(err).NotTo(HaveOccurred())
	return d
}

// limitFiles lets no file of this process grow beyond so many bytes, as a full
// disk would, until the spec ends; a negative number lifts the limit.
func limitFiles(bytes int64) {
	GinkgoHelper()
	var limit syscall.Rlimit
	Expect(syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit)).To(Succeed())
	was := limit
	DeferCleanup(func() { Expect(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was)).To(Succeed()) })
	limit.Cur = limit.Max
	if bytes >= 0 {
		limit.Cur = uint64(bytes)
	}
	Expect(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)).To(Succeed())
}
