package xds_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/kuma-mirror/kuma-mirror/xds"
)

var _ = Describe("ResourceSet", func() {
	It("keeps resources of one name and several types apart", func() {
		rs := &xds.ResourceSet{}
		rs.Add(
			&xds.Resource{Name: "b", Resource: &cluster.Cluster{Name: "b"}},
			&xds.Resource{Name: "b", Resource: &endpoint.ClusterLoadAssignment{ClusterName: "b"}},
			&xds.Resource{Name: "a", Resource: &cluster.Cluster{Name: "a"}},
		)
		Expect(rs.All()).To(HaveLen(3))
		Expect(rs.Clusters()).To(HaveExactElements(HaveField("Name", "a"), HaveField("Name", "b")))
		Expect(rs.Endpoints()).To(HaveExactElements(HaveField("ClusterName", "b")))
		Expect(rs.Listeners()).To(BeEmpty())
	})

	It("replaces, finds and removes by type and name", func() {
		rs := &xds.ResourceSet{}
		rs.Add(&xds.Resource{Name: "a", Origin: "old", Resource: &cluster.Cluster{Name: "a"}})
		rs.Add(&xds.Resource{Name: "a", Origin: "new", Resource: &cluster.Cluster{Name: "a"}})
		Expect(rs.Get((*cluster.Cluster)(nil), "a").Origin).To(Equal("new"))
		Expect(rs.Get((*endpoint.ClusterLoadAssignment)(nil), "a")).To(BeNil())
		rs.Remove((*cluster.Cluster)(nil), "a")
		Expect(rs.All()).To(BeEmpty())
	})

	It("is ready to use when empty", func() {
		rs := &xds.ResourceSet{}
		Expect(rs.All()).To(BeEmpty())
		Expect(rs.Get((*cluster.Cluster)(nil), "a")).To(BeNil())
		rs.Remove((*cluster.Cluster)(nil), "a")
	})
})
