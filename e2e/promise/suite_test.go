// Package promise_test says that nothing about a mirror stops or slows the
// primary: not the names of its shadow, and not what Envoy refuses of it.
package promise_test

import (
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

func TestPromise(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(10 * time.Second)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "Mirrors do the primary no harm, on real Envoys")
}
