package status

import (
	"bytes"
	"errors"
	"math"

	metrics "github.com/envoyproxy/go-control-plane/envoy/service/metrics/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// message is a StreamMetricsMessage that is left as it came. An Envoy sends all
// of its stats, of which few are wanted: reading those alone takes a tenth of
// the time, and hardly any memory.
type message struct{ emptypb.Empty }

// Fields of StreamMetricsMessage and of what is in it (io.prometheus.client).
const (
	messageIdentifier = 1
	messageMetrics    = 2

	familyName   = 1
	familyMetric = 4

	metricGauge     = 2
	metricCounter   = 3
	metricSummary   = 4
	metricTimestamp = 6

	summaryCount    = 1
	summarySum      = 2
	summaryQuantile = 3

	numberValue   = 1 // of counters and gauges
	quantileValue = 2
)

var errMalformed = errors.New("not a StreamMetricsMessage")

func (m *message) raw() []byte { return m.ProtoReflect().GetUnknown() }

// GetIdentifier returns who sends, which is the first field of the first message
// of a stream; nil in all others.
func (m *message) GetIdentifier() *metrics.StreamMetricsMessage_Identifier {
	number, _, value, _ := nextField(m.raw())
	if number != messageIdentifier {
		return nil
	}
	var identifier metrics.StreamMetricsMessage_Identifier
	if proto.Unmarshal(value, &identifier) != nil {
		return nil
	}
	return &identifier
}

// stat is one counter, gauge or histogram.
type stat struct {
	// name as Envoy has it; a part of the message.
	name []byte
	// value of a counter or a gauge.
	value float64
	// summary of a histogram; nil where it had nothing in it, too.
	summary *summary
	// time by Envoy's clock, in milliseconds; the same for all of one flush.
	time int64
}

// stats calls each with every metric whose name is wanted, and returns how many
// metrics there are. It ends with the first error.
func (m *message) stats(wanted func(name []byte) bool, each func(stat)) (count int, err error) {
	rest := m.raw()
	for len(rest) > 0 {
		var number protowire.Number
		var family []byte
		if number, _, family, rest = nextField(rest); number < 1 {
			return count, errMalformed
		}
		if number != messageMetrics {
			continue
		}
		count++
		number, _, name, metric := nextField(family)
		if number != familyName {
			return count, errMalformed
		}
		if !wanted(name) {
			continue
		}
		s := stat{name: name}
		if !s.readFamily(metric) {
			return count, errMalformed
		}
		each(s)
	}
	return count, nil
}

// time returns when the metrics of the message were taken; 0 where it has none.
func (m *message) time() (int64, error) {
	var first stat
	for rest := m.raw(); len(rest) > 0; {
		var number protowire.Number
		var family []byte
		number, _, family, rest = nextField(rest)
		switch {
		case number < 1, number == messageMetrics && !first.readFamily(family):
			return 0, errMalformed
		case number == messageMetrics:
			return first.time, nil
		}
	}
	return 0, nil
}

func (s *stat) readFamily(b []byte) bool {
	for len(b) > 0 {
		number, _, value, rest := nextField(b)
		if number < 1 || number == familyMetric && !s.readMetric(value) {
			return false
		}
		b = rest
	}
	return true
}

func (s *stat) readMetric(b []byte) bool {
	for len(b) > 0 {
		number, bits, value, rest := nextField(b)
		b = rest
		switch number {
		case metricCounter, metricGauge:
			if n, v, _, _ := nextField(value); n == numberValue {
				s.value = amount(v)
			}
		case metricSummary:
			if !s.readSummary(value) {
				return false
			}
		case metricTimestamp:
			s.time = int64(bits)
		default:
			if number < 1 {
				return false
			}
		}
	}
	return true
}

func (s *stat) readSummary(b []byte) bool {
	var read summary
	i := 0
	for len(b) > 0 {
		number, bits, value, rest := nextField(b)
		b = rest
		switch number {
		case summaryCount:
			read.count = bits
		case summarySum:
			read.sum = amount(bits)
		case summaryQuantile:
			if i == len(quantiles) {
				return false
			}
			for len(value) > 0 {
				n, v, _, more := nextField(value)
				if n < 1 {
					return false
				}
				if n == quantileValue {
					read.at[i] = float32(amount(v))
				}
				value = more
			}
			i++
		default:
			if number < 1 {
				return false
			}
		}
	}
	if read.count > 0 && i == len(quantiles) {
		s.summary = &read
	}
	return true
}

// amount is a number that can be counted with; what Envoy counts and measures is never
// less than 0, nor without bounds.
func amount(bits uint64) float64 {
	if f := math.Float64frombits(bits); f >= 0 && f < math.MaxInt64 {
		return f
	}
	return 0
}

// nextField takes the first field off b: the bits of a number, or the bytes of
// what has a length. The number of the field is 0 where b is malformed.
func nextField(b []byte) (number protowire.Number, bits uint64, value, rest []byte) {
	number, kind, n := protowire.ConsumeTag(b)
	if n < 0 {
		return 0, 0, nil, nil
	}
	b = b[n:]
	switch kind {
	case protowire.VarintType:
		bits, n = protowire.ConsumeVarint(b)
	case protowire.Fixed64Type:
		bits, n = protowire.ConsumeFixed64(b)
	case protowire.BytesType:
		value, n = protowire.ConsumeBytes(b)
	default:
		n = protowire.ConsumeFieldValue(number, kind, b)
	}
	if n < 0 {
		return 0, 0, nil, nil
	}
	return number, bits, value, b[n:]
}

// split takes the last part off a name: "cluster.shadow" and "upstream_rq_total".
func split(name []byte) (of, last []byte) {
	i := bytes.LastIndexByte(name, '.')
	if i < 0 {
		return nil, name
	}
	return name[:i], name[i+1:]
}
