// Package crash_test says what becomes of writes when the host dies in the
// middle of them, or when the disk does not take them.
package crash_test

import (
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
)

func TestCrash(t *testing.T) {
	RegisterFailHandler(Fail)
	// Two cores may have a lot more to do.
	SetDefaultEventuallyTimeout(20 * time.Second)
	RunSpecs(t, "Crashes of real processes")
}

// program is the path of kuma-mirror, built once for all processes.
var program string

var _ = SynchronizedBeforeSuite(func() []byte {
	path, err := world.BuildProgram()
	Expect(err).NotTo(HaveOccurred())
	return []byte(path)
}, func(path []byte) { program = string(path) })

var _ = SynchronizedAfterSuite(func() {}, gexec.CleanupBuildArtifacts)
