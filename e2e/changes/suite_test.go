// Package changes_test says what becomes of steady traffic on real Envoys while
// files, hosts, Envoys and endpoints change.
package changes_test

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/kuma-mirror/kuma-mirror/e2e/world"
)

func TestChanges(t *testing.T) {
	RegisterFailHandler(Fail)
	// Two cores may have a lot more to do.
	SetDefaultEventuallyTimeout(10 * time.Second)
	SetDefaultConsistentlyDuration(100 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "Changes under traffic on real Envoys")
}

// program is the path of kuma-mirror, built once for all processes.
var program string

var _ = SynchronizedBeforeSuite(func() []byte {
	path, err := world.BuildProgram()
	Expect(err).NotTo(HaveOccurred())
	return []byte(path)
}, func(path []byte) { program = string(path) })

var _ = SynchronizedAfterSuite(func() {}, gexec.CleanupBuildArtifacts)

// revisionHeader is in every answer: which revision of the TrafficRoute its
// request was routed by. A route's mirrors and its header come and go together.
const revisionHeader = "X-Revision"

// conf is the conf section of a TrafficRoute: all to version primary, with a
// copy to version shadow unless that is empty.
func conf(revision int, primary, shadow string) string {
	weights := map[string]int{primary: 100}
	mirror := ""
	if shadow != "" {
		mirror = fmt.Sprintf("\n  mirror: {destination: {kuma.io/service: backend, version: %s}, name: %s}", shadow, shadow)
	}
	split := fmt.Sprintf(`
  - {weight: %d, destination: {kuma.io/service: backend, version: v1}}
  - {weight: %d, destination: {kuma.io/service: backend, version: v2}}`, weights["v1"], weights["v2"])
	return fmt.Sprintf(`
http:
- match: {path: {prefix: /}}
  modify: {responseHeaders: {add: [{name: %s, value: "%d"}]}}
  split:%s%s
split:%s
`, revisionHeader, revision, split, mirror, split)
}

// at accepts answers of one revision.
func at(revision int) func(*world.Answer) bool {
	return func(a *world.Answer) bool { return a.Header.Get(revisionHeader) == fmt.Sprint(revision) }
}

// effective waits until every client sees the revision.
func effective(t *world.Traffic, revision int) {
	GinkgoHelper()
	Eventually(t.All).WithArguments(at(revision)).WithPolling(2*time.Millisecond).Should(BeTrue(), "revision %d", revision)
}
