//go:build !linux

package envoy

import "syscall"

func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
