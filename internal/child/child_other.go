//go:build !linux

package child

import "syscall"

// tie is for Linux alone.
func tie(*syscall.SysProcAttr) {}
