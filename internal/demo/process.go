package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kuma-mirror/kuma-mirror/internal/child"
)

// process is a backend in a process of its own, so that it can really be
// killed.
type process struct {
	name string
	// url of the backend, such as http://127.0.0.1:18080.
	url string
	// lines that the backend has logged for requests, and that have been
	// passed on.
	lines atomic.Int64

	cmd   *exec.Cmd
	stdin io.Closer // the backend ends when this closes, or when we are gone
	done  chan struct{}
	err   error // how it ended; valid after done
}

// startBackend runs command with the flags of one backend and returns when it
// listens. print gets each line that it logs, in their order.
func startBackend(ctx context.Context, command []string, name string, port int, print func(line string), stderr io.Writer) (*process, error) {
	args := append(command[1:len(command):len(command)],
		"--name", name, "--port", strconv.Itoa(port), "--exit-with-parent")
	cmd := exec.Command(command[0], args...)
	// A terminal sends Ctrl-C to its whole process group; the backends end
	// when the demo is done with them.
	cmd.SysProcAttr = child.Group()
	cmd.Stderr = stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start the %s backend: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, stdin: stdin, done: make(chan struct{})}
	listening := make(chan string, 1)
	go func() {
		defer close(p.done)
		p.read(stdout, listening, print)
		p.err = cmd.Wait()
	}()

	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	select {
	case address := <-listening:
		p.url = "http://" + address
		return p, nil
	case <-p.done:
		return nil, fmt.Errorf("the %s backend ended before it listened: %s", name, p.end())
	case <-late.C:
		err = fmt.Errorf("the %s backend does not listen after 10 s", name)
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.stop()
	return nil, err
}

func (p *process) read(stdout io.Reader, listening chan<- string, print func(string)) {
	lines := bufio.NewReader(stdout)
	greeting := listeningLine(p.name, "")
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\n")
		if address, ok := strings.CutPrefix(line, greeting); ok {
			listening <- address
			continue
		}
		print(line)
		p.lines.Add(1)
	}
}

// kill ends the backend as a crash would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop lets the backend finish, for at most 2 s.
func (p *process) stop() {
	_ = p.stdin.Close()
	select {
	case <-p.done:
	case <-time.After(2 * time.Second):
		p.kill()
	}
}

// end says how the process ended; valid after done.
func (p *process) end() string {
	var exit *exec.ExitError
	switch {
	case p.err == nil:
		return "exit status 0"
	case errors.As(p.err, &exit):
		return exit.String()
	default:
		return p.err.Error()
	}
}
