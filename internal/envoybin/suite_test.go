package envoybin

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

func TestEnvoybin(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "The Envoy binary")
}
