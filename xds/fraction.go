package xds

import (
	"math"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	envoytype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

// fraction returns the share of requests that Envoy mirrors for a percentage of
// 0 to 100 with at most four decimals, exactly, with the smallest denominator
// that can. 100 gives nil: without a fraction Envoy mirrors everything.
func fraction(percentage float64) *core.RuntimeFractionalPercent {
	millionths := uint32(math.Round(percentage * 10_000))
	if millionths == 1_000_000 {
		return nil
	}
	value := &envoytype.FractionalPercent{Numerator: millionths, Denominator: envoytype.FractionalPercent_MILLION}
	switch {
	case millionths%10_000 == 0:
		value.Numerator, value.Denominator = millionths/10_000, envoytype.FractionalPercent_HUNDRED
	case millionths%100 == 0:
		value.Numerator, value.Denominator = millionths/100, envoytype.FractionalPercent_TEN_THOUSAND
	}
	return &core.RuntimeFractionalPercent{DefaultValue: value}
}
