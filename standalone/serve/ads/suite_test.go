package ads_test

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

func TestADS(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "ADS")
}
