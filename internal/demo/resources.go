package demo

import (
	"io/fs"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	examples "github.com/kuma-mirror/kuma-mirror/examples/demo"
)

// Names of examples/demo that the demo relies on.
const (
	meshName       = "demo"
	primaryService = "backend-primary"
	shadowService  = "backend-shadow"
	proxyName      = "client"
	mirrorName     = "shadow_cluster"
)

// written are the resources of examples/demo.
func written() ([]*api.Resource, error) {
	files, err := fs.Glob(examples.Files, "*.yaml")
	if err != nil {
		return nil, err
	}
	var all []*api.Resource
	for _, file := range files {
		data, err := examples.Files.ReadFile(file)
		if err != nil {
			return nil, err
		}
		parsed, err := api.Parse("examples/demo/"+file, data)
		if err != nil {
			return nil, err
		}
		all = append(all, parsed...)
	}
	return all, nil
}

// resources are those of examples/demo, on other ports.
func resources(ports Ports) ([]*api.Resource, error) {
	all, err := written()
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		dataplane, ok := r.Spec.(*api.Dataplane)
		if !ok {
			continue
		}
		n := dataplane.GetNetworking()
		switch r.Meta.Name {
		case primaryService:
			n.Inbound[0].Port = uint32(ports.Primary)
		case shadowService:
			n.Inbound[0].Port = uint32(ports.Shadow)
		case proxyName:
			n.Outbound[0].Port = uint32(ports.Listener)
			n.Admin.Port = uint32(ports.Admin)
		}
	}
	return all, nil
}
