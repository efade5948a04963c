package generator

import (
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// connectTimeout is long enough for a TLS handshake across zones and short
// enough that copies for a shadow which drops packets do not pile up.
const connectTimeout = time.Second

func (id Identity) boundConnecting(c *cluster.Cluster) {
	c.ConnectTimeout = durationpb.New(connectTimeout)
}
