package catalog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing/iotest"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin/carrier"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
)

const defaultMesh = "Mesh /default"

var _ = Describe("a catalog", func() {
	ctx := context.Background()

	Describe("of a store", func() {
		It("hands over what is written, and has it after a restart", func() {
			w := newWorld()
			w.serves(defaultMesh)
			entry, created := w.put(service("default", "a", "one"))
			Expect(created).To(BeTrue())
			Expect(w.get(serviceKey("a"))).To(Equal(entry))
			w.serves("ExternalService default/a=one", defaultMesh)
			again, created := w.put(service("default", "a", "two"))
			Expect(created).To(BeFalse())
			Expect(again.ETag).NotTo(Equal(entry.ETag))
			w.serves("ExternalService default/a=two", defaultMesh)

			w.reopen()
			Expect(w.get(serviceKey("a")).ETag).To(Equal(again.ETag))
			w.serves("ExternalService default/a=two", defaultMesh)
			Expect(w.Delete(ctx, serviceKey("a"), catalog.If{})).To(Succeed())
			w.serves(defaultMesh)
			_, ok := w.Get(serviceKey("a"))
			Expect(ok).To(BeFalse())
			w.reopen()
			w.lists(api.KindExternalService)
		})

		It("keeps the times itself", func() {
			w := newWorld()
			before := time.Now()
			first, _ := w.put(service("default", "a", "one") + "creationTime: 2001-01-01T00:00:00Z\nmodificationTime: 2001-01-01T00:00:00Z\n")
			meta := first.Resource.Meta
			Expect(meta.CreationTime).To(BeTemporally(">=", before))
			Expect(meta.CreationTime).To(BeTemporally("<=", time.Now()))
			Expect(meta.ModificationTime).To(Equal(meta.CreationTime))
			second, _ := w.put(service("default", "a", "two"))
			Expect(second.Resource.Meta.CreationTime).To(Equal(meta.CreationTime))
			Expect(second.Resource.Meta.ModificationTime).To(BeTemporally(">", meta.ModificationTime))
			Expect(first.Resource.Meta).To(Equal(meta), "what was handed out does not change")
		})

		It("does not write what is there already", func() {
			w := newWorld()
			entry, _ := w.put(service("default", "a", "one"))
			again, created := w.put(service("default", "a", "one") + "modificationTime: 2001-01-01T00:00:00Z\n")
			Expect(created).To(BeFalse())
			Expect(again).To(Equal(entry))
			w.reopen()
			again, _ = w.put(service("default", "a", "one"))
			Expect(again.ETag).To(Equal(entry.ETag))
			labelled, _ := w.put(service("default", "a", "one") + "labels: {x: y}\n")
			Expect(labelled.ETag).NotTo(Equal(entry.ETag))
		})

		It("lists by mesh and name", func() {
			w := newWorld()
			w.put(meshNamed("other"))
			for _, d := range []string{service("other", "a", "x"), service("default", "c", "x"), service("default", "b", "x"), route("default", "a")} {
				w.put(d)
			}
			var names []string
			for _, e := range w.List(api.KindExternalService, "") {
				names = append(names, e.Resource.Meta.Mesh+"/"+e.Resource.Meta.Name)
			}
			Expect(names).To(Equal([]string{"default/b", "default/c", "other/a"}))
			Expect(w.List(api.KindExternalService, "other")).To(HaveLen(1))
			Expect(w.List(api.KindExternalService, "none")).To(BeEmpty())
			w.lists(api.KindTrafficRoute, "TrafficRoute default/a")
		})

		It("refuses what is not valid, with all that is wrong", func() {
			w := newWorld()
			err := w.refuses("type: TrafficRoute\nname: A\n", catalog.If{})
			var invalid *catalog.InvalidError
			Expect(errors.As(err, &invalid)).To(BeTrue())
			Expect(err).To(MatchError(And(
				ContainSubstring(`name: "A" is no name`),
				ContainSubstring("sources: at least one selector is required"),
				ContainSubstring("conf: is required"),
			)))
			err = w.refuses(service("demo", "a", "one"), catalog.If{})
			Expect(errors.As(err, &invalid)).To(BeTrue())
			Expect(err).To(MatchError(ContainSubstring(`mesh: there is no mesh "demo": add a document with type: Mesh and name: demo, or use one of "default"`)))
			big := parse(service("default", "a", "one"))[0]
			big.Meta.Labels = map[string]string{"x": strings.Repeat("<", api.MaxInputBytes/6)}
			_, _, err = w.Put(ctx, big, catalog.If{})
			Expect(errors.As(err, &invalid)).To(BeTrue())
			Expect(err).To(MatchError(ContainSubstring("at most 4194304 (4 MiB) can be stored")))
			w.lists(api.KindExternalService)
		})

		It("cannot be written to where there is none", func() {
			c, err := catalog.New(catalog.Options{})
			Expect(err).NotTo(HaveOccurred())
			_, _, put := c.Put(ctx, parse(service("default", "a", "one"))[0], catalog.If{})
			_, change := c.Change(ctx, nil, nil)
			_, restore := c.Restore(ctx, strings.NewReader(""), true)
			for _, err := range []error{put, change, c.Delete(ctx, serviceKey("a"), catalog.If{}), c.Backup(io.Discard), restore} {
				Expect(err).To(Equal(&catalog.ReadOnlyError{}))
				Expect(err).To(MatchError("nothing can be written: there is no store, only files; 'kuma-mirror run' with --data-dir has one"))
			}
			Expect(c.InUse()).To(HaveLen(1))
			planned, err := c.DryRun(parse(service("default", "a", "one")), nil)
			Expect(err).NotTo(HaveOccurred())
			Expect(planned.After).To(HaveLen(2), "what would be, can be asked")
			Expect(c.InUse()).To(HaveLen(1))
		})

		It("goes on serving where the disk does not take a write", func() {
			w := newWorld()
			entry, _ := w.put(service("default", "a", "one"))
			w.serves("ExternalService default/a=one", defaultMesh)
			Expect(w.store.Close()).To(Succeed()) // stands for the disk
			var unavailable *catalog.UnavailableError
			err := w.refuses(service("default", "a", "two"), catalog.If{})
			Expect(errors.As(err, &unavailable)).To(BeTrue())
			Expect(err).To(MatchError("cannot write to " + w.store.Path() + ": database not open; nothing is changed, and what was there before is still served"))
			Expect(w.Delete(ctx, serviceKey("a"), catalog.If{})).To(MatchError(err.Error()))
			Expect(w.get(serviceKey("a"))).To(Equal(entry))
			_, _, err = w.Put(ctx, parse(service("default", "a", "one"))[0], catalog.If{})
			Expect(err).NotTo(HaveOccurred(), "there is nothing to write")
			Consistently(w.latest, 50*time.Millisecond).Should(Equal([]string{"ExternalService default/a=one", defaultMesh}))
		})
	})

	Describe("under a condition", func() {
		var w *world
		var entry catalog.Entry
		BeforeEach(func() {
			w = newWorld()
			entry, _ = w.put(service("default", "a", "one"))
		})

		DescribeTable("writes or does not", func(name string, when func(etag string) catalog.If, holds bool) {
			_, _, err := w.Put(ctx, parse(service("default", name, "two"))[0], when(entry.ETag))
			if holds {
				Expect(err).NotTo(HaveOccurred())
			} else {
				Expect(err).To(MatchError(catalog.ErrPrecondition))
				Expect(w.get(serviceKey("a"))).To(Equal(entry))
			}
		},
			Entry("that it is the one", "a", func(e string) catalog.If { return catalog.If{Match: e} }, true),
			Entry("that it is one of several", "a", func(e string) catalog.If { return catalog.If{Match: ` "x" ,` + e + `,"y"`} }, true),
			Entry("that it is any", "a", func(string) catalog.If { return catalog.If{Match: "*"} }, true),
			Entry("that it is another", "a", func(string) catalog.If { return catalog.If{Match: `"x"`} }, false),
			Entry("that it is weakly the one", "a", func(e string) catalog.If { return catalog.If{Match: "W/" + e} }, false),
			Entry("that makes no sense", "a", func(e string) catalog.If { return catalog.If{Match: strings.Trim(e, `"`)} }, false),
			Entry("that makes no sense in the end", "a", func(e string) catalog.If { return catalog.If{Match: `"x", "` + strings.Trim(e, `"`)} }, false),
			Entry("that there is any where there is none", "b", func(string) catalog.If { return catalog.If{Match: "*"} }, false),
			Entry("that there is none", "b", func(string) catalog.If { return catalog.If{NoneMatch: "*"} }, true),
			Entry("that there is none where there is one", "a", func(string) catalog.If { return catalog.If{NoneMatch: "*"} }, false),
			Entry("that it is not the one", "a", func(e string) catalog.If { return catalog.If{NoneMatch: e} }, false),
			Entry("that it is weakly not the one", "a", func(e string) catalog.If { return catalog.If{NoneMatch: "W/" + e} }, false),
			Entry("that it is not another", "a", func(string) catalog.If { return catalog.If{NoneMatch: `"x"`} }, true),
		)

		It("deletes or does not", func() {
			Expect(w.Delete(ctx, serviceKey("a"), catalog.If{Match: `"x"`})).To(MatchError(catalog.ErrPrecondition))
			Expect(w.Delete(ctx, serviceKey("b"), catalog.If{Match: "*"})).To(Equal(&catalog.NotFoundError{Key: serviceKey("b")}))
			Expect(w.Delete(ctx, serviceKey("a"), catalog.If{Match: entry.ETag})).To(Succeed())
			Expect(w.Delete(ctx, serviceKey("a"), catalog.If{})).To(And(
				Equal(&catalog.NotFoundError{Key: serviceKey("a")}), MatchError(`ExternalService "a" in mesh "default": not found`)))
		})

		It("lets one of many win who saw the same", func() {
			won := make(chan string, 20)
			var writers sync.WaitGroup
			for i := range cap(won) {
				writers.Go(func() {
					host := fmt.Sprintf("host-%d", i)
					_, _, err := w.Put(ctx, parse(service("default", "a", host))[0], catalog.If{Match: entry.ETag})
					if err == nil {
						won <- host
					} else if !errors.Is(err, catalog.ErrPrecondition) {
						won <- err.Error()
					}
				})
			}
			writers.Wait()
			Expect(won).To(HaveLen(1))
			w.lists(api.KindExternalService, "ExternalService default/a="+<-won)
		})
	})

	Describe("of files too", func() {
		It("has what files hold in use, and refuses to write it", func() {
			w := newWorld(service("default", "a", "file"))
			w.put(service("default", "b", "api"))
			w.serves("ExternalService default/a=file", "ExternalService default/b=api", defaultMesh)
			entry := w.get(serviceKey("a"))
			Expect(entry.File).To(Equal(w.path("0.yaml")))
			Expect(entry.ETag).To(MatchRegexp(`^"[0-9a-f]{16}"$`))

			refusal := &catalog.ReadOnlyError{Key: serviceKey("a"), File: w.path("0.yaml")}
			Expect(w.refuses(service("default", "a", "api"), catalog.If{})).To(Equal(refusal))
			Expect(w.Delete(ctx, serviceKey("a"), catalog.If{})).To(Equal(refusal))
			Expect(refusal).To(MatchError(`ExternalService "a" in mesh "default" is held by ` + w.path("0.yaml") + "; change it there, or remove it from there first"))

			w.file("0.yaml", service("default", "a", "changed"))
			w.serves("ExternalService default/a=changed", "ExternalService default/b=api", defaultMesh)
			Expect(w.get(serviceKey("a")).ETag).NotTo(Equal(entry.ETag))
			w.file("0.yaml", service("default", "a", "file"))
			w.serves("ExternalService default/a=file", "ExternalService default/b=api", defaultMesh)
			Expect(w.get(serviceKey("a")).ETag).To(Equal(entry.ETag))
		})

		It("keeps what is in the store while a file holds it", func() {
			w := newWorld(service("default", "a", "file"))
			w.put(service("default", "b", "api"))
			w.file("1.yaml", service("default", "b", "file"))
			w.serves("ExternalService default/a=file", "ExternalService default/b=file", defaultMesh)
			Eventually(w.log).Should(gbytes.Say("a file holds a resource that the store has too.*1.yaml"))
			w.reopen()
			Expect(w.log).To(gbytes.Say("a file holds a resource that the store has too"))
			w.serves("ExternalService default/a=file", "ExternalService default/b=file", defaultMesh)
			w.file("1.yaml", "")
			w.serves("ExternalService default/a=file", "ExternalService default/b=api", defaultMesh)
			Eventually(w.log).Should(gbytes.Say("the store's is in use again"))
		})

		It("takes resources for a mesh that a file holds, and keeps them when the file is gone", func() {
			w := newWorld(meshNamed("demo"), service("default", "x", "x"))
			w.put(service("demo", "a", "api"))
			w.file("0.yaml", "")
			w.serves("ExternalService default/x=x", "ExternalService demo/a=api", defaultMesh, "Mesh /demo")
			Eventually(w.log).Should(gbytes.Say("a mesh has no Mesh any more.*mesh=demo"))
			w.reopen()
			Expect(w.log).To(gbytes.Say("a mesh has no Mesh any more.*mesh=demo"))
			w.put(service("demo", "b", "api"))
			var conflict *catalog.ConflictError
			err := w.Delete(ctx, meshKey("demo"), catalog.If{})
			Expect(errors.As(err, &conflict)).To(BeTrue())
			Expect(err).To(MatchError(`the mesh "demo" has no Mesh to delete; it is there as long as something is in it: ExternalService "a", ExternalService "b"`))
			_, created := w.put(meshNamed("demo"))
			Expect(created).To(BeFalse(), "it was there")
			w.lists(api.KindMesh, defaultMesh, "Mesh /demo")
		})
	})

	Describe("of meshes", func() {
		It("always has the default one", func() {
			w := newWorld()
			entry := w.get(meshKey("default"))
			Expect(entry.ETag).To(MatchRegexp(`^"[0-9a-f]{16}"$`))
			Expect(w.Delete(ctx, meshKey("default"), catalog.If{})).To(MatchError(`the mesh "default" is always there`))
			written, created := w.put(meshNamed("default"))
			Expect(created).To(BeFalse())
			Expect(written.ETag).NotTo(Equal(entry.ETag))
			Expect(w.Delete(ctx, meshKey("default"), catalog.If{})).To(Succeed())
			Expect(w.get(meshKey("default"))).To(Equal(entry))
		})

		It("does not delete one with Dataplanes, and says which", func() {
			w := newWorld()
			w.put(meshNamed("demo"))
			for i := range 7 {
				w.put(dataplane("demo", fmt.Sprintf("dp-%d", i)))
			}
			err := w.Delete(ctx, meshKey("demo"), catalog.If{})
			var conflict *catalog.ConflictError
			Expect(errors.As(err, &conflict)).To(BeTrue())
			Expect(err).To(MatchError(`the mesh "demo" cannot be deleted while there are Dataplanes in it: dp-0, dp-1, dp-2, dp-3, dp-4, and 2 more`))
		})

		It("deletes the policies and ExternalServices of a mesh with it", func() {
			w := newWorld()
			w.put(meshNamed("demo"))
			w.put(route("demo", "a"))
			w.put(service("demo", "b", "api"))
			w.put(service("default", "b", "api"))
			Expect(w.Delete(ctx, meshKey("demo"), catalog.If{})).To(Succeed())
			w.serves("ExternalService default/b=api", defaultMesh)
			w.reopen()
			w.serves("ExternalService default/b=api", defaultMesh)
		})

		It("does not delete one while files hold what is in it", func() {
			w := newWorld(meshNamed("demo")+"---\n"+service("demo", "a", "file"), service("default", "x", "x"))
			Expect(w.Delete(ctx, meshKey("demo"), catalog.If{})).To(Equal(&catalog.ReadOnlyError{Key: meshKey("demo"), File: w.path("0.yaml") + "#1"}))
			w.file("2.yaml", service("default", "y", "y")) // files cannot be in a mesh of the store
			w.serves("ExternalService default/x=x", "ExternalService default/y=y", "ExternalService demo/a=file", defaultMesh, "Mesh /demo")
		})
	})

	Describe("in a change of several", func() {
		It("does all of it", func() {
			w := newWorld()
			w.put(service("default", "a", "one"))
			w.put(service("default", "b", "one"))
			w.put(service("default", "c", "one"))
			applied, err := w.Change(ctx,
				parse(service("demo", "new", "one")+"---\n"+meshNamed("demo")+"---\n"+service("default", "a", "two")+"---\n"+service("default", "b", "one")),
				[]api.Key{serviceKey("c")})
			Expect(err).NotTo(HaveOccurred())
			var results []string
			for _, a := range applied {
				results = append(results, a.Resource.Meta.Name+" "+string(a.Result))
				if entry, ok := w.Get(a.Resource.Key()); ok {
					Expect(entry).To(Equal(a.Entry))
				}
			}
			Expect(results).To(Equal([]string{"new created", "demo created", "a configured", "b unchanged", "c deleted"}))
			w.serves("ExternalService default/a=two", "ExternalService default/b=one", "ExternalService demo/new=one", defaultMesh, "Mesh /demo")
		})

		It("does nothing in a dry run, and tells the same", func() {
			w := newWorld()
			entry, _ := w.put(service("default", "a", "one"))
			puts, deletes := parse(service("default", "b", "one")), []api.Key{serviceKey("a")}
			planned, err := w.DryRun(puts, deletes)
			Expect(err).NotTo(HaveOccurred())
			Expect(planned.Applied).To(HaveLen(2))
			Expect(planned.Applied[0].Result).To(Equal(catalog.Created))
			Expect(planned.Applied[0].ETag).To(BeEmpty())
			Expect(planned.Applied[1]).To(Equal(catalog.Applied{Entry: entry, Result: catalog.Deleted}))
			Expect(described(planned.Before)).To(Equal([]string{"ExternalService default/a=one", defaultMesh}))
			Expect(described(planned.After)).To(Equal([]string{"ExternalService default/b=one", defaultMesh}))
			w.lists(api.KindExternalService, "ExternalService default/a=one")
			w.reopen()
			w.lists(api.KindExternalService, "ExternalService default/a=one")
		})

		DescribeTable("does nothing where one of it cannot be done", func(puts string, deletes []api.Key, want string) {
			w := newWorld(service("default", "file", "file"))
			w.put(service("default", "a", "one"))
			w.put(meshNamed("demo"))
			w.put(dataplane("demo", "dp"))
			all := parse(service("default", "new", "one") + "---\n" + puts)
			_, err := w.DryRun(all, deletes)
			Expect(err).To(MatchError(ContainSubstring(want)))
			_, err = w.Change(ctx, all, deletes)
			Expect(err).To(MatchError(ContainSubstring(want)))
			w.lists(api.KindExternalService, "ExternalService default/a=one", "ExternalService default/file=file")
		},
			Entry("as it is not valid", "type: TrafficRoute\nname: x", nil, "sources: at least one"),
			Entry("as it is there twice", service("default", "new", "two"), nil, "body#2: ExternalService \"new\" in mesh \"default\": is already in body#1"),
			Entry("as a file holds it", service("default", "file", "two"), nil, "is held by"),
			Entry("as its mesh is not there", service("other", "x", "two"), nil, `there is no mesh "other": add a document with type: Mesh and name: other, or use one of "default", "demo"`),
			Entry("as what is to go is not there", "", []api.Key{serviceKey("none")}, "not found"),
			Entry("as what is to go is in use", "", []api.Key{meshKey("demo")}, "while there are Dataplanes in it: dp"),
			Entry("as it is to go, too", "", []api.Key{serviceKey("new")}, `ExternalService "new" in mesh "default": is to be written, and to be deleted`),
			Entry("as its mesh is to go", service("demo", "x", "two"), []api.Key{meshKey("demo"), keyOf(api.KindDataplane, "demo", "dp")}, `ExternalService "x" in mesh "demo": is to be written, and to be deleted by itself or with its mesh`),
		)

		Describe("that mirror", func() {
			const (
				caller = "type: Dataplane\nname: web\nnetworking:\n  address: 192.0.2.1\n  gateway: {tags: {kuma.io/service: web}}\n" +
					"  outbound: [{port: 10001, tags: {kuma.io/service: backend}}]\n"
				backend  = "type: ExternalService\nname: backend\ntags: {kuma.io/service: backend, kuma.io/protocol: http}\nnetworking: {address: '192.0.2.2:80'}\n"
				mirrored = "type: TrafficRoute\nname: r\nsources: [{match: {kuma.io/service: web}}]\ndestinations: [{match: {kuma.io/service: backend}}]\n" +
					"conf: {destination: {kuma.io/service: backend}, mirror: {destination: {kuma.io/service: shadow}}}\n"
				shadow = "type: ExternalService\nname: shadow\ntags: {kuma.io/service: shadow, kuma.io/protocol: http}\nnetworking: {address: 'ADDRESS'}\n"
			)
			harmless, looping := strings.Replace(shadow, "ADDRESS", "192.0.2.3:80", 1), strings.Replace(shadow, "ADDRESS", "127.0.0.1:10001", 1)
			const loop = `TrafficRoute "r" in mesh "default": conf.mirror.destination: is a loop: copies come back to where they are made, ` +
				`outbound 127.0.0.1:10001 of "web" -> outbound 127.0.0.1:10001 of "web"`

			It("refuses the one of several that makes a loop with what is there", func() {
				w := newWorld()
				for _, document := range []string{caller, backend, mirrored, harmless} {
					w.put(document)
				}
				_, err := w.DryRun(parse(looping), nil)
				Expect(err).To(MatchError(ContainSubstring(loop)))
				var invalid *catalog.InvalidError
				Expect(errors.As(w.refuses(looping, catalog.If{}), &invalid)).To(BeTrue())
				_, err = w.Change(ctx, parse(looping+"---\n"+strings.Replace(mirrored, "service: shadow", "service: backend", 1)), nil)
				Expect(err).NotTo(HaveOccurred(), "it is none without the mirror")
			})

			It("warns of a loop between a file and the store, and takes other writes", func() {
				w := newWorld(harmless)
				for _, document := range []string{caller, backend, mirrored} {
					w.put(document)
				}
				w.file("0.yaml", looping)
				Eventually(w.log).Should(gbytes.Say("mirrors make a loop, which ends after one copy"))
				w.put(service("default", "other", "one"))
			})
		})

		It("deletes a mesh with its Dataplanes, in whatever order", func() {
			w := newWorld()
			w.put(meshNamed("demo"))
			w.put(dataplane("demo", "dp"))
			w.put(route("demo", "r"))
			applied, err := w.Change(ctx, nil, []api.Key{meshKey("demo"), keyOf(api.KindDataplane, "demo", "dp")})
			Expect(err).NotTo(HaveOccurred())
			Expect(applied).To(HaveLen(2))
			Expect(applied[0].Resource.Kind).To(Equal(api.KindMesh))
			w.serves(defaultMesh)
		})
	})

	Describe("of encoded policies", func() {
		const mirrored = `
type: TrafficRoute
mesh: default
name: mirrored
sources: [{match: {kuma.io/service: "*"}}]
destinations: [{match: {kuma.io/service: b}}]
conf:
  destination: {kuma.io/service: b}
  mirror: {destination: {kuma.io/service: shadow}, percentage: 10}
`
		key := keyOf(api.KindTrafficRoute, "default", "mirrored")
		encoded := func() string {
			GinkgoHelper()
			r, err := carrier.EncodeResource(parse(mirrored)[0])
			Expect(err).NotTo(HaveOccurred())
			text, err := api.MarshalYAML(r)
			Expect(err).NotTo(HaveOccurred())
			Expect(string(text)).To(ContainSubstring(carrier.Prefix))
			return string(text)
		}
		served := func(w *world) string {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, r := range w.handed[len(w.handed)-1] {
				if r.Key() == key {
					bare := *r
					bare.Meta.CreationTime, bare.Meta.ModificationTime = time.Time{}, time.Time{}
					text, err := api.MarshalYAML(&bare)
					if err != nil {
						return err.Error()
					}
					return string(text)
				}
			}
			return ""
		}
		decoded := func() string {
			GinkgoHelper()
			text, err := api.MarshalYAML(parse(mirrored)[0])
			Expect(err).NotTo(HaveOccurred())
			return string(text)
		}

		It("serves them decoded, and shows them as they were written", func() {
			w := newWorld()
			w.put(encoded())
			for range 2 {
				Eventually(func() string { return served(w) }).WithTimeout(5 * time.Second).Should(Equal(decoded()))
				Expect(w.get(key).Resource.Spec.(*api.TrafficRoute).GetConf().GetMirror()).To(BeNil())
				Expect(w.get(key).Resource.Spec.(*api.TrafficRoute).GetConf().GetSplit()).To(HaveLen(3))
				w.reopen()
			}
		})

		It("serves those of files decoded", func() {
			w := newWorld(encoded())
			Eventually(func() string { return served(w) }).WithTimeout(5 * time.Second).Should(Equal(decoded()))
			Expect(w.get(key).Resource.Spec.(*api.TrafficRoute).GetConf().GetSplit()).To(HaveLen(3))
		})

		It("refuses damaged ones", func() {
			bad := strings.Replace(encoded(), carrier.Prefix+`percentage: "10"`, carrier.Prefix+`percentage: "110"`, 1)
			Expect(bad).NotTo(Equal(encoded()))
			w := newWorld(mirrored)
			Expect(w.refuses(strings.Replace(bad, "name: mirrored", "name: other", 1), catalog.If{})).To(MatchError(ContainSubstring(carrier.Prefix + "percentage")))
			w.file("1.yaml", strings.Replace(bad, "name: mirrored", "name: other", 1))
			Eventually(w.log).WithTimeout(5 * time.Second).Should(gbytes.Say("a file is refused.*1.yaml.*" + carrier.Prefix + "percentage"))
			w.serves(defaultMesh, "TrafficRoute default/mirrored")
		})
	})

	Describe("with a backup", func() {
		backup := func(w *world) []byte {
			GinkgoHelper()
			var out bytes.Buffer
			Expect(w.Backup(&out)).To(Succeed())
			return out.Bytes()
		}

		It("has what was in it, and nothing else", func() {
			w := newWorld(service("default", "file", "file"))
			w.put(meshNamed("demo"))
			was, _ := w.put(service("demo", "a", "one"))
			w.put(service("default", "b", "one"))
			data := backup(w)
			w.put(service("demo", "a", "two"))
			w.put(service("default", "new", "one"))
			Expect(w.Delete(ctx, serviceKey("b"), catalog.If{})).To(Succeed())

			Expect(w.Restore(ctx, bytes.NewReader(data), true)).To(Equal(catalog.Restored{
				Replaced: catalog.Counts{api.KindMesh: 1, api.KindExternalService: 2},
				Restored: catalog.Counts{api.KindMesh: 1, api.KindExternalService: 2},
			}))
			want := []string{"ExternalService default/b=one", "ExternalService default/file=file", "ExternalService demo/a=one"}
			w.lists(api.KindExternalService, want...)
			w.serves(append(want, defaultMesh, "Mesh /demo")...)
			is := w.get(was.Resource.Key())
			Expect(is.Resource.Meta).To(Equal(was.Resource.Meta))
			Expect(is.ETag).NotTo(Equal(was.ETag))
			w.reopen()
			w.serves(append(want, defaultMesh, "Mesh /demo")...)
		})

		It("replaces what is stored only by force, that too which a file hides", func() {
			w := newWorld(service("default", "a", "file"))
			data := backup(w)
			Expect(w.Restore(ctx, bytes.NewReader(data), false)).To(HaveField("Restored", BeEmpty()), "the file's alone is nothing to lose")
			w.file("0.yaml", "")
			w.serves(defaultMesh)
			w.put(service("default", "a", "one"))
			w.file("0.yaml", service("default", "a", "file"))
			w.serves("ExternalService default/a=file", defaultMesh)

			_, err := w.Restore(ctx, iotest.ErrReader(errors.New("need not be read")), false)
			Expect(err).To(Equal(&catalog.NotEmptyError{Stored: catalog.Counts{api.KindExternalService: 1}}))
			Expect(err).To(MatchError("the store holds 1 ExternalService, which would be lost"))
			w.file("0.yaml", "")
			w.serves("ExternalService default/a=one", defaultMesh)
			Expect(w.Restore(ctx, bytes.NewReader(data), true)).To(HaveField("Replaced", HaveLen(1)))
			w.lists(api.KindExternalService)
		})

		It("is not restored over what is written meanwhile", func() {
			w := newWorld()
			data := backup(w)
			meanwhile := readFirst{data: bytes.NewReader(data), do: func() { w.put(service("default", "a", "one")) }}
			_, err := w.Restore(ctx, &meanwhile, false)
			Expect(err).To(Equal(&catalog.NotEmptyError{Stored: catalog.Counts{api.KindExternalService: 1}}))
			w.lists(api.KindExternalService, "ExternalService default/a=one")
		})

		It("leaves all as it was where that is damaged, newer or not valid", func() {
			w := newWorld()
			entry, _ := w.put(service("default", "a", "one"))
			data := backup(w)
			other := newWorld()
			other.put(service("default", "b", "one"))
			invalid := parse("type: TrafficRoute\nname: x\n")[0]
			writeUnchecked(other, invalid)

			for _, bad := range []struct {
				data []byte
				want string
			}{
				{nil, "backup: is damaged: it is empty"},
				{[]byte("not a backup"), "backup: is damaged: it is no bbolt file"},
				{data[:len(data)-1], "backup: is damaged: it is cut off"},
				{backup(other), `backup: TrafficRoute "x" in mesh "default": sources: at least one`},
			} {
				_, err := w.Restore(ctx, bytes.NewReader(bad.data), true)
				var invalid *catalog.InvalidError
				Expect(errors.As(err, &invalid)).To(BeTrue(), "%v", err)
				Expect(err).To(MatchError(ContainSubstring(bad.want)))
			}
			_, err := w.Restore(ctx, io.MultiReader(bytes.NewReader(data[:100]), iotest.ErrReader(io.ErrUnexpectedEOF)), true)
			Expect(err).To(MatchError(io.ErrUnexpectedEOF))
			Expect(w.get(serviceKey("a"))).To(Equal(entry))
			w.lists(api.KindExternalService, "ExternalService default/a=one")
			w.reopen()
			w.lists(api.KindExternalService, "ExternalService default/a=one")
		})
	})

	It("keeps what is not valid to it in the store, to be mended, and does not serve it", func() {
		w := newWorld()
		w.put(service("default", "a", "one"))
		writeUnchecked(w, parse("type: TrafficRoute\nname: x\n")[0])
		w.reopen()
		Expect(w.log).To(gbytes.Say("not valid to this version.*TrafficRoute.*x.*sources"))
		Expect(w.Invalid()).To(HaveLen(1))
		w.serves("ExternalService default/a=one", defaultMesh)
		w.lists(api.KindTrafficRoute, "TrafficRoute default/x")
		w.put(route("default", "x"))
		w.serves("ExternalService default/a=one", defaultMesh, "TrafficRoute default/x")
		Expect(w.Invalid()).To(BeEmpty())
	})

	Describe("with many at once", func() {
		It("does every write, and hands over the last state", func() {
			w := newWorld(service("default", "file", "file"))
			const writers, writes = 16, 30
			var working sync.WaitGroup
			for i := range writers {
				working.Go(func() {
					defer GinkgoRecover()
					name := fmt.Sprintf("own-%02d", i)
					for n := range writes {
						host := fmt.Sprintf("host-%d", n)
						_, _, err := w.Put(ctx, parse(service("default", name, host))[0], catalog.If{})
						Expect(err).NotTo(HaveOccurred())
						Expect(described([]*api.Resource{w.get(serviceKey(name)).Resource})).To(Equal([]string{"ExternalService default/" + name + "=" + host}))
						_, _, err = w.Put(ctx, parse(service("default", "shared", fmt.Sprintf("host-%d-%d", i, n)))[0], catalog.If{})
						Expect(err).NotTo(HaveOccurred())
						if n%10 == 9 { // and in the end
							// Another may have been faster.
							Expect(w.Delete(ctx, serviceKey("shared"), catalog.If{})).To(Or(Succeed(), Equal(&catalog.NotFoundError{Key: serviceKey("shared")})))
						}
						_ = w.List(api.KindExternalService, "")
					}
				})
			}
			working.Go(func() {
				defer GinkgoRecover()
				for n := range 20 {
					w.file("0.yaml", service("default", "file", fmt.Sprintf("file-%d", n)))
				}
			})
			working.Wait()
			want := []string{"ExternalService default/file=file-19"}
			for i := range writers {
				want = append(want, fmt.Sprintf("ExternalService default/own-%02d=host-%d", i, writes-1))
			}
			w.serves(append(want, defaultMesh)...)
			w.reopen()
			w.serves(append(want, defaultMesh)...)
		})
	})
})

// readFirst does something when it is read.
type readFirst struct {
	data io.Reader
	do   func()
}

func (r *readFirst) Read(p []byte) (int, error) {
	if r.do != nil {
		r.do()
		r.do = nil
	}
	return r.data.Read(p)
}

var _ = DescribeTable("numbers of resources are for people", func(c catalog.Counts, want string) {
	Expect(c.String()).To(Equal(want))
},
	Entry(nil, nil, "nothing"),
	Entry(nil, catalog.Counts{api.KindTrafficRoute: 1, api.KindMesh: 1}, "1 Mesh, 1 TrafficRoute"),
	Entry(nil, catalog.Counts{api.KindDataplane: 3, api.KindMesh: 2, api.KindExternalService: 10}, "2 Meshes, 3 Dataplanes, 10 ExternalServices"),
)
