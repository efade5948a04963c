package ads

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	"github.com/kuma-mirror/kuma-mirror/xds"
)

// served are the types of resources that are answered, in the order in which
// they are sent: what is named comes before what names it.
var served = [...]string{resource.ClusterType, resource.EndpointType, resource.ListenerType, resource.RouteType}

// fullState says whether Envoy subscribes to all resources of the type and, in
// state of the world, takes what a response leaves out for removed. Endpoints
// and route tables live and die with the clusters and listeners that want
// them instead, and are never removed by name.
func fullState(typeURL string) bool {
	return cache.ResourceRequiresFullStateInSotw(typeURL)
}

// item is one resource, ready to be sent.
type item struct {
	name string
	// version is a hash of the content, so that it says the same after a
	// restart.
	version string
	// body is nil where Envoy has the resource from an earlier host: its
	// content is not known here.
	body *anypb.Any
	// endpoints that an EDS cluster waits for.
	endpoints *item
}

type items map[string]*item

// version is a hash of names and versions. It depends on nothing else.
func (is items) version() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(is)) {
		fmt.Fprintf(h, "%s\x00%s\x00", name, is[name].version)
	}
	return short(h.Sum(nil))
}

// config is everything one proxy is to run. It is never changed.
type config struct {
	version string
	byType  map[string]items
	// routeTables are the names of those that the listeners fetch.
	routeTables []string
	// mirrors are the clusters that were made for mirrors, and mirrored those
	// of them that a route table copies to, by its name.
	mirrors  map[string]bool
	mirrored map[string][]string
}

// clusterOf is the cluster that has those endpoints; empty if none does.
func (c *config) clusterOf(endpoints string) string {
	for name, i := range c.byType[resource.ClusterType] {
		if i.endpoints != nil && i.endpoints.name == endpoints {
			return name
		}
	}
	return ""
}

// hash is the version of the whole.
func (c *config) hash() string {
	h := sha256.New()
	for _, t := range served {
		fmt.Fprintf(h, "%s\x00", c.byType[t].version())
	}
	return short(h.Sum(nil))
}

// newConfig freezes rs. The error names every resource that Envoy could not
// run or would wait for in vain.
func newConfig(rs *xds.ResourceSet) (*config, error) {
	c := &config{byType: make(map[string]items, len(served)), mirrors: map[string]bool{}, mirrored: map[string][]string{}}
	for _, t := range served {
		c.byType[t] = items{}
	}
	var errs []error
	listeners := map[string]types.ResourceWithTTL{}
	edsNames := map[string]string{} // by the cluster's name

	for _, r := range rs.All() {
		typeURL := "type.googleapis.com/" + string(r.Resource.ProtoReflect().Descriptor().FullName())
		of, ok := c.byType[typeURL]
		if !ok {
			errs = append(errs, fmt.Errorf("resource %q: type %s is not served; only %s are", r.Name, typeURL, strings.Join(served[:], ", ")))
			continue
		}
		if own := cache.GetResourceName(r.Resource); own != r.Name {
			errs = append(errs, fmt.Errorf("%s %q: calls itself %q; both names must be the same", shortType(typeURL), r.Name, own))
			continue
		}
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.Resource)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %q: %w", shortType(typeURL), r.Name, err))
			continue
		}
		of[r.Name] = newItem(r.Name, &anypb.Any{TypeUrl: typeURL, Value: body})

		switch typeURL {
		case resource.ListenerType:
			listeners[r.Name] = types.ResourceWithTTL{Resource: r.Resource}
		case resource.RouteType:
			if mirrors := xds.MirrorsOf(r.Resource.(*route.RouteConfiguration), rs.IsMirror); len(mirrors) > 0 {
				c.mirrored[r.Name] = mirrors
			}
		case resource.ClusterType:
			if rs.IsMirror(r.Name) {
				c.mirrors[r.Name] = true
			}
			if name := edsName(r.Resource.(*cluster.Cluster)); name != "" {
				edsNames[r.Name] = name
			}
		}
	}

	for _, name := range slices.Sorted(maps.Keys(edsNames)) {
		endpoints := c.byType[resource.EndpointType][edsNames[name]]
		if endpoints == nil {
			errs = append(errs, fmt.Errorf("cluster %q: its endpoints %q are missing; Envoy would wait for them (a load assignment without endpoints is allowed)", name, edsNames[name]))
			continue
		}
		c.byType[resource.ClusterType][name].endpoints = endpoints
	}
	c.routeTables = slices.Sorted(maps.Keys(cache.GetResourceReferences(listeners)[resource.RouteType]))
	for _, name := range c.routeTables {
		if c.byType[resource.RouteType][name] == nil {
			errs = append(errs, fmt.Errorf("route table %q: a listener fetches it, but it is missing", name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c.version = c.hash()
	return c, nil
}

// edsName is the name under which the cluster asks for its endpoints; empty
// where it does not.
func edsName(c *cluster.Cluster) string {
	if c.GetType() != cluster.Cluster_EDS {
		return ""
	}
	if name := c.GetEdsClusterConfig().GetServiceName(); name != "" {
		return name
	}
	return c.GetName()
}

// versionOf is a hash of a resource's bytes.
func versionOf(body []byte) string {
	hash := sha256.Sum256(body)
	return short(hash[:])
}

// short keeps 64 bits: enough to tell one proxy's resources apart.
func short(hash []byte) string { return hex.EncodeToString(hash[:8]) }

// shortType is a type URL's last word, such as Cluster.
func shortType(typeURL string) string { return typeURL[strings.LastIndexByte(typeURL, '.')+1:] }
