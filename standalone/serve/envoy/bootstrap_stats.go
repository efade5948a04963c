package envoy

import (
	"time"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	metrics "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
)

// StatsInterval is how often an Envoy sends its stats.
const StatsInterval = 2 * time.Second

// MetricsPerMessage is how many metrics a message has, unless it is the last of
// those that Envoy sends at once. It keeps messages far below the 4 MiB that a
// gRPC server takes by default: a metric is about 100 bytes, one of a histogram
// 300.
const MetricsPerMessage = 2000

// XDSStatName is what the cluster of the host is called in stats.
const XDSStatName = "xds"

// sendStats lets Envoy send its stats to the host, which tells from them what
// mirrors do. Counters come as they stand, not as differences, so that a lost
// message loses nothing.
func sendStats(b *bootstrap.Bootstrap) error {
	config, err := anypb.New(&metrics.MetricsServiceConfig{
		GrpcService: &core.GrpcService{
			TargetSpecifier: &core.GrpcService_EnvoyGrpc_{EnvoyGrpc: &core.GrpcService_EnvoyGrpc{ClusterName: xdsCluster}},
		},
		TransportApiVersion: core.ApiVersion_V3,
		HistogramEmitMode:   metrics.HistogramEmitMode_SUMMARY,
		BatchSize:           MetricsPerMessage,
	})
	if err != nil {
		return err
	}
	b.StatsSinks = []*metrics.StatsSink{{
		Name:       "envoy.stat_sinks.metrics_service",
		ConfigType: &metrics.StatsSink_TypedConfig{TypedConfig: config},
	}}
	b.StatsFlushInterval = durationpb.New(StatsInterval)
	return nil
}
