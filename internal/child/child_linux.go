package child

import "syscall"

// tie makes the child die with the thread that started it.
func tie(attributes *syscall.SysProcAttr) { attributes.Pdeathsig = syscall.SIGKILL }
