package generate_test

import (
	"context"
	"fmt"
	"testing"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/generate"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// BenchmarkProxy is the generation of all resources of one proxy, by its number
// of outbounds; each outbound has a TrafficRoute of its own with two entries,
// and in the mirrored case a mirror on each.
func BenchmarkProxy(b *testing.B) {
	for _, outbounds := range []int{1, 100, 1000} {
		for _, mirrored := range []bool{false, true} {
			b.Run(fmt.Sprintf("outbounds=%d/mirrors=%t", outbounds, mirrored), func(b *testing.B) {
				index := mesh.New(meshOf(outbounds, mirrored))
				client := api.Key{Kind: api.KindDataplane, Mesh: api.DefaultMesh, Name: "client"}
				b.ReportAllocs()
				for b.Loop() {
					_, report, err := generate.Proxy(context.Background(), index, client)
					if err != nil {
						b.Fatal(err)
					}
					if problems := report.Problems(); len(problems) > 0 || (len(report) > 0) != mirrored {
						b.Fatalf("%d outcomes, problems: %v", len(report), problems)
					}
				}
			})
		}
	}
}

// BenchmarkIndex is what a change costs once, before any proxy is generated.
func BenchmarkIndex(b *testing.B) {
	resources := meshOf(1000, true)
	for b.Loop() {
		mesh.New(resources)
	}
}

func meshOf(outbounds int, mirrored bool) []*api.Resource {
	client := &api.Dataplane_Networking{
		Address: "127.0.0.1",
		Gateway: &api.Dataplane_Networking_Gateway{Tags: map[string]string{api.ServiceTag: "client"}},
	}
	resources := []*api.Resource{{
		Kind: api.KindDataplane, Meta: api.Meta{Mesh: api.DefaultMesh, Name: "client"},
		Spec: &api.Dataplane{Networking: client},
	}}
	for i := range outbounds {
		service := fmt.Sprintf("service-%d", i)
		client.Outbound = append(client.Outbound, &api.Dataplane_Networking_Outbound{
			Port: uint32(10_000 + i), Tags: map[string]string{api.ServiceTag: service},
		})
		for version := 1; version <= 2; version++ {
			resources = append(resources, &api.Resource{
				Kind: api.KindDataplane,
				Meta: api.Meta{Mesh: api.DefaultMesh, Name: fmt.Sprintf("%s-%d", service, version)},
				Spec: &api.Dataplane{Networking: &api.Dataplane_Networking{
					Address: fmt.Sprintf("10.0.%d.%d", i/250, i%250+1),
					Inbound: []*api.Dataplane_Networking_Inbound{{
						Port: uint32(8080 + version), Tags: versioned(service, version),
					}},
				}},
			})
		}
		resources = append(resources, &api.Resource{
			Kind: api.KindTrafficRoute, Meta: api.Meta{Mesh: api.DefaultMesh, Name: service},
			Spec: routeOf(service, mirrored),
		})
	}
	return resources
}

func versioned(service string, version int) map[string]string {
	return map[string]string{
		api.ServiceTag: service, api.ProtocolTag: "http", "version": fmt.Sprintf("v%d", version),
	}
}

func routeOf(service string, mirrored bool) *api.TrafficRoute {
	primary := map[string]string{api.ServiceTag: service, "version": "v1"}
	entry := &api.TrafficRoute_Http{
		Match: &api.TrafficRoute_Http_Match{Path: &api.TrafficRoute_Http_Match_StringMatcher{
			MatcherType: &api.TrafficRoute_Http_Match_StringMatcher_Prefix{Prefix: "/api"},
		}},
		Destination: primary,
	}
	conf := &api.TrafficRoute_Conf{Http: []*api.TrafficRoute_Http{entry}, Destination: primary}
	if mirrored {
		shadow := map[string]string{api.ServiceTag: service, "version": "v2"}
		entry.Mirror = &api.TrafficRoute_Mirror{Destination: shadow, Percentage: wrapperspb.Double(12.5)}
		conf.Mirror = &api.TrafficRoute_Mirror{Destination: shadow}
	}
	return &api.TrafficRoute{
		Sources:      []*api.Selector{{Match: map[string]string{api.ServiceTag: "client"}}},
		Destinations: []*api.Selector{{Match: map[string]string{api.ServiceTag: service}}},
		Conf:         conf,
	}
}
