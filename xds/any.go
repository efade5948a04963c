package xds

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// MarshalAny packs m the same way every time: equal configuration has to be
// equal bytes, or Envoy is sent what it already has.
func MarshalAny(m proto.Message) (*anypb.Any, error) {
	value := &anypb.Any{}
	if err := anypb.MarshalFrom(value, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		return nil, err
	}
	return value, nil
}
