package files

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// openForWriting reports whether anybody has the file open for writing. The
// kernel refuses a read lease then, and one that is granted is given back at
// once. It grants leases to the owner of a file and to root; others are not
// told, and only the quiet time counts.
func openForWriting(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	if _, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK); err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}
	return errors.Is(err, unix.EAGAIN)
}
