package kuma

import (
	"sync"

	xds_context "github.com/kumahq/kuma/v2/pkg/xds/context"
)

// meshes remembers the state of each mesh that proxies were last computed from.
// The zero value is empty and ready to use, by several goroutines at once.
type meshes struct {
	mu     sync.Mutex
	hashes map[string]string
}

// changed reports whether the mesh is another than at the last call.
func (m *meshes) changed(mesh xds_context.MeshContext) bool {
	name := mesh.Resource.GetMeta().GetName()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hashes[name] == mesh.Hash {
		return false
	}
	if m.hashes == nil {
		m.hashes = map[string]string{}
	}
	m.hashes[name] = mesh.Hash
	return true
}

// exists reports whether a proxy is still there, as far as a mesh can tell: of
// the proxies of other meshes it says so unless the whole mesh is gone.
func exists(mesh xds_context.MeshContext, proxy proxyKey) bool {
	if proxy.Mesh == mesh.Resource.GetMeta().GetName() {
		_, ok := mesh.DataplanesByName[proxy.Name]
		return ok
	}
	for _, other := range mesh.Resources.Meshes().Items {
		if other.GetMeta().GetName() == proxy.Mesh {
			return true
		}
	}
	return false
}
