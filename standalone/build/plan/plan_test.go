package plan_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/proto"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/plan"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
)

// caller is a data plane that calls a service.
func caller(name, service string) string {
	return fmt.Sprintf(`---
type: Dataplane
name: %s
networking:
  address: 127.0.0.1
  gateway: {tags: {kuma.io/service: %s}}
  outbound: [{port: 10001, tags: {kuma.io/service: %s}}]
`, name, name, service)
}

// server is a data plane that serves a service.
func server(name, address, service string) string {
	return fmt.Sprintf("---\ntype: Dataplane\nname: %s\nnetworking: {address: %s, inbound: [{port: 80, servicePort: 8080, tags: {kuma.io/service: %s, kuma.io/protocol: http}}]}\n",
		name, address, service)
}

// routed is a TrafficRoute for requests to backend, and what else is in conf.
func routed(source, conf string) string {
	return fmt.Sprintf(`---
type: TrafficRoute
name: backend
sources: [{match: {kuma.io/service: '%s'}}]
destinations: [{match: {kuma.io/service: backend}}]
conf: {destination: {kuma.io/service: backend}%s}
`, source, conf)
}

const toShadow = ", mirror: {destination: {kuma.io/service: shadow}, percentage: 50}"

func parse(documents string) []*api.Resource {
	GinkgoHelper()
	resources, err := api.Parse("test", []byte(documents))
	Expect(err).NotTo(HaveOccurred())
	return resources
}

// planned is what going from some documents to others does.
func planned(ctx context.Context, before, after string, asked ...plan.Resource) *plan.Plan {
	GinkgoHelper()
	p, err := plan.Make(ctx, parse(before), parse(after), asked)
	Expect(err).NotTo(HaveOccurred())
	return p
}

// names are those of the data planes of a plan.
func names(p *plan.Plan) []string {
	var out []string
	for _, d := range p.Dataplanes {
		out = append(out, d.Name)
	}
	return out
}

var _ = Describe("a plan", func() {
	base := server("backend", "192.0.2.1", "backend") + server("shadow", "192.0.2.2", "shadow") + caller("web", "backend")
	route := plan.Resource{Kind: api.KindTrafficRoute, Mesh: "default", Name: "backend", Result: catalog.Configured}

	It("says what a new mirror changes, and for whom", func(ctx SpecContext) {
		p := planned(ctx, base+routed("web", "")+caller("other", "shadow"), base+routed("web", toShadow)+caller("other", "shadow"), route)
		Expect(p.Resources).To(Equal([]plan.Resource{route}))
		Expect(names(p)).To(Equal([]string{"web"}))
		web := p.Dataplanes[0]
		Expect(web.Mesh).To(Equal("default"))
		Expect(web.Change).To(Equal(plan.Changed))
		diffs := map[string]string{}
		for _, c := range web.Changes {
			diffs[fmt.Sprint(c.Change, " ", c.Type, " ", c.Name)] = p.Diffs[c.Diff]
		}
		Expect(diffs).To(And(HaveLen(3), HaveLen(len(p.Diffs))))
		Expect(diffs["changed route outbound:backend"]).To(And(
			HavePrefix("--- route/outbound:backend\n+++ route/outbound:backend\n@@ "),
			ContainSubstring(`
+          cluster: backend
+          timeout: 0s
+          requestMirrorPolicies:
+            - cluster: shadow_mirror
+              runtimeFraction:
+                defaultValue:
+                  numerator: 50
+              disableShadowHostSuffixAppend: true
`)))
		Expect(diffs["added cluster shadow_mirror"]).To(And(
			HavePrefix("--- /dev/null\n+++ cluster/shadow_mirror\n@@ -0,0 +1,"), ContainSubstring("\n+name: shadow_mirror\n")))
		Expect(diffs["added endpoints shadow_mirror"]).To(ContainSubstring("address: 192.0.2.2\n"))
		Expect(web.Mirrors).To(Equal([]plan.Mirror{{
			Listener: "outbound:127.0.0.1:10001",
			Policy:   "backend",
			Path:     "conf.mirror",
			After: &plan.MirrorState{
				State: plugin.Injected, Destination: api.Tags{"kuma.io/service": "shadow"}, Percentage: 50, Cluster: "shadow_mirror",
			},
		}}))
		Expect(p.Warnings).To(BeEmpty())
	})

	It("says what goes, the other way round", func(ctx SpecContext) {
		p := planned(ctx, base+routed("web", toShadow), base)
		Expect(names(p)).To(Equal([]string{"web"}))
		web := p.Dataplanes[0]
		Expect(web.Changes).To(HaveExactElements(
			HaveField("Change", plan.Changed), HaveField("Change", plan.Removed), HaveField("Change", plan.Removed)))
		Expect(p.Diffs[web.Changes[1].Diff]).To(HavePrefix("--- cluster/shadow_mirror\n+++ /dev/null\n"))
		Expect(web.Mirrors).To(HaveExactElements(And(HaveField("Before.Percentage", 50.0), HaveField("After", BeNil()))))
	})

	It("tells of mirrors that change without being in Envoy", func(ctx SpecContext) {
		p := planned(ctx, base+routed("web", ""), base+routed("web", strings.Replace(toShadow, "50", "0", 1)), route)
		Expect(p.Dataplanes).To(HaveLen(1))
		Expect(p.Dataplanes[0].Changes).To(BeEmpty())
		Expect(p.Dataplanes[0].Mirrors).To(HaveExactElements(HaveField("After.State", plugin.Off)))
		Expect(p.Warnings).To(HaveExactElements(And(HaveField("Path", "conf.mirror.percentage"), HaveField("Message", ContainSubstring("0")))))
	})

	It("keeps one diff where many data planes have the same", func(ctx SpecContext) {
		before := base
		for i := range 20 {
			before += caller(fmt.Sprintf("web-%02d", i), "backend")
		}
		p := planned(ctx, before, before+routed("*", toShadow))
		Expect(p.Dataplanes).To(HaveLen(21))
		Expect(slices.IsSorted(names(p))).To(BeTrue())
		Expect(p.Diffs).To(HaveLen(3))
		for _, d := range p.Dataplanes {
			Expect(d.Changes).To(Equal(p.Dataplanes[0].Changes))
		}
	})

	It("tells data planes that come and go from those that change", func(ctx SpecContext) {
		second := server("backend-2", "192.0.2.3", "backend")
		p := planned(ctx, base, base+second)
		Expect(names(p)).To(Equal([]string{"backend-2", "web"}))
		Expect(p.Dataplanes[0].Change).To(Equal(plan.Added))
		Expect(p.Dataplanes[0].Changes).To(ContainElement(plan.Change{Type: plan.Listener, Name: "inbound:192.0.2.3:80", Change: plan.Added}), "without a diff: all is new")
		Expect(p.Dataplanes[1].Changes).To(HaveExactElements(And(HaveField("Type", plan.Endpoints), HaveField("Name", "backend"))))
		Expect(p.Diffs[p.Dataplanes[1].Changes[0].Diff]).To(ContainSubstring("\n+"))

		p = planned(ctx, base+second, base)
		Expect(p.Dataplanes[0].Change).To(Equal(plan.Removed))
		Expect(p.Dataplanes[0].Changes).To(ContainElement(HaveField("Change", plan.Removed)))
	})

	It("is empty, with lists that are lists, where nothing changes", func(ctx SpecContext) {
		p := planned(ctx, base+routed("web", toShadow), base+routed("web", toShadow))
		Expect(json.Marshal(p)).To(MatchJSON(`{"resources": [], "dataplanes": [], "diffs": {}, "warnings": []}`))
	})

	It("has the warnings that are new, and those of what was asked for", func(ctx SpecContext) {
		before := base + routed("web", toShadow) + "---\ntype: TrafficRoute\nname: idle\nsources: [{match: {kuma.io/service: nobody}}]\ndestinations: [{match: {kuma.io/service: '*'}}]\nconf: {destination: {kuma.io/service: '*'}}\n"
		after := strings.Replace(before, "kuma.io/service: shadow}, percentage", "kuma.io/service: nowhere}, percentage", 1)
		Expect(planned(ctx, before, after).Warnings).To(Equal([]plan.Warning{{
			Object:  `TrafficRoute "backend" in mesh "default"`,
			Path:    "conf.mirror.destination",
			Message: `no data plane and no ExternalService serves "nowhere"`,
		}}))
		Expect(planned(ctx, after, after).Warnings).To(BeEmpty(), "all are known")
		Expect(planned(ctx, after, after, route).Warnings).To(HaveLen(1), "its author asks again")
	})

	It("ends when its context does", func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := plan.Make(ctx, nil, parse(base), nil)
		Expect(err).To(MatchError(context.Canceled))
	})

	It("has exactly the data planes whose configuration differs, in any order of the resources", func(ctx SpecContext) {
		random := rand.New(rand.NewPCG(uint64(GinkgoRandomSeed()), 1))
		resources := make([]string, 12)
		for i := range resources {
			resources[i] = randomResource(random, i)
		}
		told := 0
		for range 25 {
			changed := slices.Clone(resources)
			i := random.IntN(len(changed))
			if changed[i] = randomResource(random, i); random.IntN(4) == 0 {
				changed[i] = ""
			}
			before, after := strings.Join(resources, ""), strings.Join(changed, "")
			p := planned(ctx, before, after)
			Expect(names(p)).To(Equal(differing(ctx, before, after)), "from%s\nto%s", resources[i], changed[i])
			told += len(p.Dataplanes)

			random.Shuffle(len(resources), func(i, j int) { resources[i], resources[j] = resources[j], resources[i] })
			shuffled := slices.Clone(changed)
			random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			Expect(json.Marshal(planned(ctx, strings.Join(resources, ""), strings.Join(shuffled, "")))).To(MatchJSON(must(json.Marshal(p))))
			resources = changed
		}
		Expect(told).To(BeNumerically(">", 10))
	})
})

func must(b []byte, err error) []byte {
	GinkgoHelper()
	Expect(err).NotTo(HaveOccurred())
	return b
}

// differing generates every data plane before and after and compares.
func differing(ctx context.Context, before, after string) []string {
	GinkgoHelper()
	content := func(documents string) map[string]string {
		index, all := mesh.New(parse(documents)), map[string]string{}
		for _, key := range index.Dataplanes() {
			resources, report, err := generate.Proxy(ctx, index, key)
			Expect(err).NotTo(HaveOccurred())
			text := fmt.Sprintln(report)
			for _, r := range resources.All() {
				text += fmt.Sprintf("%s %x\n", r.Name, must(proto.MarshalOptions{Deterministic: true}.Marshal(r.Resource)))
			}
			all[key.Name] = text
		}
		return all
	}
	was, is := content(before), content(after)
	var out []string
	for name := range is {
		if was[name] != is[name] {
			out = append(out, name)
		}
	}
	for name := range was {
		if is[name] == "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func randomResource(random *rand.Rand, i int) string {
	service := func() string { return fmt.Sprintf("s%d", random.IntN(4)) }
	switch {
	case i < 7:
		return fmt.Sprintf("---\ntype: Dataplane\nname: d%d\nnetworking: {address: 127.0.0.1, inbound: [{port: %d, servicePort: 80, tags: {kuma.io/service: %s, kuma.io/protocol: %s}}], outbound: [{port: 10001, tags: {kuma.io/service: %s}}]}\n",
			i, 1+random.IntN(9), service(), []string{"http", "tcp"}[random.IntN(2)], service())
	default:
		return fmt.Sprintf("---\ntype: TrafficRoute\nname: r%d\nsources: [{match: {kuma.io/service: %s}}]\ndestinations: [{match: {kuma.io/service: %s}}]\nconf: {destination: {kuma.io/service: %s}, mirror: {destination: {kuma.io/service: %s}, percentage: %d}}\n",
			i, service(), service(), service(), service(), 50*random.IntN(3))
	}
}
