package demo_test

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
)

func TestDemo(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "kuma-mirror demo")
}

// program is the path of the built kuma-mirror.
var program string

var _ = SynchronizedBeforeSuite(func() []byte {
	path, err := world.BuildProgram()
	Expect(err).NotTo(HaveOccurred())
	return []byte(path)
}, func(path []byte) {
	program = string(path)
})

var _ = SynchronizedAfterSuite(func() {}, gexec.CleanupBuildArtifacts)
