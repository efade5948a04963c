// Package load_test says what a host bears: many proxies, some of which are
// stuck, and many writes at once. The specs assert what is right; how long it
// takes and what it costs is for the benchmarks.
package load_test

import (
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
)

func TestLoad(t *testing.T) {
	RegisterFailHandler(Fail)
	// Two cores may have a lot more to do.
	SetDefaultEventuallyTimeout(20 * time.Second)
	SetDefaultEventuallyPollingInterval(10 * time.Millisecond)
	SetDefaultConsistentlyDuration(200 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "Load on real processes")
}

// program is the path of kuma-mirror, built once for all processes.
var program string

var _ = SynchronizedBeforeSuite(func() []byte {
	path, err := world.BuildProgram()
	Expect(err).NotTo(HaveOccurred())
	return []byte(path)
}, func(path []byte) { program = string(path) })

var _ = SynchronizedAfterSuite(func() {}, gexec.CleanupBuildArtifacts)
