//go:build unix

package main

import (
	"os"
	"syscall"
)

// passedSignals are passed on to Envoy: SIGUSR1 reopens its access logs.
var passedSignals = []os.Signal{syscall.SIGUSR1, syscall.SIGHUP}
