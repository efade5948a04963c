package generator

import (
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	envoytype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// ejectOutliers stops trying a shadow that cannot be reached: each failed
// connect costs the proxy more than a copy that arrives. Only failures to reach
// it count, a shadow may answer what it likes. Panic routing is off, or Envoy
// would go on with every endpoint ejected; the ejection is short and does not
// grow, so that a shadow that is back gets copies within three seconds.
func (id Identity) ejectOutliers(c *cluster.Cluster) {
	c.OutlierDetection = &cluster.OutlierDetection{
		SplitExternalLocalOriginErrors:         true,
		ConsecutiveLocalOriginFailure:          wrapperspb.UInt32(5),
		EnforcingConsecutive_5Xx:               wrapperspb.UInt32(0),
		EnforcingSuccessRate:                   wrapperspb.UInt32(0),
		EnforcingFailurePercentage:             wrapperspb.UInt32(0),
		EnforcingConsecutiveGatewayFailure:     wrapperspb.UInt32(0),
		EnforcingConsecutiveLocalOriginFailure: wrapperspb.UInt32(100),
		EnforcingLocalOriginSuccessRate:        wrapperspb.UInt32(0),
		MaxEjectionPercent:                     wrapperspb.UInt32(100),
		Interval:                               durationpb.New(time.Second),
		BaseEjectionTime:                       durationpb.New(2 * time.Second),
		MaxEjectionTime:                        durationpb.New(2 * time.Second),
	}
	if c.CommonLbConfig == nil {
		c.CommonLbConfig = &cluster.Cluster_CommonLbConfig{}
	}
	c.CommonLbConfig.HealthyPanicThreshold = &envoytype.Percent{Value: 0}
	// By itself Envoy gathers such changes for a second, in which it goes on
	// trying: of 200 copies a second it tried 80 where it now tries 2.
	c.CommonLbConfig.UpdateMergeWindow = durationpb.New(0)
}
