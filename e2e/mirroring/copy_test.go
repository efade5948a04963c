package mirroring_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
)

var _ = onEachEnvoy("a copy", func(open func(context.Context, *world.World) *scene) {
	It("is its request, which it can be recognised by, but for what Envoy says of it", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		primary, shadow := w.HTTP("v1"), w.HTTP("v2")
		w.Route(`
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: backend, version: v2}}
`)
		open(ctx, w)
		answer := w.Send(ctx, world.Request{Method: http.MethodPost, Path: "/a%20b?c=d&c=%2F", Host: "shop.example", Body: "some",
			Header: http.Header{"Authorization": {"Bearer x"}, "Cookie": {"a=b; c=d"}, "X-Twice": {"one", "two"}, "User-Agent": {"test"}}})
		original, mirrored := world.Got(primary, answer.ID), copyOf(shadow, answer.ID)
		Expect(mirrored.Method).To(Equal(original.Method))
		Expect(mirrored.Path).To(Equal("/a%20b?c=d&c=%2F"))
		Expect(mirrored.Host).To(Equal("shop.example"))
		Expect(string(mirrored.Body)).To(Equal("some"))
		Expect(mirrored.Header.Get("X-Request-Id")).NotTo(BeEmpty())
		Expect(original.Header.Get("X-Envoy-Internal")).To(BeEmpty())
		added := http.Header{}
		for _, name := range []string{"X-Envoy-Internal", "X-Forwarded-For", "X-Kuma-Mirror-Copy"} {
			added[name] = mirrored.Header[name]
			delete(mirrored.Header, name)
		}
		Expect(mirrored.Header).To(Equal(original.Header))
		Expect(added).To(Equal(http.Header{"X-Envoy-Internal": {"true"}, "X-Forwarded-For": added["X-Forwarded-For"], "X-Kuma-Mirror-Copy": {"1"}}))
		Expect(added["X-Forwarded-For"]).To(HaveLen(1))
	})

	It("has the headers that its mirror wants, and the request keeps its own", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		primary, shadow := w.HTTP("v1"), w.HTTP("v2")
		w.Route(`
destination: {kuma.io/service: backend, version: v1}
mirror:
  destination: {kuma.io/service: backend, version: v2}
  requestHeaders:
    add:
    - {name: x-mirrored, value: "true"}
    - {name: x-tenant, value: shadow}
    - {name: x-via, value: mirror, append: true}
    remove:
    - {name: authorization}
    - {name: Cookie}
`)
		open(ctx, w)
		sent := http.Header{"Authorization": {"Bearer x"}, "Cookie": {"a=b"}, "X-Tenant": {"acme"}, "X-Via": {"client"}}
		answer := w.Send(ctx, world.Request{Header: sent})
		original, mirrored := world.Got(primary, answer.ID).Header, copyOf(shadow, answer.ID).Header
		for name, values := range sent {
			Expect(original[name]).To(Equal(values))
		}
		Expect(original).NotTo(HaveKey("X-Mirrored"))

		Expect(mirrored["X-Mirrored"]).To(Equal([]string{"true"}))
		Expect(mirrored["X-Tenant"]).To(Equal([]string{"shadow"}))
		Expect(strings.Join(mirrored["X-Via"], ",")).To(Equal("client,mirror"))
		Expect(mirrored).NotTo(HaveKey("Authorization"))
		Expect(mirrored).NotTo(HaveKey("Cookie"))
		Expect(mirrored.Get("X-Request-Id")).To(Equal(original.Get("X-Request-Id")))
	})

	DescribeTable("has a host", func(ctx SpecContext, host, asked, expected string) {
		w := world.New(GinkgoT())
		primary, shadow := w.HTTP("v1"), w.HTTP("v2")
		w.Route(fmt.Sprintf(`
destination: {kuma.io/service: backend, version: v1}
mirror: {destination: {kuma.io/service: backend, version: v2}%s}
`, host))
		open(ctx, w)
		answer := w.Send(ctx, world.Request{Host: asked})
		Expect(world.Got(primary, answer.ID).Host).To(Equal(asked))
		Expect(copyOf(shadow, answer.ID).Host).To(Equal(expected))
	},
		Entry("that is the request's", "", "shop.example:8080", "shop.example:8080"),
		Entry("with -shadow where the mirror wants that", ", host: {suffix: true}", "shop.example", "shop.example-shadow"),
		Entry("with -shadow before the port", ", host: {suffix: true}", "shop.example:8080", "shop.example-shadow:8080"),
		Entry("that the mirror names", `, host: {value: "other.example:81"}`, "shop.example", "other.example:81"),
	)

	It("is of the request as the route has modified it", func(ctx SpecContext) {
		w := world.New(GinkgoT())
		primary, shadow := w.HTTP("v1"), w.HTTP("v2")
		w.Route(`
http:
- match:
    method: {exact: POST}
    path: {regex: "/old/[a-z]+"}
    headers: {x-kind: {regex: "a|b"}, x-tenant: {prefix: ac}}
  modify:
    path: {regex: {pattern: "^/old/(.*)$", substitution: "/new/\\1"}}
    host: {value: inner.example}
    requestHeaders: {add: [{name: x-modified, value: "yes"}], remove: [{name: x-secret}]}
    responseHeaders: {add: [{name: x-answer, value: modified}]}
  destination: {kuma.io/service: backend, version: v1}
  mirror:
    destination: {kuma.io/service: backend, version: v2}
    requestHeaders: {add: [{name: x-modified, value: by-mirror}]}
- match: {path: {prefix: /api/}}
  modify: {path: {rewritePrefix: /}, host: {fromPath: {pattern: "^/api/([a-z]+)/.*$", substitution: "\\1.example"}}}
  destination: {kuma.io/service: backend, version: v1}
  mirror: {destination: {kuma.io/service: backend, version: v2}, host: {suffix: true}}
destination: {kuma.io/service: backend, version: v1}
`)
		open(ctx, w)
		header := http.Header{"X-Kind": {"b"}, "X-Tenant": {"acme"}, "X-Secret": {"s"}}
		answer := w.Send(ctx, world.Request{Method: http.MethodPost, Path: "/old/x", Host: "outer.example", Header: header, Body: "b"})
		Expect(answer.Header.Get("X-Answer")).To(Equal("modified"))
		original, mirrored := world.Got(primary, answer.ID), copyOf(shadow, answer.ID)
		Expect(original.Path).To(Equal("/new/x"))
		Expect(original.Host).To(Equal("inner.example"))
		Expect(original.Header.Get("X-Modified")).To(Equal("yes"))
		Expect(original.Header).NotTo(HaveKey("X-Secret"))
		Expect(mirrored.Path).To(Equal("/new/x"))
		Expect(mirrored.Host).To(Equal("inner.example"))
		Expect(mirrored.Header.Get("X-Modified")).To(Equal("by-mirror"))
		Expect(mirrored.Header).NotTo(HaveKey("X-Secret"))

		answer = w.Send(ctx, world.Request{Path: "/api/shop/item", Host: "outer.example"})
		original, mirrored = world.Got(primary, answer.ID), copyOf(shadow, answer.ID)
		Expect(original.Path).To(Equal("/shop/item"))
		Expect(original.Host).To(Equal("shop.example"))
		Expect(mirrored.Path).To(Equal("/shop/item"))
		Expect(mirrored.Host).To(Equal("shop.example-shadow"))

		// What misses one of the conditions is none of the entry's.
		for _, miss := range []world.Request{
			{Method: http.MethodPut, Path: "/old/x", Header: header},
			{Method: http.MethodPost, Path: "/old/x1", Header: header},
			{Method: http.MethodPost, Path: "/old/x", Header: http.Header{"X-Kind": {"c"}, "X-Tenant": {"acme"}}},
			{Method: http.MethodPost, Path: "/old/x", Header: http.Header{"X-Kind": {"a"}, "X-Tenant": {"other"}}},
		} {
			answer := w.Send(ctx, miss)
			Expect(world.Got(primary, answer.ID).Path).To(Equal(miss.Path))
			Expect(answer.Header).NotTo(HaveKey("X-Answer"))
		}
		Consistently(shadow.Count).Should(Equal(2))
	})
})
