package envoytest

import "syscall"

// processAttributes puts Envoy into a process group of its own and lets it die
// with this process, even if that is killed.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
