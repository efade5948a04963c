package generator

import (
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// Namespaces of the metadata on a mirror cluster.
const (
	// TagsMetadata holds the shadow's tags, under the name Kuma uses on
	// listeners.
	TagsMetadata = "io.kuma.tags"
	// MirrorMetadata holds the shadow's service and the mirror's name.
	MirrorMetadata = "io.kuma.mirror"
)

// tag names the cluster in stats and says whose shadow it is, so that whoever
// reads a config dump or an access log can tell.
func (id Identity) tag(c *cluster.Cluster) {
	mirror := map[string]string{"service": id.Tags.Service()}
	if id.Name != "" {
		c.AltStatName = id.Name
		mirror["name"] = id.Name
	}
	if c.Metadata == nil {
		c.Metadata = &core.Metadata{}
	}
	if c.Metadata.FilterMetadata == nil {
		c.Metadata.FilterMetadata = map[string]*structpb.Struct{}
	}
	c.Metadata.FilterMetadata[TagsMetadata] = stringStruct(id.Tags)
	c.Metadata.FilterMetadata[MirrorMetadata] = stringStruct(mirror)
}

func stringStruct(m map[string]string) *structpb.Struct {
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for k, v := range m {
		s.Fields[k] = structpb.NewStringValue(v)
	}
	return s
}
