package catalog_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/files"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
)

// world is a catalog of a store and maybe of files, which can be opened anew.
type world struct {
	*catalog.Catalog
	store *store.Store
	log   *gbytes.Buffer
	dir   string // of the store
	conf  string // of the files; empty for none
	close func()
	disk  sync.Mutex // held while it takes no writes
	// onWrite, where it is set, is called with each write that is on disk.
	onWrite atomic.Pointer[func()]

	mu     sync.Mutex
	handed [][]*api.Resource // over by Run
}

// newWorld has a store and these files, each "name: content".
func newWorld(documents ...string) *world {
	GinkgoHelper()
	w := &world{dir: filepath.Join(GinkgoT().TempDir(), "data")}
	if len(documents) > 0 {
		w.conf = GinkgoT().TempDir()
	}
	for i, d := range documents {
		w.file(fmt.Sprintf("%d.yaml", i), d)
	}
	w.open()
	DeferCleanup(func() { w.close() })
	return w
}

// file writes a file; one without content is removed.
func (w *world) file(name, content string) {
	GinkgoHelper()
	path := filepath.Join(w.conf, name)
	if content == "" {
		Expect(os.Remove(path)).To(Succeed())
		return
	}
	Expect(os.WriteFile(path+".new", []byte(content), 0o600)).To(Succeed())
	Expect(os.Rename(path+".new", path)).To(Succeed())
}

func (w *world) path(name string) string { return filepath.Join(w.conf, name) }

// open opens everything, and runs the catalog.
func (w *world) open() {
	GinkgoHelper()
	w.log = gbytes.NewBuffer()
	log := slog.New(slog.NewTextHandler(w.log, nil))
	var err error
	w.store, err = store.Open(w.dir, store.Options{Log: log, OnWrite: func(store.Write) {
		w.disk.Lock()
		defer w.disk.Unlock()
		if do := w.onWrite.Load(); do != nil {
			(*do)()
		}
	}})
	Expect(err).NotTo(HaveOccurred())
	o := catalog.Options{Store: w.store, Log: log}
	if w.conf != "" {
		o.Files, err = files.Open(context.Background(), []string{w.conf}, files.Options{Check: catalog.Validate, Log: log})
		Expect(err).NotTo(HaveOccurred())
	}
	w.Catalog, err = catalog.New(o)
	Expect(err).NotTo(HaveOccurred())
	w.handed = nil // by the one before
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- w.Run(ctx, func(all []*api.Resource) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.handed = append(w.handed, all)
		})
	}()
	w.close = func() {
		cancel()
		Eventually(ended).WithTimeout(5 * time.Second).Should(Receive(BeNil()))
		if o.Files != nil {
			Expect(o.Files.Close()).To(Succeed())
		}
		Expect(w.store.Close()).To(Succeed())
	}
	Eventually(w.latest).WithTimeout(5 * time.Second).ShouldNot(BeNil())
}

// reopen is what a restart of the process does.
func (w *world) reopen() {
	GinkgoHelper()
	w.close()
	w.open()
}

// latest is what Run handed over last, each as "Kind mesh/name=address".
func (w *world) latest() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.handed) == 0 {
		return nil
	}
	return described(w.handed[len(w.handed)-1])
}

// serves waits until exactly these are handed over.
func (w *world) serves(want ...string) {
	GinkgoHelper()
	Eventually(w.latest).WithTimeout(5 * time.Second).WithPolling(5 * time.Millisecond).Should(Equal(want))
}

// lists expects exactly these in use.
func (w *world) lists(kind api.Kind, want ...string) {
	GinkgoHelper()
	Expect(w.listed(kind)).To(Equal(append([]string{}, want...)))
}

func (w *world) listed(kind api.Kind) []string {
	var all []*api.Resource
	for _, e := range w.List(kind, "") {
		all = append(all, e.Resource)
	}
	return described(all)
}

func described(resources []*api.Resource) []string {
	all := []string{}
	for _, r := range resources {
		text := fmt.Sprintf("%s %s/%s", r.Kind, r.Meta.Mesh, r.Meta.Name)
		if spec, ok := r.Spec.(*api.ExternalService); ok {
			host, _, _ := strings.Cut(spec.GetNetworking().GetAddress(), ":")
			text += "=" + host
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return all
}

// put writes the resource of a document and expects that it can be.
func (w *world) put(document string) (entry catalog.Entry, created bool) {
	GinkgoHelper()
	entry, created, err := w.Put(context.Background(), parse(document)[0], catalog.If{})
	Expect(err).NotTo(HaveOccurred())
	return entry, created
}

// refuses writes the resource of a document and returns why it cannot be.
func (w *world) refuses(document string, when catalog.If) error {
	GinkgoHelper()
	_, _, err := w.Put(context.Background(), parse(document)[0], when)
	Expect(err).To(HaveOccurred())
	return err
}

func (w *world) get(key api.Key) catalog.Entry {
	GinkgoHelper()
	entry, ok := w.Get(key)
	Expect(ok).To(BeTrue(), "%s is not there", key)
	return entry
}

func parse(documents string) []*api.Resource {
	GinkgoHelper()
	resources, err := api.Parse("body", []byte(documents))
	Expect(err).NotTo(HaveOccurred())
	return resources
}

// Documents, and the keys of what they hold.

func meshNamed(name string) string { return "type: Mesh\nname: " + name + "\n" }

func service(mesh, name, host string) string {
	return fmt.Sprintf("type: ExternalService\nmesh: %s\nname: %s\ntags: {kuma.io/service: %s}\nnetworking: {address: \"%s:80\"}\n", mesh, name, name, host)
}

func dataplane(mesh, name string) string {
	return fmt.Sprintf("type: Dataplane\nmesh: %s\nname: %s\nnetworking: {address: 127.0.0.1, inbound: [{port: 80, tags: {kuma.io/service: %s}}]}\n", mesh, name, name)
}

func route(mesh, name string) string {
	return fmt.Sprintf("type: TrafficRoute\nmesh: %s\nname: %s\nsources: [{match: {kuma.io/service: \"*\"}}]\ndestinations: [{match: {kuma.io/service: b}}]\nconf: {destination: {kuma.io/service: b}}\n", mesh, name)
}

func keyOf(kind api.Kind, mesh, name string) api.Key {
	return api.Key{Kind: kind, Mesh: mesh, Name: name}
}

func serviceKey(name string) api.Key { return keyOf(api.KindExternalService, "default", name) }

func meshKey(name string) api.Key { return keyOf(api.KindMesh, "", name) }

// writeUnchecked writes what an earlier version may have found valid.
func writeUnchecked(w *world, r *api.Resource) {
	GinkgoHelper()
	draft, err := store.NewDraft(r)
	Expect(err).NotTo(HaveOccurred())
	_, err = w.store.Write([]*store.Draft{draft}, nil)
	Expect(err).NotTo(HaveOccurred())
}
