//go:build unix

package child

import "syscall"

// Group puts a child into a process group of its own, so that a terminal's
// Ctrl-C does not reach it.
func Group() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
