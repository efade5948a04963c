package kuma_test

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/proto"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/plugin/carrier"
)

// written is a resource in YAML.
func written(r *api.Resource) string {
	GinkgoHelper()
	text, err := api.MarshalYAML(r)
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// stored are the policies as a stock Kuma has them: encoded, and without what
// it does not know.
func stored(policies []*api.Resource) []*api.Resource {
	GinkgoHelper()
	var all []*api.Resource
	for _, p := range policies {
		encoded, err := carrier.EncodeResource(p)
		Expect(err).NotTo(HaveOccurred())
		read, err := api.Parse("stored", []byte(written(encoded)))
		Expect(err).NotTo(HaveOccurred())
		for _, r := range read {
			for at, e := range r.Spec.(*api.TrafficRoute).Entries() {
				for at := range api.MirrorsOf(at, e) {
					Fail("Kuma would drop " + string(at))
				}
			}
		}
		all = append(all, read...)
	}
	return all
}

// proxy is the data plane of the recording with the routes that a kuma-cp which
// stores these TrafficRoutes hands to a plugin, decoded.
func (r *recording) proxy(stored []*api.Resource) plugin.Proxy {
	GinkgoHelper()
	client := r.client()
	var tags []api.Tags
	for _, inbound := range client.Networking.Inbound {
		tags = append(tags, inbound.Tags)
	}
	selector := plugin.NewRouteSelector(tags, stored)
	proxy := plugin.Proxy{Key: api.Key{Kind: api.KindDataplane, Mesh: r.mesh, Name: client.Name}}
	for _, o := range client.Networking.Outbound {
		outbound := plugin.Outbound{Listener: fmt.Sprintf("outbound:%s:%d", o.Address, o.Port), Tags: o.Tags}
		if p := selector.For(outbound.Tags.Service()); p != nil {
			decoded, problems := carrier.Decode(matched(p.Spec.(*api.TrafficRoute), o.Tags))
			Expect(problems).To(BeEmpty())
			outbound.Route = &plugin.Route{Key: p.Key(), Spec: decoded}
		}
		proxy.Outbounds = append(proxy.Outbounds, outbound)
	}
	return proxy
}

// matched is a TrafficRoute as Kuma hands it out for an outbound: with the
// outbound's tags in all destinations.
func matched(spec *api.TrafficRoute, outbound api.Tags) *api.TrafficRoute {
	spec = proto.CloneOf(spec)
	for _, e := range spec.Entries() {
		for _, s := range e.GetSplit() {
			s.Destination = api.Tags(s.GetDestination()).Resolve(outbound)
		}
	}
	conf := spec.GetConf()
	if len(conf.GetDestination()) > 0 {
		conf.Destination = api.Tags(conf.GetDestination()).Resolve(outbound)
	}
	for _, http := range conf.GetHttp() {
		if len(http.GetDestination()) > 0 {
			http.Destination = api.Tags(http.GetDestination()).Resolve(outbound)
		}
	}
	return spec
}

// primaries are the destinations that get traffic of an outbound.
func primaries(outbound plugin.Outbound) []api.Tags {
	var all []api.Tags
	for _, e := range outbound.Route.Spec.Entries() {
		if len(e.GetDestination()) > 0 {
			all = append(all, e.GetDestination())
		}
		for _, s := range e.GetSplit() {
			if s.GetWeight().GetValue() > 0 {
				all = append(all, s.GetDestination())
			}
		}
	}
	return all
}
