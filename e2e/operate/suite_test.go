// Package operate_test runs the host as an operator does: with metrics, a
// dashboard and alerts, and with many proxies.
package operate_test

import (
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
)

func TestOperate(t *testing.T) {
	RegisterFailHandler(Fail)
	// Two cores may have a lot more to do.
	SetDefaultEventuallyTimeout(20 * time.Second)
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "Operation")
}

// program is the path of kuma-mirror, built once for all processes.
var program string

var _ = SynchronizedBeforeSuite(func() []byte {
	path, err := world.BuildProgram()
	Expect(err).NotTo(HaveOccurred())
	return []byte(path)
}, func(path []byte) { program = string(path) })

var _ = SynchronizedAfterSuite(func() {}, gexec.CleanupBuildArtifacts)
