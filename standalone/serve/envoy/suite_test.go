package envoy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// fake, when set, makes the test binary behave as a process to supervise.
const fake = "FAKE_ENVOY"

func TestMain(m *testing.M) {
	if role := os.Getenv(fake); role != "" {
		os.Exit(pretend(role))
	}
	os.Exit(m.Run())
}

func TestEnvoy(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Envoy's process")
}

// pretend is the fake Envoy: it says "up" when its signals are set, tells of
// each signal, and ends as its role says.
func pretend(role string) int {
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGINT)
	fmt.Println("up", os.Getpid())
	switch role {
	case "crash":
		for i := range 30 {
			fmt.Println("line", i)
		}
		return 3
	case "short":
		time.Sleep(60 * time.Millisecond)
		return 0
	case "keeper":
		return keep()
	case "parent":
		s := newFake("run", os.Stdout)
		_ = s.run(context.Background())
		return 0
	}
	for sig := range signals {
		fmt.Println("got", sig)
		if sig == syscall.SIGTERM && role != "stubborn" {
			return 0
		}
	}
	return 0
}

func fakeCommand(role string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	// The race detector lingers for a second at the end of a process.
	cmd.Env = append(os.Environ(), fake+"="+role, "GORACE=atexit_sleep_ms=0")
	return cmd
}

// pids are those of the lines "up PID".
func pids(output string) []int {
	var all []int
	for line := range strings.Lines(output) {
		if pid, ok := strings.CutPrefix(line, "up "); ok {
			if n, err := strconv.Atoi(strings.TrimSpace(pid)); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}
