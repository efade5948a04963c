package envoy

import (
	"os"
	"os/exec"
	"runtime"
)

// process is a started command.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how; valid after done
}

// start starts cmd in a process group of its own, so that a terminal's Ctrl-C
// does not reach it, and on Linux so that it dies with this process.
func start(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = detached()
	p := &process{cmd: cmd, done: make(chan struct{})}
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

// signal does nothing when the process has ended.
func (p *process) signal(sig os.Signal) { _ = p.cmd.Process.Signal(sig) }

func (p *process) pid() int { return p.cmd.Process.Pid }
