package envoy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
)

func newFake(role string, output io.Writer) *supervisor {
	t := &tail{next: output, keep: 20}
	return &supervisor{
		policy: policy{
			restarts: 3, window: time.Minute, delay: time.Millisecond, maxDelay: 5 * time.Millisecond,
			drain: 10 * time.Second, terminate: 5 * time.Second,
		},
		command: func() *exec.Cmd {
			cmd := fakeCommand(role)
			cmd.Stdout, cmd.Stderr = t, t
			return cmd
		},
		lastLines: t.String,
		started:   func(context.Context, int) {},
		drain:     func(context.Context) error { return nil },
		log:       slog.New(slog.DiscardHandler),
	}
}

var _ = Describe("the supervisor", func() {
	var output *gbytes.Buffer
	var ended chan error

	BeforeEach(func() {
		output = gbytes.NewBuffer()
		ended = make(chan error, 1)
	})

	// run runs the supervisor until the spec ends; end is what ends it.
	run := func(s *supervisor) (end context.CancelFunc) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			ended <- s.run(ctx)
		}()
		DeferCleanup(func() {
			cancel()
			Eventually(done).WithTimeout(10 * time.Second).Should(BeClosed())
		})
		return cancel
	}
	up := func(n int) {
		GinkgoHelper()
		Eventually(func() []int { return pids(string(output.Contents())) }).WithTimeout(10*time.Second).
			Should(HaveLen(n), "processes started")
	}

	It("starts a crashing Envoy again, gives up after the allowed restarts and shows its last lines", func() {
		run(newFake("crash", output))
		var err error
		Eventually(ended).WithTimeout(10 * time.Second).Should(Receive(&err))
		Expect(err).To(MatchError(And(
			ContainSubstring("ended 4 times"), ContainSubstring("exit status 3"),
			ContainSubstring("line 29"), Not(ContainSubstring("line 9\n")))))
		Expect(pids(string(output.Contents()))).To(HaveLen(4))
	})

	It("asks whether it is an Envoy where it gives up on one that said nothing", func() {
		s := newFake("crash", output)
		s.command = func() *exec.Cmd { return exec.Command("/bin/true") }
		Expect(s.run(context.Background())).To(MatchError(And(
			ContainSubstring("ended 4 times"), HaveSuffix("It wrote nothing; is it an Envoy? Try: /bin/true --version"))))
	})

	It("waits longer before each restart", func() {
		s := newFake("crash", output)
		s.policy.delay, s.policy.maxDelay = 40*time.Millisecond, 80*time.Millisecond
		begin := time.Now()
		run(s)
		Eventually(ended).WithTimeout(10 * time.Second).Should(Receive(HaveOccurred()))
		Expect(time.Since(begin)).To(BeNumerically(">=", (40+80+80)*time.Millisecond))
	})

	It("forgets restarts that are longer ago than the window", func() {
		s := newFake("short", output) // each runs for 60 ms
		s.policy.restarts, s.policy.window = 1, 50*time.Millisecond
		run(s)
		up(4)
		Expect(ended).NotTo(Receive())
	})

	It("starts an Envoy that was killed again", func() {
		var pid atomic.Int64
		s := newFake("run", output)
		s.started = func(_ context.Context, p int) { pid.Store(int64(p)) }
		run(s)
		up(1)
		Expect(syscall.Kill(int(pid.Load()), syscall.SIGKILL)).To(Succeed())
		up(2)
		Expect(ended).NotTo(Receive())
	})

	It("cannot start what is no program", func() {
		s := newFake("run", output)
		s.command = func() *exec.Cmd { return exec.Command("/dev/null") }
		Expect(s.run(context.Background())).To(MatchError(And(ContainSubstring("cannot start Envoy"), ContainSubstring("/dev/null"))))
	})

	It("drains before it asks Envoy to end", func() {
		draining, drained := make(chan struct{}), make(chan struct{})
		s := newFake("run", output)
		s.drain = func(context.Context) error {
			close(draining)
			<-drained
			return nil
		}
		end := run(s)
		up(1)
		end()
		Eventually(draining).Should(BeClosed())
		Consistently(output, 50*time.Millisecond).ShouldNot(gbytes.Say("got"))
		close(drained)
		Eventually(ended).WithTimeout(10 * time.Second).Should(Receive(BeNil()))
		Expect(output).To(gbytes.Say("got terminated"))
	})

	It("ends a drain that takes longer than its time", func() {
		s := newFake("run", output)
		s.policy.drain = 20 * time.Millisecond
		s.drain = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		end := run(s)
		up(1)
		end()
		Eventually(ended).WithTimeout(10 * time.Second).Should(Receive(BeNil()))
		Expect(output).To(gbytes.Say("got terminated"))
	})

	It("does not drain when the drain time is 0", func() {
		s := newFake("run", output)
		s.policy.drain = 0
		s.drain = func(context.Context) error { return errors.New("drained in spite of it") }
		end := run(s)
		up(1)
		end()
		Eventually(ended).WithTimeout(10 * time.Second).Should(Receive(BeNil()))
	})

	It("kills an Envoy that does not end when asked", func() {
		s := newFake("stubborn", output)
		s.policy.terminate = 50 * time.Millisecond
		end := run(s)
		up(1)
		end()
		Eventually(ended).WithTimeout(10 * time.Second).Should(Receive(BeNil()))
		Expect(output).To(gbytes.Say("got terminated"))
	})

	It("ends at once, in the middle of a drain, when it is told to", func() {
		kill, draining := make(chan struct{}), make(chan struct{})
		s := newFake("run", output)
		s.kill = kill
		s.drain = func(ctx context.Context) error {
			close(draining)
			<-ctx.Done()
			return ctx.Err()
		}
		end := run(s)
		up(1)
		end()
		Eventually(draining).Should(BeClosed())
		close(kill)
		Eventually(ended).WithTimeout(10 * time.Second).Should(Receive(BeNil()))
		Expect(output).NotTo(gbytes.Say("got"))
	})

	It("passes signals on", func() {
		signals := make(chan os.Signal, 2)
		s := newFake("run", output)
		s.forward = signals
		run(s)
		up(1)
		signals <- syscall.SIGUSR1
		Eventually(output).Should(gbytes.Say("got user defined signal 1"))
		signals <- syscall.SIGHUP
		Eventually(output).Should(gbytes.Say("got hangup"))
	})

	It("keeps Envoy out of its own process group, which a terminal's Ctrl-C goes to", func() {
		run(newFake("run", output))
		up(1)
		pid := pids(string(output.Contents()))[0]
		group, err := syscall.Getpgid(pid)
		Expect(err).NotTo(HaveOccurred())
		Expect(group).To(Equal(pid))
	})
})
