// Package impact_test proves that the primary does not notice its shadow: the
// part of the impact laboratory that fits into every test run, and what
// requests get that are streams.
package impact_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/internal/impact"
)

// shadowArgument makes this binary the process of the lab's shadows.
const shadowArgument = "be-the-shadows"

func TestMain(m *testing.M) {
	if slices.Contains(os.Args[1:], shadowArgument) {
		if err := impact.ServeShadow(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestImpact(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Impact")
}

// onEachEnvoy makes the specs for each version of Envoy.
func onEachEnvoy(what string, specs func(version string)) bool {
	for _, version := range envoytest.Versions() {
		Describe(what+" (Envoy "+version+")", func() { specs(version) })
	}
	return true
}

// lab gives the options of a quick run on the Envoy that commands run.
func lab(o impact.Options) impact.Options {
	GinkgoHelper()
	program, err := os.Executable()
	Expect(err).NotTo(HaveOccurred())
	o.Envoy = envoytest.Default()
	o.Worker = []string{program, shadowArgument}
	o.Quick = true
	if o.UploadBytes == 0 {
		o.UploadBytes = 60_000_000 // more than all buffers on the way, and quick with the race detector, too
	}
	return o
}
