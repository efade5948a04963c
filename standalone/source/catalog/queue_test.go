package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
)

var _ = Describe("writes that wait for the disk", func() {
	ctx := context.Background()
	var w *world

	// occupy makes the disk busy with a write until w.disk is unlocked, and
	// returns how that ended.
	occupy := func() <-chan error {
		GinkgoHelper()
		before := w.store.Status().Records
		w.disk.Lock()
		DeferCleanup(func() { // where the spec did not get that far
			w.disk.TryLock()
			w.disk.Unlock()
		})
		busy := make(chan error, 1)
		go func() {
			_, _, err := w.Put(ctx, parseUnchecked(service("default", "busy", "one")), catalog.If{})
			busy <- err
		}()
		Eventually(func() int { return w.store.Status().Records }).Should(Equal(before + 1))
		return busy
	}
	BeforeEach(func() {
		w = newWorld()
		w.put(meshNamed("demo"))
	})

	It("are not done for whom they come too late", func() {
		busy := occupy()
		hurried, cancel := context.WithCancel(ctx)
		cancel()
		_, _, err := w.Put(hurried, parse(service("default", "a", "one"))[0], catalog.If{})
		Expect(err).To(MatchError(context.Canceled))
		w.disk.Unlock()
		Eventually(busy).Should(Receive(BeNil()))
		w.put(service("default", "b", "one"))
		w.lists(api.KindExternalService, "ExternalService default/b=one", "ExternalService default/busy=one")
	})

	It("are done together, in their order, and those that cannot be done alone are not", func() {
		occupy()
		results := make([]chan error, 6)
		queued := 0
		// One after the other: each has to be waiting before the next comes.
		queue := func(do func() error) {
			results[queued] = make(chan error, 1)
			result := results[queued]
			started := make(chan struct{})
			go func() {
				close(started)
				result <- do()
			}()
			Eventually(started).Should(BeClosed())
			queued++
			Eventually(w.Waiting).Should(Equal(queued))
		}
		put := func(document string, when catalog.If) func() error {
			r := parse(document)[0]
			return func() error {
				_, _, err := w.Put(ctx, r, when)
				return err
			}
		}
		queue(put(service("demo", "a", "one"), catalog.If{}))
		queue(put(service("demo", "a", "two"), catalog.If{NoneMatch: "*"}))
		queue(func() error { return w.Delete(ctx, meshKey("demo"), catalog.If{}) })
		queue(put(service("demo", "b", "one"), catalog.If{}))
		queue(put(service("default", "c", "one"), catalog.If{}))
		queue(put(service("default", "c", "two"), catalog.If{Match: "*"}))
		before := w.store.Status()
		w.disk.Unlock()

		var errs []error
		for _, result := range results {
			var err error
			Eventually(result).Should(Receive(&err))
			errs = append(errs, err)
		}
		Expect(errs[0]).NotTo(HaveOccurred())
		Expect(errs[1]).To(MatchError(catalog.ErrPrecondition))
		Expect(errs[2]).NotTo(HaveOccurred())
		var invalid *catalog.InvalidError
		Expect(errors.As(errs[3], &invalid)).To(BeTrue())
		Expect(invalid).To(MatchError(ContainSubstring(`there is no mesh "demo"`)))
		Expect(errs[4]).NotTo(HaveOccurred())
		Expect(errs[5]).NotTo(HaveOccurred())
		w.lists(api.KindExternalService, "ExternalService default/busy=one", "ExternalService default/c=two")
		w.lists(api.KindMesh, defaultMesh)
		Expect(w.store.Status().Records).To(Equal(before.Records), "the mesh went, and c came")
		w.reopen()
		w.lists(api.KindExternalService, "ExternalService default/busy=one", "ExternalService default/c=two")
	})

	It("all fail when the disk takes none of them, those too that were told of each other", func() {
		occupy()
		limitFiles(w.store.Status().Bytes)
		r := parse(service("default", "a", "one"))[0]
		r.Meta.Labels = map[string]string{"x": strings.Repeat("x", 3<<20)}
		results := make(chan error, 2)
		go func() {
			_, _, err := w.Put(ctx, r, catalog.If{})
			results <- err
		}()
		Eventually(w.Waiting).Should(Equal(1))
		go func() { results <- w.Delete(ctx, serviceKey("a"), catalog.If{Match: `"none"`}) }()
		Eventually(w.Waiting).Should(Equal(2))
		w.disk.Unlock()
		for range 2 {
			var err error
			Eventually(results).Should(Receive(&err))
			var unavailable *catalog.UnavailableError
			Expect(errors.As(err, &unavailable)).To(BeTrue(), "%v", err)
		}
		w.lists(api.KindExternalService, "ExternalService default/busy=one")
		limitFiles(-1)
		w.put(service("default", "a", "two"))
		w.lists(api.KindExternalService, "ExternalService default/a=two", "ExternalService default/busy=one")
	})

	It("fail together when this program makes a mistake, and those that come later do not", func() {
		occupy()
		results := make(chan error, 2)
		for i, name := range []string{"a", "b"} {
			go func() {
				_, _, err := w.Put(ctx, parseUnchecked(service("default", name, "one")), catalog.If{})
				results <- err
			}()
			Eventually(w.Waiting).Should(Equal(i + 1))
		}
		writes := 0 // the first is that which occupies the disk
		mistake := func() {
			if writes++; writes == 2 {
				panic("an index out of range")
			}
		}
		w.onWrite.Store(&mistake)
		w.disk.Unlock()
		for range 2 {
			Eventually(results).Should(Receive(MatchError(And(ContainSubstring("a mistake in this program"), ContainSubstring("an index out of range")))))
		}
		Expect(w.log).To(gbytes.Say("a write broke off.*an index out of range"))
		w.put(service("default", "c", "one"))
		w.lists(api.KindExternalService, "ExternalService default/busy=one", "ExternalService default/c=one")
	})
})

// parseUnchecked is parse for goroutines of their own.
func parseUnchecked(document string) *api.Resource {
	resources, err := api.Parse("body", []byte(document))
	if err != nil {
		panic(fmt.Sprint(document, err))
	}
	return resources[0]
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
