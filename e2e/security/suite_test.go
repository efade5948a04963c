// Package security_test says who can do what, by real processes: the table of
// docs/security.md, and what happens when files change or clients misbehave.
package security_test

import (
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
)

func TestSecurity(t *testing.T) {
	RegisterFailHandler(Fail)
	// Two cores may have a lot more to do.
	SetDefaultEventuallyTimeout(10 * time.Second)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "Security of real processes")
}

// program is the path of kuma-mirror, built once for all processes.
var program string

var _ = SynchronizedBeforeSuite(func() []byte {
	path, err := world.BuildProgram()
	Expect(err).NotTo(HaveOccurred())
	return []byte(path)
}, func(path []byte) { program = string(path) })

var _ = SynchronizedAfterSuite(func() {}, gexec.CleanupBuildArtifacts)
