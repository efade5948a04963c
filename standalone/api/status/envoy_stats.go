package status

import (
	"time"

	"github.com/kuma-mirror/kuma-mirror/standalone/serve/envoy"
)

const (
	// uptimeError is how far from the truth an Envoy's own uptime may be: it is
	// the difference of two times in whole seconds.
	uptimeError = time.Second
	// sameStart is how far apart two guesses may be of when one Envoy started.
	sameStart = 3 * time.Second
)

// envoyStats is what one Envoy, a process, has counted.
type envoyStats struct {
	// started is when it did, by the host's clock.
	started time.Time
	// left says that its connection has ended.
	left bool
	// flushed is when its stats were last counted; zero before the first time.
	flushed time.Time
	// uptime in seconds, of the flush at hand; negative where it has none.
	uptime float64
	// sent are the bytes that it has sent to the host, which grow with each
	// flush: where there are fewer, it is another Envoy.
	sent float64
	// series by what the names of their stats begin with, without the dot:
	// those that are wanted, and those that were as long as Envoy has them,
	// since it may go on with them later.
	series map[string]*series
}

// series are the stats of one cluster or route.
type series struct {
	wanted bool
	// seen says that the flush at hand has any of it.
	seen bool
	// now is as of the flush at hand, last as of the one before.
	now, last values
	// addresses of the cluster in the flush at hand.
	addresses uint64
	// summary is of the flush at hand.
	summary *summary
}

// begin gets ready for a flush.
func (e *envoyStats) begin(wanted map[string]bool) {
	e.uptime = -1
	for _, s := range e.series {
		s.wanted, s.seen, s.now, s.addresses, s.summary = false, false, values{}, 0, nil
	}
	for prefix := range wanted {
		s := e.series[prefix]
		if s == nil {
			s = &series{}
			e.series[prefix] = s
		}
		s.wanted = true
	}
}

// Stats of Envoy itself.
const (
	uptimeStat = "server.uptime"
	sentStat   = "cluster." + envoy.XDSStatName + ".upstream_cx_tx_bytes_total"
)

// wants says whether a stat is of any use.
func (e *envoyStats) wants(name []byte) bool {
	switch string(name) {
	case uptimeStat, sentStat:
		return true
	}
	of, last := split(name)
	if _, ok := counterOf(string(last)); !ok && string(last) != requestTime && string(last) != membershipTotal {
		return false
	}
	return e.series[string(of)] != nil
}

// add takes in a stat that is wanted.
func (e *envoyStats) add(st stat) {
	switch string(st.name) {
	case uptimeStat:
		e.uptime = st.value
		return
	case sentStat:
		e.sent = st.value
		return
	}
	of, last := split(st.name)
	s := e.series[string(of)]
	s.seen = true
	if c, ok := counterOf(string(last)); ok {
		s.now[c] = uint64(st.value)
	} else if string(last) == membershipTotal {
		s.addresses = uint64(st.value)
	} else {
		s.summary = st.summary
	}
}

// resume takes up the counters of the same Envoy on an earlier connection.
func (e *envoyStats) resume(before *envoyStats) {
	e.started, e.flushed = before.started, before.flushed
	for prefix, s := range e.series {
		if old := before.series[prefix]; old != nil {
			s.last = old.last
		}
	}
}

// counted makes the flush at hand the last one.
func (e *envoyStats) counted(now time.Time) {
	e.flushed = now
	for prefix, s := range e.series {
		if s.last = s.now; !s.wanted && !s.seen {
			delete(e.series, prefix)
		}
	}
}

// grown is what the counters of a cluster or route have grown by in the flush at
// hand.
func (e *envoyStats) grown(prefix string) (values, *summary) {
	s := e.series[prefix]
	if s == nil {
		return values{}, nil
	}
	return s.now.since(&s.last), s.summary
}

// resolution is that of a cluster's names as of the flush at hand.
func (e *envoyStats) resolution(prefix string) resolution {
	s := e.series[prefix]
	if s == nil {
		return resolution{}
	}
	return resolution{
		lookups: s.now[updateAttempt], answered: s.now[updateSuccess], failed: s.now[updateFailure],
		addresses: s.addresses,
	}
}
