package host

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
)

// bootstrapService tells proxies how to start their Envoys.
type bootstrapService struct {
	api.UnimplementedBootstrapServiceServer
	host *Host
}

// GetBootstrap implements api.BootstrapServiceServer.
func (s bootstrapService) GetBootstrap(_ context.Context, r *api.GetBootstrapRequest) (*api.GetBootstrapResponse, error) {
	key := api.Key{Kind: api.KindDataplane, Mesh: r.GetMesh(), Name: r.GetDataplane()}
	if key.Mesh == "" {
		key.Mesh = api.DefaultMesh
	}
	s.host.mu.Lock()
	index := s.host.index
	s.host.mu.Unlock()

	resource := index.Mesh(key.Mesh).Dataplane(key.Name)
	if resource == nil {
		return nil, status.Error(codes.NotFound, unknown(key, index.Dataplanes()))
	}
	networking := resource.Spec.(*api.Dataplane).GetNetworking()
	return &api.GetBootstrapResponse{
		NodeId:      mesh.NodeID(key),
		NodeCluster: mesh.NodeCluster(networking),
		AdminPort:   networking.GetAdmin().GetPort(),
	}, nil
}

// unknown says what there is in place of the data plane asked for.
func unknown(asked api.Key, all []api.Key) string {
	var names, meshes []string
	for _, key := range all {
		if key.Mesh == asked.Mesh {
			names = append(names, key.Name)
		}
		if len(meshes) == 0 || meshes[len(meshes)-1] != key.Mesh {
			meshes = append(meshes, key.Mesh)
		}
	}
	what := fmt.Sprintf("there is no data plane %q in mesh %q", asked.Name, asked.Mesh)
	switch {
	case len(names) > 0:
		return what + "; it has " + few(names)
	case len(meshes) > 0:
		return what + ", which has none; meshes with data planes: " + few(meshes)
	default:
		return what + "; no mesh has any: add a Dataplane to the resources"
	}
}

// few lists names, at most 20 of them.
func few(names []string) string {
	const most = 20
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
