//go:build !linux

package impact

import (
	"errors"
	"runtime"
	"time"
)

var errNotLinux = errors.New("the lab reads CPU time and memory of processes from /proc, which is Linux's")

func cpuTime(int) (time.Duration, error) { return 0, errNotLinux }

func residentMemory(int) (int64, error) { return 0, errNotLinux }

func machine() (model string, cpus int) { return runtime.GOARCH, runtime.NumCPU() }
