package main

import (
	"bytes"
	"runtime/debug"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("the version", func() {
	info := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}
	}
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123abcd"}

	DescribeTable("is what the build knows",
		func(info *debug.BuildInfo, linked string, want build) {
			Expect(buildOf(info, linked)).To(Equal(want))
		},
		Entry("under go install", info("v0.1.0"), "", build{"v0.1.0", "unknown"}),
		Entry("in a repository", info("v0.1.1-0.20260101000000-0123abcd", revision), "",
			build{"v0.1.1-0.20260101000000-0123abcd", "0123abcd"}),
		Entry("with changes that are not committed", info("(devel)", revision, debug.BuildSetting{Key: "vcs.modified", Value: "true"}), "",
			build{"dev", "0123abcd, modified"}),
		Entry("as a release", info("(devel)", revision), "v0.2.0", build{"v0.2.0", "0123abcd"}),
		Entry("without any information", info(""), "", build{"dev", "unknown"}),
	)

	It("is printed with commit, Go and platform", func() {
		var out bytes.Buffer
		root := newRootCommand()
		root.SetOut(&out)
		root.SetArgs([]string{"version"})
		Expect(root.Execute()).To(Succeed())
		Expect(out.String()).To(MatchRegexp(`^kuma-mirror \S+ \(commit .+, go\S+, \w+/\w+\)\n$`))
	})
})
