package kuma

import (
	"os"
	"testing"

	core_plugins "github.com/kumahq/kuma/v2/pkg/core/plugins"
	core_apis "github.com/kumahq/kuma/v2/pkg/core/resources/apis"
	"github.com/kumahq/kuma/v2/pkg/plugins/policies"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

func TestMain(m *testing.M) {
	// What kuma-cp does at its start.
	core_plugins.InitAll(core_apis.NameToModule)
	core_plugins.InitAll(policies.NameToModule)
	os.Exit(m.Run())
}

func TestKuma(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Kuma")
}
