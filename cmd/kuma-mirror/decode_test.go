package main

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("kuma-mirror decode", func() {
	decode := func(ctx SpecContext, stdin string, args ...string) ran {
		return runAlone(ctx, newDecodeCommand(), stdin, args...)
	}

	It("gives back what was encoded", func(ctx SpecContext) {
		Expect(decode(ctx, encodedRoute, "-f", "-")).To(Equal(ran{stdout: mirroredRoute}))
		Expect(decode(ctx, other+"---\n"+mirroredRoute, "-f", "-")).To(Equal(ran{stdout: other + "---\n" + mirroredRoute}))
	})

	// As kumactl 2.14.3 prints it.
	got := `creationTime: "2026-11-23T10:00:00.123456Z"
labels:
  kuma.io/mesh: default
  kuma.io/origin: zone
mesh: default
modificationTime: "2026-11-23T10:00:00.123456Z"
name: mirrored
type: TrafficRoute
` + encodedRoute[strings.Index(encodedRoute, "sources:"):]

	restored := strings.Replace(mirroredRoute, "sources:", `labels:
  kuma.io/mesh: default
  kuma.io/origin: zone
creationTime: "2026-11-23T10:00:00.123456Z"
modificationTime: "2026-11-23T10:00:00.123456Z"
sources:`, 1)

	It("reads what kumactl gets", func(ctx SpecContext) {
		Expect(decode(ctx, got, "-f", "-")).To(Equal(ran{stdout: restored}))
	})

	It("makes documents of the list that kumactl gets", func(ctx SpecContext) {
		item := "- " + strings.ReplaceAll(strings.TrimSpace(got), "\n", "\n  ") + "\n"
		list := "items:\n" + item + strings.Replace(item, "name: mirrored", "name: second", 1) + "next: null\ntotal: 2\n"
		second := strings.Replace(restored, "name: mirrored", "name: second", 1)
		Expect(decode(ctx, list, "-f", "-")).To(Equal(ran{stdout: restored + "---\n" + second}))

		json := decode(ctx, list, "-f", "-", "-o", "json")
		Expect(json.code).To(Equal(exitOK), json.stderr)
		Expect(decode(ctx, json.stdout, "-f", "-", "-o", "json")).To(Equal(json))
	})

	It("has nothing to say of an empty list", func(ctx SpecContext) {
		const empty = `{"total": 0, "items": [], "next": null}` + "\n"
		Expect(decode(ctx, empty, "-f", "-")).To(Equal(ran{stdout: empty}))
	})

	It("writes the rest where something is damaged, and says what", func(ctx SpecContext) {
		damaged := strings.Replace(encodedRoute, `"90"`, "ninety", 1)
		out := decode(ctx, damaged+"---\n"+encodedRoute+"---\ntype: [\n", "-f", "-")
		Expect(out.code).To(Equal(exitFailed))
		Expect(out.stdout).To(Equal(damaged + "---\n" + mirroredRoute))
		Expect(strings.Split(strings.TrimSpace(out.stderr), "\n")).To(HaveExactElements(
			Equal(`-#1: TrafficRoute "mirrored" in mesh "default": conf.split[2].destination["mirror.kuma-mirror.io/percentage"]: is "ninety"; must be a number such as 90 or 0.5`),
			HavePrefix(`-#3: not YAML: line `),
			Equal("Error: not all is decoded: 2 errors in the resources"),
		))
	})

	It("has a wrong command line told", func(ctx SpecContext) {
		Expect(decode(ctx, "", "-f", "-", "-o", "table").code).To(Equal(exitUsage))
	})
})
