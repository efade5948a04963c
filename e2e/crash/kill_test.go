package crash_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

const (
	// writers write at once, each over a connection of its own and to
	// resources of its own.
	writers = 6
	// most is how many writes are acknowledged before a kill, at most: on a slow
	// disk they take longer, and are as many.
	most = 200
	// longest is how much later a kill comes at most, so that it is not always
	// right after an answer.
	longest = 10 * time.Millisecond
	// startup is how long the host starts at most before a kill, in the rounds
	// in which it dies while it starts; it is up after that, or nearly.
	startup = 60 * time.Millisecond
)

// gone is the version of what was deleted, or never written.
const gone = 0

// write is a request that makes resources have a version, all of them or none.
type write struct {
	names   []string
	version int
}

// do sends the write. The error means that there was no answer.
func (w write) do(h *host) (status int, body string, err error) { return w.doTold(h, func() {}) }

// doTold is do that calls sent when all of the request is on its way.
func (w write) doTold(h *host, sent func()) (status int, body string, err error) {
	switch {
	case w.version == gone:
		return h.sendTold(http.MethodDelete, "/meshes/default/external-services/"+w.names[0], "", "", sent)
	case len(w.names) == 1:
		return h.sendTold(http.MethodPut, "/meshes/default/external-services/"+w.names[0], "application/json", document(w.names[0], w.version), sent)
	default:
		var documents string
		for _, name := range w.names {
			documents += document(name, w.version) + "\n---\n"
		}
		return h.sendTold(http.MethodPost, "/apply", "application/yaml", documents, sent)
	}
}

// writer is one client of the host. It outlives the host, and knows what it was
// told.
type writer struct {
	number  int
	random  *rand.Rand
	version int

	written map[string]int // acknowledged, by name
	open    *write         // begun, and not answered when the host died
	sent    atomic.Int64   // when all of open was on its way, as UnixNano; 0 while it is not
	wrong   string         // an answer that should not be
	count   atomic.Int64   // of those acknowledged
}

// inFlight says whether the host had a request to answer when it was killed.
func (w *writer) inFlight(h *host) bool {
	sent := w.sent.Load()
	return w.open != nil && sent > 0 && sent < h.killed.UnixNano()
}

// single and pair are what a writer writes: resources on their own, and two that
// are written together.
func (w *writer) single() []string {
	var names []string
	for i := range 3 {
		names = append(names, fmt.Sprintf("single-%d-%d", w.number, i))
	}
	return names
}

func (w *writer) pair() []string {
	return []string{fmt.Sprintf("pair-%d-a", w.number), fmt.Sprintf("pair-%d-b", w.number)}
}

// next is what it writes next.
func (w *writer) next() write {
	w.version++
	if w.random.IntN(4) == 0 {
		return write{w.pair(), w.version}
	}
	name := w.single()[w.random.IntN(3)]
	if w.written[name] != gone && w.random.IntN(4) == 0 {
		return write{[]string{name}, gone}
	}
	return write{[]string{name}, w.version}
}

// work writes until there is no answer.
func (w *writer) work(h *host) {
	for {
		next := w.next()
		w.open = &next
		w.sent.Store(0)
		status, body, err := next.doTold(h, func() { w.sent.Store(time.Now().UnixNano()) })
		if err != nil {
			return
		}
		if status != http.StatusOK && status != http.StatusCreated {
			w.wrong = fmt.Sprintf("%+v: %d %s", next, status, body)
			return
		}
		w.open = nil
		w.count.Add(1)
		for _, name := range next.names {
			w.written[name] = next.version
		}
	}
}

// check compares what is there with what the writer was told, and takes it for
// what was written: it has to stay, too.
func (w *writer) check(there map[string]int) {
	GinkgoHelper()
	Expect(w.wrong).To(BeEmpty())
	may := func(name string) []int {
		versions := []int{w.written[name]}
		if w.open != nil && slices.Contains(w.open.names, name) {
			versions = append(versions, w.open.version)
		}
		return versions
	}
	for _, name := range slices.Concat(w.single(), w.pair()) {
		Expect(may(name)).To(ContainElement(there[name]), "%s is lost: acknowledged and maybe written, and what is there", name)
		w.written[name] = there[name]
	}
	pair := w.pair()
	Expect(there[pair[0]]).To(Equal(there[pair[1]]), "half of what was written together is there")
	w.open = nil
}

// kills is how often the host is killed.
func kills() int {
	if text := os.Getenv("KUMA_MIRROR_CRASH_KILLS"); text != "" {
		n, err := strconv.Atoi(text)
		Expect(err).NotTo(HaveOccurred(), "KUMA_MIRROR_CRASH_KILLS is a number")
		Expect(n).To(BeNumerically(">", 0), "KUMA_MIRROR_CRASH_KILLS")
		return n
	}
	return 20
}

var _ = Describe("a host that is killed", func() {
	It("has every write that it has acknowledged, whole, when it is back", func() {
		dir := filepath.Join(GinkgoT().TempDir(), "data")
		random := rand.New(rand.NewPCG(uint64(GinkgoRandomSeed()), 0))
		var all []*writer
		for i := range writers {
			all = append(all, &writer{
				number: i, written: map[string]int{},
				random: rand.New(rand.NewPCG(uint64(GinkgoRandomSeed()), uint64(i+1))),
			})
		}
		acknowledged := func() (n int64) {
			for _, w := range all {
				n += w.count.Load()
			}
			return n
		}
		whileStarting, whileWriting, inFlight := 0, 0, 0
		for round := range kills() {
			if round%10 == 0 {
				h := begin(dir)
				time.Sleep(time.Duration(random.Int64N(int64(startup))))
				h.kill()
				whileStarting++
				continue
			}
			h := start(dir)
			there := h.resources()
			for _, w := range all {
				w.check(there)
			}
			var working sync.WaitGroup
			ended := make(chan *writer, writers)
			for _, w := range all {
				working.Go(func() {
					w.work(h)
					ended <- w
				})
			}
			enough := acknowledged() + random.Int64N(most)
			Eventually(func() int64 {
				select {
				case w := <-ended:
					StopTrying(fmt.Sprintf("writer %d got no answer before the kill, or a wrong one: %s", w.number, w.wrong)).Now()
				default:
				}
				return acknowledged()
			}).WithPolling(time.Millisecond).Should(BeNumerically(">=", enough))
			time.Sleep(time.Duration(random.Int64N(int64(longest))))
			h.kill()
			working.Wait()
			for _, w := range all {
				if w.inFlight(h) {
					inFlight++
				}
			}
			whileWriting++
		}
		h := start(dir)
		there := h.resources()
		names := map[string]bool{}
		for _, w := range all {
			w.check(there)
			for _, name := range slices.Concat(w.single(), w.pair()) {
				names[name] = true
			}
		}
		Expect(slices.Collect(maps.Keys(names))).To(ContainElements(slices.Collect(maps.Keys(there))))
		Expect(inFlight).To(BeNumerically(">", 0), "there were requests to answer when the host was killed")
		h.Terminate()
		Eventually(h.Exited).Should(BeClosed())
		Expect(h.ExitCode()).To(Equal(0))
		AddReportEntry("result", fmt.Sprintf("%d kills, %d while it wrote and %d while it started: %d writes acknowledged, %d in flight at a kill, 0 lost, 0 torn",
			kills(), whileWriting, whileStarting, acknowledged(), inFlight), ReportEntryVisibilityAlways)
	})

	It("comes up, if it was killed while it made its store", func() {
		random := rand.New(rand.NewPCG(uint64(GinkgoRandomSeed()), 0))
		for range max(3, kills()/10) {
			dir := filepath.Join(GinkgoT().TempDir(), "data")
			h := begin(dir)
			time.Sleep(time.Duration(random.Int64N(int64(startup))))
			h.kill()
			h = start(dir)
			Expect(h.resources()).To(BeEmpty())
			status, body, err := write{[]string{"a"}, 1}.do(h)
			Expect(err).NotTo(HaveOccurred())
			Expect(status).To(Equal(http.StatusCreated), body)
			h.kill()
			h = start(dir)
			Expect(h.resources()).To(Equal(map[string]int{"a": 1}))
			h.kill()
			left, err := filepath.Glob(filepath.Join(dir, ".*"))
			Expect(err).NotTo(HaveOccurred())
			Expect(left).To(BeEmpty())
		}
	})
})
