package generator

import (
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// endpointsTimeout bounds how long Envoy waits for the first endpoints of a
// mirror cluster. Its own default is 15 s. Endpoints that come later are used.
const endpointsTimeout = time.Second

// boundWarming keeps a mirror cluster from holding up anything else: while a
// cluster is warming, a starting Envoy has no listeners, and a running one
// acknowledges no clusters. Names that do not resolve are not waited for, nor
// is health, and endpoints only for a short time.
func (id Identity) boundWarming(c *cluster.Cluster) {
	c.WaitForWarmOnInit = wrapperspb.Bool(false)
	c.HealthChecks = nil
	if source := c.GetEdsClusterConfig().GetEdsConfig(); source != nil {
		source.InitialFetchTimeout = durationpb.New(endpointsTimeout)
	}
}
