package crash_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"
)

// limitFiles lets no file of the host grow beyond so many bytes, as a full disk
// would. A negative number lifts the limit.
func (h *host) limitFiles(bytes int64) {
	GinkgoHelper()
	limit := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if bytes >= 0 {
		limit.Cur = uint64(bytes)
	}
	Expect(unix.Prlimit(h.Command.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil)).To(Succeed())
}

var _ = Describe("a host whose disk is full", func() {
	It("refuses writes, goes on serving, and writes again when there is room", func() {
		dir := filepath.Join(GinkgoT().TempDir(), "data")
		h := start(dir)
		status, body, err := write{[]string{"a"}, 1}.do(h)
		Expect(err).NotTo(HaveOccurred())
		Expect(status).To(Equal(http.StatusCreated), body)

		path := filepath.Join(dir, "store.db")
		info, err := os.Stat(path)
		Expect(err).NotTo(HaveOccurred())
		h.limitFiles(info.Size())
		large := strings.Replace(document("b", 2), `"labels":{`, `"labels":{"larger":"`+strings.Repeat("x", 3<<20)+`",`, 1)
		put := func() (int, string) {
			GinkgoHelper()
			status, body, err := h.send(http.MethodPut, "/meshes/default/external-services/b", "application/json", large)
			Expect(err).NotTo(HaveOccurred())
			return status, body
		}
		for range 3 {
			status, body := put()
			Expect(status).To(Equal(http.StatusServiceUnavailable), body)
			Expect(body).To(And(ContainSubstring("cannot write to "+path), ContainSubstring("file too large"), ContainSubstring("nothing is changed")))
			Expect(h.resources()).To(Equal(map[string]int{"a": 1}))
		}

		h.limitFiles(-1)
		status, body = put()
		Expect(status).To(Equal(http.StatusCreated), body)
		status, body, err = write{[]string{"a"}, 2}.do(h)
		Expect(err).NotTo(HaveOccurred())
		Expect(status).To(Equal(http.StatusOK), body)
		h.kill()

		h = start(dir)
		status, body, err = h.send(http.MethodGet, "/meshes/default/external-services/b", "", "")
		Expect(err).NotTo(HaveOccurred())
		Expect(status).To(Equal(http.StatusOK))
		Expect(body).To(ContainSubstring(strings.Repeat("x", 3<<20)))
		status, body, err = write{[]string{"b"}, gone}.do(h)
		Expect(err).NotTo(HaveOccurred())
		Expect(status).To(Equal(http.StatusOK), body)
		Expect(h.resources()).To(Equal(map[string]int{"a": 2}))
	})
})
