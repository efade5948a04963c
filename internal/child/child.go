// Package child starts processes that do not outlive this one.
package child

import (
	"os"
	"os/exec"
	"runtime"
)

// Process is a started command.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start starts cmd in a process group of its own, so that a terminal's Ctrl-C
// does not reach it, and on Linux so that it dies with this process, even if
// that is killed. cmd.SysProcAttr is replaced.
func Start(cmd *exec.Cmd) (*Process, error) {
	cmd.SysProcAttr = Group()
	tie(cmd.SysProcAttr)
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// Linux means the thread that started the child, not the process,
		// when it speaks of the parent's death: this one lives as long as
		// the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the process ended, as exec.Cmd.Wait does; valid after Done.
func (p *Process) Err() error { return p.err }

// Signal does nothing when the process has ended.
func (p *Process) Signal(sig os.Signal) { _ = p.cmd.Process.Signal(sig) }

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }
