package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
)

// mirrorsOf serves mirrors as a host does, by the path that is asked for, and what
// is stale.
func mirrorsOf(mirrors map[string][]status.Mirror, stale ...status.Stale) string {
	GinkgoHelper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		items, ok := mirrors[r.URL.Path]
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/stale" {
			_ = json.NewEncoder(w).Encode(map[string]any{"total": len(stale), "items": append([]status.Stale{}, stale...), "next": nil})
			return
		}
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"status": 404, "title": "Could not retrieve the mirrors", "detail": "Not found", "missing": "Mesh/nowhere"}`))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"total": len(items), "items": items, "next": nil})
	}))
	DeferCleanup(server.Close)
	return server.URL
}

var _ = Describe("kuma-mirror status", func() {
	// Half an hour more, so that the hours are the same however late a spec runs.
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d - time.Hour/2) }
	shadow := status.Shadow{Tags: api.Tags{"kuma.io/service": "backend", "version": "v2"}, Name: "shadow", Cluster: "c", Endpoints: 1}
	latency := func(p50, p99 float64) *status.Latency { return &status.Latency{Count: 9, P50: p50, P99: p99} }
	all := []status.Mirror{
		{
			Mesh: "default", Dataplane: "web", Policy: "route", Path: "conf.http[0].mirror", Match: "path prefix /a", Outbound: "backend",
			Shadow: shadow, Percentage: 90, State: status.Active, Since: ago(3 * time.Hour),
			Window: &status.Window{
				Seconds: 60, EffectivePercentage: new(83.1251), CopiesPerSecond: 1234.5,
				Counts:           status.Counts{Requests: 320, Copies: 266, Dropped: status.Dropped{Concurrency: 1, Body: 20, Duration: 3, NoHealthyEndpoint: 4, ConnectionFailure: 5}},
				ShadowErrorRate:  new(0.0123),
				PrimaryErrorRate: new(0.0),
				ShadowLatency:    latency(12.34, 1000.4), PrimaryLatency: latency(0.5, 9),
			},
		},
		{
			Mesh: "default", Dataplane: "web", Policy: "route", Path: "conf.http[1].mirrors[0]", Match: "path regex " + strings.Repeat("x", 50), Outbound: "backend",
			Shadow: shadow, Percentage: 50, State: status.Unreachable, Reason: "nobody is there", Since: ago(5 * time.Hour),
			Window:     &status.Window{Seconds: 60, CopiesPerSecond: 2.5, EffectivePercentage: new(25.0)},
			SharedWith: []string{"route: conf.http[0].mirror (backend)"}, Note: "mind the gap",
		},
		{
			Mesh: "default", Dataplane: "api", Policy: "route", Path: "conf.mirror", Match: "everything else", Outbound: "backend",
			Shadow: status.Shadow{Tags: api.Tags{"kuma.io/service": "backend"}}, Percentage: 0, State: status.Off, Reason: "its percentage is 0", Since: ago(time.Hour),
		},
		{
			Mesh: "default", Policy: "stray", Path: "conf.mirror", Match: "everything", Shadow: shadow, Percentage: 12.5, State: status.NoMatch,
			Reason: "it governs nothing", Since: ago(50 * time.Hour),
		},
	}
	show := func(ctx context.Context, args ...string) ran {
		GinkgoHelper()
		address := mirrorsOf(map[string][]status.Mirror{"/meshes/default/mirrors": all, "/mirrors": all, "/meshes/empty/mirrors": {}})
		return runAlone(ctx, newStatusCommand(), "", append([]string{"--address", address}, args...)...)
	}

	It("is a table, and below it what does not fit in", func(ctx SpecContext) {
		r := show(ctx)
		Expect(r.stderr).To(BeEmpty())
		Expect(r.code).To(Equal(exitOK))
		Expect(strings.Split(r.stdout, "\n")).To(Equal([]string{
			"DATAPLANE  POLICY  MIRROR              MATCH                                     SHADOW                          STATE        SINCE  PERCENT  EFFECTIVE  COPIES/S  DROPPED                                                          P50/P99 MS (PRIMARY)  ERRORS (PRIMARY)",
			"web        route   http[0].mirror      path prefix /a                            backend (version=v2) as shadow  active       3h     90 %     83.1 %     1234      1 concurrency, 20 body, 3 duration, 4 no endpoint, 5 connection  12.3/1000 (0.5/9)     1.23 % (0 %)",
			"web        route   http[1].mirrors[0]  path regex xxxxxxxxxxxxxxxxxxxxxxxxxxxx…  backend (version=v2) as shadow  unreachable  5h     50 %     ~25 %      ~2.5      0                                                                -                     -",
			"api        route   mirror              everything else                           backend                         off          1h     0 %      -          -         -                                                                -                     -",
			"-          stray   mirror              everything                                backend (version=v2) as shadow  no-match     2d     12.5 %   -          -         -                                                                -                     -",
			"",
			"web route http[1].mirrors[0]: nobody is there",
			"web route http[1].mirrors[0]: mind the gap",
			"web route http[1].mirrors[0]: Envoy counts its copies together with those of route: conf.http[0].mirror (backend); ~ marks the share it should have of them",
			"stray mirror: it governs nothing",
			"4 mirrors: 1 active, 1 off, 1 no-match, 1 unreachable",
			"",
		}))
	})

	It("can be of all meshes", func(ctx SpecContext) {
		r := show(ctx, "-A")
		Expect(r.stdout).To(MatchRegexp(`^MESH     DATAPLANE .*\ndefault  web `))
	})

	DescribeTable("is what the API says, as JSON and YAML", func(ctx SpecContext, format string, parse func([]byte, any) error) {
		r := show(ctx, "-o", format)
		Expect(r.code).To(Equal(exitOK))
		var list struct {
			Total int
			Items []status.Mirror
		}
		Expect(parse([]byte(r.stdout), &list)).To(Succeed())
		Expect(list.Total).To(Equal(4))
		Expect(list.Items[0].Window).To(Equal(all[0].Window))
		Expect(list.Items[1].SharedWith).To(Equal(all[1].SharedWith))
	},
		Entry(nil, "json", json.Unmarshal),
		Entry(nil, "yaml", func(b []byte, into any) error { return yaml.Unmarshal(b, into) }),
	)

	It("can be of one data plane", func(ctx SpecContext) {
		r := show(ctx, "--dataplane", "api")
		Expect(r.stdout).To(ContainSubstring("\n1 mirror: 1 off\n"))
		r = show(ctx, "--dataplane", "pai")
		Expect(r.code).To(Equal(exitFailed))
		Expect(r.stderr).To(Equal("Error: data plane \"pai\" has no mirrors; these have: api, web\n"))
	})

	It("says where there is none", func(ctx SpecContext) {
		r := show(ctx, "-m", "empty")
		Expect(r).To(Equal(ran{code: exitOK, stderr: "There are no mirrors in mesh \"empty\".\n"}))
		r = show(ctx, "-m", "nowhere")
		Expect(r).To(Equal(ran{code: exitFailed, stderr: "Error: there is no mesh \"nowhere\"\n"}))
		r = show(ctx, "-m", "empty", "--dataplane", "web")
		Expect(r.stderr).To(ContainSubstring("nor has any other"))
	})

	Describe("with what is not in use as it is written", func() {
		file := status.Stale{Kind: status.StaleFile, Name: "conf/route.yaml", Problems: []string{"is not YAML", "and more"}}
		resource := status.Stale{Kind: status.StaleResource, Mesh: "shop", Name: "TrafficRoute r", Problems: []string{"is not valid"}}
		till := status.Stale{Kind: status.StaleDataplane, Mesh: "default", Name: "till", Problems: []string{"its Envoy refuses it"}}
		well := []status.Mirror{all[0], all[2]}
		ask := func(ctx context.Context, mirrors []status.Mirror, stale []status.Stale, args ...string) ran {
			GinkgoHelper()
			address := mirrorsOf(map[string][]status.Mirror{"/meshes/default/mirrors": mirrors, "/mirrors": mirrors}, stale...)
			return runAlone(ctx, newStatusCommand(), "", append([]string{"--address", address}, args...)...)
		}

		It("lists files, and what is of the mesh and the data plane", func(ctx SpecContext) {
			stale := []status.Stale{file, resource, till}
			r := ask(ctx, well, stale)
			Expect(r.code).To(Equal(exitOK))
			Expect(r.stdout).To(HaveSuffix("\n2 mirrors: 1 active, 1 off\n" +
				"file conf/route.yaml is not in use as written: is not YAML\n" +
				"file conf/route.yaml is not in use as written: and more\n" +
				"dataplane till is not in use as written: its Envoy refuses it\n"))
			Expect(ask(ctx, well, stale, "-A").stdout).To(ContainSubstring("resource TrafficRoute r is not in use as written: is not valid\n"))
			Expect(ask(ctx, well, stale, "--dataplane", "web").stdout).NotTo(ContainSubstring("till"))
			Expect(ask(ctx, nil, stale).stdout).To(HavePrefix("file conf/route.yaml"))

			var list struct{ Stale []status.Stale }
			Expect(json.Unmarshal([]byte(ask(ctx, well, stale, "-A", "-o", "json").stdout), &list)).To(Succeed())
			Expect(list.Stale).To(Equal(stale))
		})

		DescribeTable("--check fails for it, and for mirrors that should copy and do not",
			func(ctx SpecContext, mirrors []status.Mirror, stale []status.Stale, message string) {
				r := ask(ctx, mirrors, stale, "--check")
				Expect(r.stdout).NotTo(BeEmpty())
				if message == "" {
					Expect(r.stderr).To(BeEmpty())
					Expect(r.code).To(Equal(exitOK))
					return
				}
				Expect(r.stderr).To(Equal("Error: " + message + "\n"))
				Expect(r.code).To(Equal(exitFailed))
			},
			Entry("all is well: active, or at 0 %", well, nil, ""),
			Entry("a mirror is not active", all, nil, "2 mirrors should copy and do not"),
			Entry("a file is bad", well, []status.Stale{file}, "not in use as written: 1 of files, resources and data planes"),
			Entry("both", all, []status.Stale{file, till}, "2 mirrors should copy and do not; not in use as written: 2 of files, resources and data planes"),
			Entry("what is bad is of another mesh", well, []status.Stale{resource}, ""),
		)
	})

	DescribeTable("is refused for a wrong command line", func(ctx SpecContext, message string, args ...string) {
		r := show(ctx, args...)
		Expect(r.code).To(Equal(exitUsage))
		Expect(r.stderr).To(ContainSubstring(message))
		Expect(r.stdout).To(BeEmpty())
	},
		Entry("an interval without --watch", "--interval is for --watch alone", "--interval", "5s"),
		Entry("an interval that is too short", "100ms or more", "-w", "--interval", "1ms"),
		Entry("a format", "table", "-o", "xml"),
		Entry("a check that never ends", "check", "--check", "-w"),
		Entry("both a mesh and all", "mesh", "-m", "a", "-A"),
		Entry("an argument", "unknown command", "web"),
	)

	Describe("again and again", func() {
		watch := func(ctx context.Context, address string, args ...string) ran {
			return runAlone(ctx, newStatusCommand(), "", append([]string{"--address", address, "--watch", "--interval", "100ms"}, args...)...)
		}

		It("goes on until it is interrupted, though the host be away in between", func(ctx SpecContext) {
			var asked atomic.Int32
			watching, end := context.WithCancel(ctx)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/stale" {
					_, _ = w.Write([]byte("{}"))
					return
				}
				switch asked.Add(1) {
				case 2:
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				case 4:
					end()
				}
				_ = json.NewEncoder(w).Encode(map[string]any{"items": all})
			}))
			DeferCleanup(server.Close)
			r := watch(watching, server.URL)
			Expect(r.code).To(Equal(exitOK))
			Expect(strings.Count(r.stdout, "DATAPLANE")).To(BeNumerically(">=", 2))
			Expect(r.stderr).To(MatchRegexp(`\A\d\d:\d\d:\d\d: .*; trying again\n\z`))
		})

		It("writes documents one after the other", func(ctx SpecContext) {
			var asked atomic.Int32
			watching, end := context.WithCancel(ctx)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/stale" {
					_, _ = w.Write([]byte("{}"))
					return
				}
				if asked.Add(1) == 3 {
					end()
				}
				_ = json.NewEncoder(w).Encode(map[string]any{"items": all})
			}))
			DeferCleanup(server.Close)
			r := watch(watching, server.URL, "-o", "yaml")
			Expect(r.code).To(Equal(exitOK))
			Expect(strings.Count(r.stdout, "\n---\n")).To(BeNumerically(">=", 1))
		})

		It("does not begin where nobody answers", func(ctx SpecContext) {
			server := httptest.NewServer(http.NotFoundHandler())
			server.Close()
			Expect(watch(ctx, server.URL).code).To(Equal(exitFailed))
		})
	})
})

var _ = Describe("kuma-mirror inspect mirrors", func() {
	one := status.Mirror{
		Mesh: "default", Dataplane: "web", Policy: "route", Path: "conf.http[0].mirror", Match: "path prefix /a", Outbound: "backend",
		Listeners: []string{"outbound:127.0.0.1:1", "outbound:127.0.0.1:2"},
		Shadow:    status.Shadow{Tags: api.Tags{"kuma.io/service": "backend", "version": "v2"}, Name: "shadow", Cluster: "c"},
		State:     status.Active, Percentage: 50, Since: time.Now().Add(-time.Hour - time.Hour/2),
		Envoy: &status.Envoy{
			RouteTable: "outbound:backend", Index: 2, Route: json.RawMessage(`{"match":{"prefix":"/a"}}`), Cluster: json.RawMessage(`{"name":"c"}`),
			Endpoints: json.RawMessage(`{"clusterName":"c"}`), RouteStats: "vhost.backend.route.route_http_0", ClusterStats: "cluster.shadow",
		},
	}
	off := one
	off.Path, off.State, off.Reason, off.Envoy = "conf.mirror", status.Refused, "two\nlines", nil
	inspect := func(ctx context.Context, args ...string) ran {
		GinkgoHelper()
		address := mirrorsOf(map[string][]status.Mirror{
			"/meshes/default/dataplanes/web/mirrors": {one, off}, "/meshes/shop/dataplanes/till/mirrors": {},
		})
		root := &cobra.Command{Use: "kuma-mirror"}
		root.AddCommand(newInspectCommand())
		return runAlone(ctx, root, "", append([]string{"inspect", "mirrors", "--address", address}, args...)...)
	}

	It("is YAML, with what is no configuration in comments", func(ctx SpecContext) {
		r := inspect(ctx, "--dataplane", "web")
		Expect(r.stderr).To(BeEmpty())
		Expect(r.code).To(Equal(exitOK))
		Expect(r.stdout).To(Equal(`# conf.http[0].mirror of TrafficRoute "route" in mesh "default"
# matches: path prefix /a
# on the outbound to backend (outbound:127.0.0.1:1, outbound:127.0.0.1:2)
# copies 50 % to backend (version=v2) as shadow
# active for 1h
# route 3 of the route table outbound:backend, counted in vhost.backend.route.route_http_0.*
route:
  match:
    prefix: /a
# counted in cluster.shadow.*
cluster:
  name: c
endpoints:
  clusterName: c
---
# conf.mirror of TrafficRoute "route" in mesh "default"
# matches: path prefix /a
# on the outbound to backend (outbound:127.0.0.1:1, outbound:127.0.0.1:2)
# copies 50 % to backend (version=v2) as shadow
# refused for 1h
# two
# lines
# Envoy is given nothing for it
`))
	})

	It("is what the API says, as JSON", func(ctx SpecContext) {
		r := inspect(ctx, "--dataplane", "web", "-o", "json")
		var list struct{ Items []status.Mirror }
		Expect(json.Unmarshal([]byte(r.stdout), &list)).To(Succeed())
		Expect(list.Items[0].Envoy.Index).To(Equal(2))
		Expect(list.Items[1].Envoy).To(BeNil())
	})

	It("says where there is nothing", func(ctx SpecContext) {
		Expect(inspect(ctx, "-m", "shop", "--dataplane", "till")).To(Equal(ran{stderr: "Data plane \"till\" has no mirrors.\n"}))
		Expect(inspect(ctx, "--dataplane", "wbe")).To(Equal(ran{code: exitFailed, stderr: "Error: there is no data plane \"wbe\" in mesh \"default\"\n"}))
	})

	It("needs to know of which data plane", func(ctx SpecContext) {
		r := inspect(ctx)
		Expect(r.code).To(Equal(exitUsage))
		Expect(r.stderr).To(ContainSubstring(`"dataplane" not set`))
		r = inspect(ctx, "--dataplane", "")
		Expect(r.code).To(Equal(exitUsage))
		Expect(r.stderr).To(ContainSubstring("--dataplane is empty"))
	})
})
