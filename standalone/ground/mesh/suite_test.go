package mesh_test

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

func TestMesh(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Meshes")
}

// parse reads resources as a user writes them.
func parse(documents string) []*api.Resource {
	GinkgoHelper()
	resources, err := api.Parse("input.yaml", []byte(documents))
	Expect(err).NotTo(HaveOccurred())
	return resources
}
