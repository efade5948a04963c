package demo_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/internal/demo"
)

// TestMain makes this binary its own backend, as `kuma-mirror backend` is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "backend" {
		os.Exit(backendMain(os.Args[2:]))
	}
	// The race detector makes each process sleep for a second at its end, by
	// default: one after the other, for each backend.
	_ = os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	os.Exit(m.Run())
}

// disguise is the log of a shadow that answers as primary.
type disguise struct{}

func (disguise) Write(p []byte) (int, error) {
	_, err := os.Stdout.Write(bytes.Replace(p, []byte("[PRIMARY]"), []byte("[SHADOW]"), 1))
	return len(p), err
}

func backendMain(args []string) int {
	flags := flag.NewFlagSet("backend", flag.ContinueOnError)
	o := demo.BackendOptions{Log: os.Stdout}
	flags.StringVar(&o.Name, "name", "", "")
	flags.IntVar(&o.Port, "port", 0, "")
	flags.Bool("exit-with-parent", false, "")
	masquerade := flags.Bool("masquerade", false, "")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *masquerade && o.Name == "shadow" {
		o.Name, o.Log = "primary", disguise{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := demo.ServeBackend(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestDemo(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "The demo")
}
