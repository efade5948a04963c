package envoytest_test

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

func TestEnvoytest(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "The harness for real Envoys")
}
