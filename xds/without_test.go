package xds_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"github.com/kuma-mirror/kuma-mirror/xds"
)

var _ = Describe("a route table without some of its mirrors", func() {
	tableWith := func(policies ...[]string) *route.RouteConfiguration {
		host := &route.VirtualHost{Name: "backend"}
		for _, clusters := range policies {
			action := &route.RouteAction{ClusterSpecifier: &route.RouteAction_Cluster{Cluster: "primary"}}
			for _, c := range clusters {
				action.RequestMirrorPolicies = append(action.RequestMirrorPolicies, &route.RouteAction_RequestMirrorPolicy{Cluster: c})
			}
			host.Routes = append(host.Routes, &route.Route{Action: &route.Route_Route{Route: action}})
		}
		host.Routes = append(host.Routes, &route.Route{Action: &route.Route_DirectResponse{}})
		return &route.RouteConfiguration{Name: "table", VirtualHosts: []*route.VirtualHost{host}}
	}

	It("has all else, and the table itself does not change", func() {
		table := tableWith([]string{"m1", "theirs"}, []string{"m2"}, []string{"m2", "m1"}, nil)
		before := proto.Clone(table)
		out := xds.WithoutMirrors(table, func(c string) bool { return c == "m1" })
		Expect(proto.Equal(out, tableWith([]string{"theirs"}, []string{"m2"}, []string{"m2"}, nil))).To(BeTrue(), out.String())
		Expect(proto.Equal(table, before)).To(BeTrue())
	})

	It("can be asked where it copies to", func() {
		table := tableWith([]string{"m2", "theirs"}, []string{"m1"}, []string{"m2"})
		Expect(xds.MirrorsOf(table, func(c string) bool { return c != "theirs" })).To(HaveExactElements("m1", "m2"))
	})
})
