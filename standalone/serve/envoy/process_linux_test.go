package envoy

import (
	"os"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
)

var _ = Describe("an Envoy", func() {
	It("does not outlive its supervisor, however that ends", func() {
		output := gbytes.NewBuffer()
		parent := fakeCommand("parent")
		parent.Stdout = output
		Expect(parent.Start()).To(Succeed())
		Eventually(func() []int { return pids(string(output.Contents())) }).WithTimeout(10 * time.Second).
			Should(HaveLen(2))
		child := pids(string(output.Contents()))[1]
		Expect(alive(child)).To(BeTrue())

		Expect(parent.Process.Kill()).To(Succeed())
		_ = parent.Wait()
		Eventually(func() bool { return alive(child) }).WithTimeout(10 * time.Second).Should(BeFalse())
	})
})

// alive is false for a process that has ended, whether somebody has asked for
// its exit status or not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}
