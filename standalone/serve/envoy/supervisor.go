package envoy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/kuma-mirror/kuma-mirror/internal/child"
)

// policy says how often a process that ends by itself is started again, and how
// long its end may take.
type policy struct {
	// restarts at most within window, then the supervisor gives up.
	restarts int
	window   time.Duration
	// delay before the first restart; it doubles with each further one within
	// window, up to maxDelay.
	delay, maxDelay time.Duration
	// drain is how long the process may take to finish what is in flight.
	drain time.Duration
	// terminate is how long it has after SIGTERM before it is killed.
	terminate time.Duration
}

// supervisor keeps one process running until its context ends.
type supervisor struct {
	policy  policy
	command func() *exec.Cmd
	// lastLines of the process's output, for the error.
	lastLines func() string
	// started is called in a goroutine of its own after each start; its
	// context ends with the process.
	started func(ctx context.Context, pid int)
	// drain returns when nothing is in flight, or when ctx ends.
	drain func(ctx context.Context) error
	// forward are signals for the process.
	forward <-chan os.Signal
	// kill, when closed, ends the process at once.
	kill <-chan struct{}
	log  *slog.Logger
}

func (s *supervisor) run(ctx context.Context) error {
	var restarts []time.Time // within the window
	for ctx.Err() == nil {
		cmd := s.command()
		p, err := child.Start(cmd)
		if err != nil {
			return fmt.Errorf("cannot start Envoy: %w", err)
		}
		if asked := s.watch(ctx, p); asked {
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		now := time.Now()
		for len(restarts) > 0 && now.Sub(restarts[0]) > s.policy.window {
			restarts = restarts[1:]
		}
		if len(restarts) == s.policy.restarts {
			said := s.lastLines()
			if strings.TrimSpace(said) == "" {
				said = fmt.Sprintf("It wrote nothing; is it an Envoy? Try: %s --version", cmd.Path)
			} else {
				said = "Its last lines:\n" + said
			}
			return fmt.Errorf("the Envoy process ended %d times within %s, last with %s; it is not started again. %s",
				len(restarts)+1, s.policy.window, exitReason(p.Err()), said)
		}
		delay := min(s.policy.delay<<len(restarts), s.policy.maxDelay)
		restarts = append(restarts, now)
		s.log.Error("Envoy ended unexpectedly; starting it again",
			"reason", exitReason(p.Err()), "in", delay, "restart", len(restarts), "of", s.policy.restarts)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		case <-s.kill:
			return nil
		}
	}
	return nil
}

// watch returns when p has ended, and whether it was asked to.
func (s *supervisor) watch(ctx context.Context, p *child.Process) (asked bool) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	running := make(chan struct{})
	go func() {
		defer close(running)
		s.started(life, p.PID())
	}()
	defer func() {
		end()
		<-running
	}()

	stop, kill := ctx.Done(), s.kill
	killed := false
	var drained chan error
	var overdue <-chan time.Time
	defer func() {
		if drained != nil {
			end()
			<-drained
		}
	}()
	for {
		select {
		case <-p.Done():
			return asked
		case sig := <-s.forward:
			s.log.Info("passing a signal on to Envoy", "signal", sig)
			p.Signal(sig)
		case <-stop:
			stop, asked = nil, true
			s.log.Info("draining Envoy", "atMost", s.policy.drain)
			drained = make(chan error, 1)
			go func() {
				drainCtx, cancel := context.WithTimeout(life, s.policy.drain)
				defer cancel()
				if s.policy.drain <= 0 {
					drained <- nil
					return
				}
				drained <- s.drain(drainCtx)
			}()
		case err := <-drained:
			drained = nil
			if killed {
				continue
			}
			if err != nil {
				s.log.Warn("Envoy ends before it has drained", "reason", err)
			}
			p.Signal(syscall.SIGTERM)
			overdue = time.After(s.policy.terminate)
		case <-overdue:
			s.log.Warn("Envoy does not end and is killed", "after", s.policy.terminate)
			p.Signal(syscall.SIGKILL)
		case <-kill:
			kill, killed, asked = nil, true, true
			s.log.Warn("killing Envoy")
			p.Signal(syscall.SIGKILL)
		}
	}
}

func exitReason(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "exit status 0"
	case errors.As(err, &exit):
		return exit.String()
	default:
		return err.Error()
	}
}
