package generate_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/proto"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
)

var _ = Describe("what a change touches", func() {
	// One client that mirrors what it sends to a backend.
	const mirroring = `
type: Dataplane
name: client
networking:
  address: 127.0.0.1
  gateway: {tags: {kuma.io/service: client}}
  outbound: [{port: 10001, tags: {kuma.io/service: backend}}]
---
type: Dataplane
name: backend
networking:
  address: 127.0.0.1
  inbound: [{port: 3, tags: {kuma.io/service: backend, kuma.io/protocol: http}}]
---
type: TrafficRoute
name: all
sources: [{match: {kuma.io/service: client}}]
destinations: [{match: {kuma.io/service: '*'}}]
conf:
  destination: {kuma.io/service: '*'}
  mirror: {destination: {kuma.io/service: shadow}}
`
	dataplane := func(name string) api.Key {
		return api.Key{Kind: api.KindDataplane, Mesh: api.DefaultMesh, Name: name}
	}

	It("leaves alone who has nothing to do with it", func() {
		before := slices.Concat(parse(mirroring), parse("type: Dataplane\nname: other\nnetworking: {address: 127.0.0.1, gateway: {tags: {kuma.io/service: other}}, outbound: [{port: 5, tags: {kuma.io/service: nobody}}]}\n"))
		after := slices.Concat(before, parse("type: Dataplane\nname: shadow\nnetworking: {address: 127.0.0.1, inbound: [{port: 6, tags: {kuma.io/service: shadow}}]}\n"))
		c := generate.Compare(before, after)
		index := mesh.New(after)
		Expect(c.Touches(dataplane("client"), index)).To(BeTrue(), "its mirror goes to the new instance")
		Expect(c.Touches(dataplane("other"), index)).To(BeFalse())
		Expect(c.Touches(dataplane("backend"), index)).To(BeFalse())
	})

	It("is nothing when the same is read again", func() {
		Expect(generate.Compare(parse(mirroring), parse(mirroring))).To(Equal(generate.Compare(nil, nil)))
	})

	It("is all that is generated differently, whatever changes", func() {
		random := rand.New(rand.NewPCG(uint64(GinkgoRandomSeed()), 1))
		spared := 0
		resources := randomResources(random)
		for range 150 {
			changed := mutate(random, resources)
			c := generate.Compare(resources, changed)
			before, after := mesh.New(resources), mesh.New(changed)
			for _, key := range after.Dataplanes() {
				if before.Mesh(key.Mesh).Dataplane(key.Name) == nil || c.Touches(key, after) {
					continue
				}
				spared++
				Expect(bytesOf(after, key)).To(Equal(bytesOf(before, key)), "%s after a change of %v", key, c)
			}
			resources = changed
		}
		Expect(spared).To(BeNumerically(">", 100))
	})
})

func bytesOf(index *mesh.Index, key api.Key) string {
	GinkgoHelper()
	resources, report, err := generate.Proxy(context.Background(), index, key)
	Expect(err).NotTo(HaveOccurred())
	var all strings.Builder
	for _, r := range resources.All() {
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.Resource)
		Expect(err).NotTo(HaveOccurred())
		fmt.Fprintf(&all, "%s %x\n", r.Name, body)
	}
	fmt.Fprintln(&all, report)
	return all.String()
}

// randomResources are a few of each kind, over few names so that they meet.
func randomResources(random *rand.Rand) []*api.Resource {
	var all []*api.Resource
	for i := range 12 {
		all = append(all, randomResource(random, i))
	}
	return all
}

// mutate replaces, removes or adds one resource.
func mutate(random *rand.Rand, resources []*api.Resource) []*api.Resource {
	i := random.IntN(12)
	r := randomResource(random, i)
	rest := slices.DeleteFunc(slices.Clone(resources), func(other *api.Resource) bool { return other.Key() == r.Key() })
	if random.IntN(4) == 0 {
		return rest
	}
	return append(rest, r)
}

func randomResource(random *rand.Rand, i int) *api.Resource {
	GinkgoHelper()
	service := func() string { return fmt.Sprintf("s%d", random.IntN(5)) }
	anyOf := func() string { return []string{service(), service(), "'*'"}[random.IntN(3)] }
	m := fmt.Sprintf("m%d", random.IntN(2))
	var document string
	switch {
	case i < 6:
		document = fmt.Sprintf("type: Dataplane\nmesh: %s\nname: d%d\nnetworking: {address: 127.0.0.1, inbound: [{port: %d, tags: {kuma.io/service: %s, kuma.io/protocol: %s, version: v%d}}], outbound: [{port: 10001, tags: {kuma.io/service: %s}}, {port: 10002, tags: {kuma.io/service: %s}}]}\n",
			m, i, 1+random.IntN(9), service(), []string{"http", "tcp", "grpc"}[random.IntN(3)], random.IntN(2), service(), service())
	case i < 10:
		document = fmt.Sprintf("type: TrafficRoute\nmesh: %s\nname: r%d\nsources: [{match: {kuma.io/service: %s}}]\ndestinations: [{match: {kuma.io/service: %s}}]\nconf: {http: [{match: {path: {prefix: /a}}, split: [{weight: 1, destination: {kuma.io/service: %s}}, {weight: 0, destination: {kuma.io/service: %s}}], mirrors: [{destination: {kuma.io/service: %s}}]}], destination: {kuma.io/service: '*'}, mirror: {destination: {kuma.io/service: %s, version: v1}}}\n",
			m, i, anyOf(), anyOf(), service(), service(), service(), service())
	default:
		document = fmt.Sprintf("type: ExternalService\nmesh: %s\nname: e%d\ntags: {kuma.io/service: %s, kuma.io/protocol: http}\nnetworking: {address: 10.0.0.1:%d}\n",
			m, i, service(), 1+random.IntN(9))
	}
	// Its mesh has no document, which generation does not ask for.
	resources, err := api.Parse("random", []byte(document))
	Expect(err).NotTo(HaveOccurred())
	return resources[0]
}
