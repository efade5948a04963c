package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = DescribeTable("a finished file gets its name, and takes nobody else's", func(link func(from, to string) error) {
	dir := GinkgoT().TempDir()
	file, name := filepath.Join(dir, "finished"), filepath.Join(dir, "name")
	Expect(os.WriteFile(file, []byte("ours"), 0o600)).To(Succeed())
	Expect(publish(link, file, name)).To(Succeed())
	Expect(os.ReadFile(name)).To(BeEquivalentTo("ours"))

	Expect(os.WriteFile(file, []byte("later"), 0o600)).To(Succeed())
	other := filepath.Join(dir, "other")
	Expect(os.WriteFile(other, []byte("theirs"), 0o600)).To(Succeed())
	Expect(publish(link, file, other)).To(MatchError(fs.ErrExist))
	Expect(os.ReadFile(other)).To(BeEquivalentTo("theirs"))

	Expect(publish(link, filepath.Join(dir, "none"), filepath.Join(dir, "new"))).To(MatchError(fs.ErrNotExist))
	Expect(filepath.Join(dir, "new")).NotTo(BeAnExistingFile())
},
	Entry("by a link", os.Link),
	Entry("where there are no links", func(from, to string) error {
		return &os.LinkError{Op: "link", Old: from, New: to, Err: syscall.EPERM}
	}),
)
