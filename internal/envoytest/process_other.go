//go:build !linux

package envoytest

import "syscall"

// processAttributes puts Envoy into a process group of its own.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
