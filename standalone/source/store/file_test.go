package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing/iotest"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"go.etcd.io/bbolt"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

var pageSize = os.Getpagesize()

// damages is how often a file is damaged in one more way.
const damages = 60

// usedPages are the numbers of those that are not free.
func usedPages(data []byte) []int {
	GinkgoHelper()
	pages := []int{0, 1}
	f := image{data: data, pageSize: uint64(pageSize), end: uint64(len(data) / pageSize)}
	f.seen = make([]bool, f.end)
	Expect(f.read(latestMeta(data), func(place, []byte) error { return nil })).To(Succeed())
	for i, used := range f.seen {
		if used {
			pages = append(pages, i)
		}
	}
	return pages
}

// file makes a directory with a store of that content.
func file(content []byte) (dir string) {
	GinkgoHelper()
	dir = GinkgoT().TempDir()
	Expect(os.WriteFile(filepath.Join(dir, FileName), content, 0o600)).To(Succeed())
	return dir
}

// content is that of the file of a closed store.
func content(dir string) []byte {
	GinkgoHelper()
	data, err := os.ReadFile(filepath.Join(dir, FileName))
	Expect(err).NotTo(HaveOccurred())
	return data
}

// edit changes the file of a closed store.
func edit(dir string, do func(tx *bbolt.Tx)) {
	GinkgoHelper()
	db, err := bbolt.Open(filepath.Join(dir, FileName), 0o600, nil)
	Expect(err).NotTo(HaveOccurred())
	Expect(db.Update(func(tx *bbolt.Tx) error {
		do(tx)
		return nil
	})).To(Succeed())
	Expect(db.Close()).To(Succeed())
}

// version2 is what brings a store to a later version, in which the service "a"
// has another host.
var version2 = migrations{func(tx *bbolt.Tx) error {
	at := placeOf(key("a"))
	record, err := decode(at, at.get(tx))
	if err != nil {
		return err
	}
	d := drafts("a=new")[0]
	value, _, err := encode(d, record.Revision)
	if err != nil {
		return err
	}
	return at.put(tx, value)
}}

var _ = Describe("the file of a store", func() {
	var dir, path string
	var s *Store
	BeforeEach(func() {
		dir = filepath.Join(GinkgoT().TempDir(), "data")
		path = filepath.Join(dir, FileName)
		s = opened(dir, quiet())
		write(s, "a=1", "b=1", "c=1")
	})

	Describe("that is damaged", func() {
		const advice = "; move it away, put the last backup in its place under the same name, and start again; " +
			"without a backup, start without it and apply the resources anew"

		It("is refused, and what to do is said", func() {
			Expect(s.Close()).To(Succeed())
			for data, problem := range map[string]string{
				"":                                   "it is empty",
				"0123456789":                         "it is no bbolt file",
				strings.Repeat("type: Mesh\n", 1000): "it is no bbolt file",
				string(content(dir)[:3*pageSize]):    "it is cut off, 3 pages of ",
			} {
				dir := file([]byte(data))
				_, err := Open(dir, quiet())
				Expect(err).To(MatchError(ErrDamaged))
				Expect(err).To(MatchError(And(HavePrefix(filepath.Join(dir, FileName)+" is damaged: "+problem), HaveSuffix(advice))))
				Expect(content(dir)).To(HaveLen(len(data)), "it is left as it is")
			}
		})

		It("is refused where it is another's, a directory, or incomplete", func() {
			Expect(s.Close()).To(Succeed())
			for want, do := range map[string]func(*bbolt.Tx){
				"it is no store":           func(tx *bbolt.Tx) { Expect(tx.DeleteBucket([]byte(headBucket))).To(Succeed()) },
				"there is no schema 0":     func(tx *bbolt.Tx) { Expect(head{Records: 3}.write(tx)).To(Succeed()) },
				"2 records of 3 are there": func(tx *bbolt.Tx) { Expect(placeOf(key("a")).put(tx, nil)).To(Succeed()) },
				`the checksum of ExternalService "b" in mesh "default" is not`: func(tx *bbolt.Tx) {
					Expect(placeOf(key("b")).put(tx, placeOf(key("a")).get(tx))).To(Succeed())
				},
				`"y/z" is a bucket in another`: func(tx *bbolt.Tx) {
					b, err := tx.CreateBucket([]byte("x"))
					Expect(err).NotTo(HaveOccurred())
					_, err = b.CreateBucket([]byte("y/z"))
					Expect(err).NotTo(HaveOccurred())
				},
			} {
				dir := file(content(dir))
				edit(dir, do)
				_, err := Open(dir, quiet())
				Expect(err).To(MatchError(ErrDamaged), want)
				Expect(err).To(MatchError(ContainSubstring(want)))
			}
			other := GinkgoT().TempDir()
			Expect(os.Mkdir(filepath.Join(other, FileName), 0o700)).To(Succeed())
			_, err := Open(other, quiet())
			Expect(err).To(MatchError(ContainSubstring("is a directory")))
		})

		It("never gives anything else than what was once in it, and never ends the process", func() {
			// Enough for branches, for pages that overflow and for free ones.
			var first []string
			for i := range 200 {
				first = append(first, fmt.Sprintf("n%03d=host-%d", i, i))
			}
			write(s, first...)
			_, err := s.Write([]*Draft{long("long", 3*pageSize), long("longer", 20*pageSize)}, []api.Key{key("a"), key("b"), key("c")})
			Expect(err).NotTo(HaveOccurred())
			_, err = s.Write(nil, []api.Key{key("longer")})
			Expect(err).NotTo(HaveOccurred())
			first = append([]string{"long=long"}, first...)
			write(s, "n100=changed")
			second := slices.Clone(first)
			second[101] = "n100=changed"

			var backup bytes.Buffer // the file without the room at its end
			Expect(s.Backup(&backup)).To(Succeed())
			whole := backup.Bytes()
			// The longer one has left free pages, which nobody reads.
			used := usedPages(whole)
			random := rand.New(rand.NewPCG(uint64(GinkgoRandomSeed()), 0))
			refused := 0
			for range damages {
				data := bytes.Clone(whole)
				at := used[random.IntN(len(used))]*pageSize + random.IntN(pageSize)
				if random.IntN(2) == 0 {
					at -= at%pageSize - random.IntN(64) // the head of the page
				}
				switch random.IntN(8) {
				case 0:
					copy(data[at:], make([]byte, 64))
				case 1:
					data = data[:at]
				case 2: // another page in its place
					from := used[random.IntN(len(used))] * pageSize
					copy(data[at-at%pageSize:], whole[from:from+pageSize])
				default:
					data[at] ^= 1 << random.IntN(8)
				}
				dir := file(data)
				damaged, err := Open(dir, quiet())
				if err != nil {
					Expect(err).To(MatchError(ErrDamaged))
					refused++
					continue
				}
				records, err := damaged.Records()
				Expect(err).NotTo(HaveOccurred())
				// Of the two heads of the file one may be damaged, and the other
				// is that of the transaction before.
				Expect(services(records)).To(Or(Equal(second), Equal(first)))
				_, err = damaged.Write(drafts("n100=again"), nil)
				Expect(err).NotTo(HaveOccurred())
				Expect(damaged.Close()).To(Succeed())
			}
			Expect(refused).To(BeNumerically(">", damages/3))
		})
	})

	Describe("of another version", func() {
		It("is refused where that is a newer one, and what to do is said", func() {
			Expect(s.Close()).To(Succeed())
			edit(dir, func(tx *bbolt.Tx) { Expect(head{Schema: 3}.write(tx)).To(Succeed()) })
			before := content(dir)
			_, err := Open(dir, quiet())
			Expect(err).To(MatchError(ErrNewer))
			Expect(err).To(MatchError(path + " was written by a newer kuma-mirror: it has the schema 3, and this one knows up to 1; " +
				"start that version, or move the file away and put a backup of this version in its place"))
			Expect(content(dir)).To(Equal(before))
		})

		It("is refused where it has what this one does not know", func() {
			Expect(s.Close()).To(Succeed())
			for document, want := range map[string]string{
				`{"revision":1,"resource":{},"more":1}`:                                                     `ExternalService "a" in mesh "default": json: unknown field "more"`,
				`{"revision":1,"resource":{"type":"ExternalService","mesh":"default","name":"a","more":1}}`: "more: unknown field",
			} {
				dir := file(content(dir))
				edit(dir, func(tx *bbolt.Tx) {
					at := placeOf(key("a"))
					Expect(at.put(tx, sealed(at, []byte(document)))).To(Succeed())
				})
				_, err := Open(dir, quiet())
				Expect(err).To(MatchError(ErrNewer))
				Expect(err).To(MatchError(ContainSubstring(want)))
			}
		})

		It("is brought up to date where that is an older one, and kept as it was", func() {
			Expect(s.Close()).To(Succeed())
			log := gbytes.NewBuffer()
			s := opened(dir, Options{Log: slog.New(slog.NewTextHandler(log, nil)), migrations: version2})
			holds(s, "a=new", "b=1", "c=1")
			Expect(log).To(gbytes.Say("brought the store up to date.*from=1 to=2 before=.*store.db.schema-1"))
			write(s, "c=2")
			Expect(s.Close()).To(Succeed())
			holds(opened(dir, Options{Log: quiet().Log, migrations: version2}), "a=new", "b=1", "c=2")

			// Back to the version before, with what it had.
			old := GinkgoT().TempDir()
			Expect(os.Rename(path+".schema-1", filepath.Join(old, FileName))).To(Succeed())
			holds(opened(old, quiet()), "a=1", "b=1", "c=1")
		})

		It("stays as it was where it cannot be brought up to date", func() {
			Expect(s.Close()).To(Succeed())
			failing := migrations{version2[0], func(*bbolt.Tx) error { return fmt.Errorf("no way") }}
			_, err := Open(dir, Options{Log: quiet().Log, migrations: failing})
			Expect(err).To(MatchError(path + " cannot be brought from schema 2 to 3: no way"))
			holds(opened(dir, quiet()), "a=1", "b=1", "c=1")
		})

		It("is not touched where no copy of it can be kept", func() {
			Expect(s.Close()).To(Succeed())
			before := content(dir)
			limitFiles(4096)
			_, err := Open(dir, Options{Log: quiet().Log, migrations: version2})
			Expect(err).To(MatchError(ContainSubstring("cannot be brought up to date, as no copy of it can be kept: ")))
			limitFiles(-1)
			Expect(content(dir)).To(Equal(before))
			Expect(filepath.Glob(filepath.Join(dir, ".*"))).To(BeEmpty())
		})
	})

	Describe("as a backup", func() {
		backup := func(s *Store) []byte {
			GinkgoHelper()
			var out bytes.Buffer
			Expect(s.Backup(&out)).To(Succeed())
			return out.Bytes()
		}

		It("is read by a store that stays as it is", func() {
			data := backup(s)
			write(s, "a=2")
			records, err := s.ReadBackup(bytes.NewReader(data))
			Expect(err).NotTo(HaveOccurred())
			Expect(services(records)).To(Equal([]string{"a=1", "b=1", "c=1"}))
			Expect(records[0].Resource.Meta.CreationTime).To(BeTemporally("==", start))
			holds(s, "a=2", "b=1", "c=1")
			Expect(filepath.Glob(filepath.Join(dir, ".*"))).To(BeEmpty())
		})

		It("can take the place of the file", func() {
			holds(opened(file(backup(s)), quiet()), "a=1", "b=1", "c=1")
		})

		It("is of one moment, while writes go on", func() {
			stop := make(chan struct{})
			var writer sync.WaitGroup
			writer.Go(func() {
				defer GinkgoRecover()
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
						n := fmt.Sprint(i)
						write(s, "a="+n, "b="+n, "c="+n, fmt.Sprintf("new-%03d=%s", i%100, n))
					}
				}
			})
			for range 20 {
				records, err := s.ReadBackup(bytes.NewReader(backup(s)))
				Expect(err).NotTo(HaveOccurred())
				hosts := services(records)
				Expect(hosts[0][2:]).To(And(Equal(hosts[1][2:]), Equal(hosts[2][2:])))
			}
			close(stop)
			writer.Wait()
		})

		It("does not hold up writes, however slowly it is taken", func() {
			out, in := io.Pipe()
			taken := make(chan error, 1)
			go func() { taken <- errors.Join(s.Backup(in), in.Close()) }()
			defer func() { _ = out.Close() }()
			_, err := io.ReadFull(out, make([]byte, 10))
			Expect(err).NotTo(HaveOccurred())
			for i := range 5 {
				_, err := s.Write([]*Draft{large(fmt.Sprintf("n%d", i))}, nil) // the file grows
				Expect(err).NotTo(HaveOccurred())
			}
			Expect(taken).NotTo(Receive())
			_, err = io.Copy(io.Discard, out)
			Expect(err).NotTo(HaveOccurred())
			Eventually(taken).WithTimeout(10 * time.Second).Should(Receive(BeNil()))
		})

		It("that is too long to be read is taken with a warning, and still takes the place of the file", func() {
			Expect(s.Close()).To(Succeed())
			o, log := quiet(), gbytes.NewBuffer()
			o.Log, o.maxBackup = slog.New(slog.NewTextHandler(log, nil)), 10
			s = opened(dir, o)
			Expect(log.Contents()).To(BeEmpty())
			data := backup(s)
			Expect(log).To(gbytes.Say("a backup is longer than a restore takes.*can only take the place of the store's file.*most=10"))
			_, err := s.ReadBackup(bytes.NewReader(data))
			Expect(err).To(And(MatchError(ErrDamaged), MatchError(ContainSubstring("longer than 10 bytes"))))
			holds(opened(file(data), quiet()), "a=1", "b=1", "c=1")
		})

		It("of an older version is brought up to date", func() {
			data := backup(s)
			later := opened(GinkgoT().TempDir(), Options{Log: quiet().Log, migrations: version2})
			records, err := later.ReadBackup(bytes.NewReader(data))
			Expect(err).NotTo(HaveOccurred())
			Expect(services(records)).To(Equal([]string{"a=new", "b=1", "c=1"}))
			_, err = s.ReadBackup(bytes.NewReader(backup(later)))
			Expect(err).To(MatchError(ErrNewer))
		})

		It("is refused where it is damaged or cut off anywhere", func() {
			data := backup(s)
			for length := 0; length < len(data); length += pageSize / 4 {
				_, err := s.ReadBackup(bytes.NewReader(data[:length]))
				Expect(err).To(MatchError(ErrDamaged), "%d of %d bytes", length, len(data))
			}
			at := bytes.Index(data, []byte(`"address":"1:80"`))
			Expect(at).To(BeNumerically(">", 0))
			data[at+11] ^= 1
			_, err := s.ReadBackup(bytes.NewReader(data))
			Expect(err).To(MatchError(ErrDamaged))
		})

		It("fails with what reads it, or with the disk", func() {
			_, err := s.ReadBackup(iotest.ErrReader(io.ErrUnexpectedEOF))
			Expect(err).To(MatchError(io.ErrUnexpectedEOF))
			later := opened(GinkgoT().TempDir(), Options{Log: quiet().Log, migrations: version2})
			data := backup(s)
			limitFiles(100)
			_, err = later.ReadBackup(bytes.NewReader(data)) // which takes a file to bring it up to date
			Expect(err).To(MatchError(ContainSubstring("file too large")))
			Expect(err).NotTo(MatchError(ErrDamaged))
			Expect(filepath.Glob(filepath.Join(dir, ".*"))).To(BeEmpty())
		})
	})

	It("holds each kind in a bucket of its own", func() {
		d, err := NewDraft(parse("type: Mesh\nname: a\n"))
		Expect(err).NotTo(HaveOccurred())
		_, err = s.Write([]*Draft{d}, nil)
		Expect(err).NotTo(HaveOccurred())
		_, err = s.Write(nil, []api.Key{key("a")})
		Expect(err).NotTo(HaveOccurred())
		records, err := s.Records()
		Expect(err).NotTo(HaveOccurred())
		Expect(records).To(HaveLen(3))
		Expect(records[2].Resource.Key()).To(Equal(api.Key{Kind: api.KindMesh, Name: "a"}))
	})
})
