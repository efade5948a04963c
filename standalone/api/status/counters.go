package status

import "fmt"

// counter is one of the counters that Envoy keeps of each cluster; those of a
// route have the same names.
type counter int

const (
	rqTotal counter = iota
	rqCompleted
	rq2xx
	rq3xx
	rq4xx
	rq5xx
	rq502
	rqCancelled
	rqTxReset
	rqMaxDuration
	rqTimeout
	rqPerTryTimeout
	rqPendingOverflow
	rqActiveOverflow
	rqPendingFailure
	cxNoneHealthy
	cxDestroyLocalActive
	cxProtocolError
	updateAttempt
	updateSuccess
	updateFailure
	counters // how many there are
)

// counterOf knows a counter by the last part of its name.
func counterOf(name string) (counter, bool) {
	switch name {
	case "upstream_rq_total":
		return rqTotal, true
	case "upstream_rq_completed":
		return rqCompleted, true
	case "upstream_rq_2xx":
		return rq2xx, true
	case "upstream_rq_3xx":
		return rq3xx, true
	case "upstream_rq_4xx":
		return rq4xx, true
	case "upstream_rq_5xx":
		return rq5xx, true
	case "upstream_rq_502":
		return rq502, true
	case "upstream_rq_cancelled":
		return rqCancelled, true
	case "upstream_rq_tx_reset":
		return rqTxReset, true
	case "upstream_rq_max_duration_reached":
		return rqMaxDuration, true
	case "upstream_rq_timeout":
		return rqTimeout, true
	case "upstream_rq_per_try_timeout":
		return rqPerTryTimeout, true
	case "upstream_rq_pending_overflow":
		return rqPendingOverflow, true
	case "upstream_rq_active_overflow":
		return rqActiveOverflow, true
	case "upstream_rq_pending_failure_eject":
		return rqPendingFailure, true
	case "upstream_cx_none_healthy":
		return cxNoneHealthy, true
	case "upstream_cx_destroy_local_with_active_rq":
		return cxDestroyLocalActive, true
	case "upstream_cx_protocol_error":
		return cxProtocolError, true
	case "update_attempt":
		return updateAttempt, true
	case "update_success":
		return updateSuccess, true
	case "update_failure":
		return updateFailure, true
	}
	return 0, false
}

// requestTime is the histogram of both, in milliseconds.
const requestTime = "upstream_rq_time"

// membershipTotal is how many addresses a cluster has. An Envoy leaves it out
// while there has never been one.
const membershipTotal = "membership_total"

// resolution is how an Envoy does with the names of a cluster by DNS.
type resolution struct {
	// lookups there were, those that were answered, with addresses or without,
	// and those that failed.
	lookups, answered, failed uint64
	// addresses are those that the cluster has.
	addresses uint64
}

// waits reports whether the names have been looked up, and have no address.
func (r resolution) waits() bool { return r.lookups > 0 && r.addresses == 0 }

// String says what became of the lookups.
func (r resolution) String() string {
	return fmt.Sprintf("of %d DNS lookups %d were answered, %d failed and %d had no answer yet",
		r.lookups, r.answered, r.failed, max(r.lookups, r.answered+r.failed)-r.answered-r.failed)
}

// values are counters, or what they have grown by.
type values [counters]uint64

// since is how much each counter has grown from last to v. One that has fallen
// began anew.
func (v *values) since(last *values) values {
	var grown values
	for i := range v {
		grown[i] = v[i]
		if v[i] >= last[i] {
			grown[i] -= last[i]
		}
	}
	return grown
}

// copies are what happened to the copies of a mirror cluster.
type copies struct {
	sent     float64
	dropped  Dropped
	answers  Answers
	answered float64
}

// add adds a share of o.
func (c *copies) add(o copies, share float64) {
	c.sent += share * o.sent
	c.dropped.Concurrency += share * o.dropped.Concurrency
	c.dropped.Body += share * o.dropped.Body
	c.dropped.Duration += share * o.dropped.Duration
	c.dropped.NoHealthyEndpoint += share * o.dropped.NoHealthyEndpoint
	c.dropped.ConnectionFailure += share * o.dropped.ConnectionFailure
	c.answers.Add(o.answers, share)
	c.answered += share * o.answered
}

// copiesOf works out from what a mirror cluster's counters have grown by what
// happened to its copies; each rule is a spec of e2e/status. streamed says that
// the cluster holds no bodies back.
//
// Envoy counts a copy in upstream_rq_total when it has a connection, which is
// before its body is whole. A copy whose body does not become whole is then
// reset: over HTTP/2 in upstream_rq_tx_reset, over HTTP/1.1 with its connection.
// Those two also have the copies that took too long, and HTTP/1.1 those whose
// answer was no HTTP, which Envoy answers itself with 502.
func copiesOf(v values, streamed bool) copies {
	at := func(c counter) float64 { return float64(v[c]) }
	var c copies
	c.dropped = Dropped{
		Concurrency:       at(rqPendingOverflow) + at(rqActiveOverflow),
		Duration:          at(rqMaxDuration) + at(rqTimeout) + at(rqPerTryTimeout),
		NoHealthyEndpoint: at(cxNoneHealthy),
		ConnectionFailure: at(rqPendingFailure),
	}
	reset := at(rqTxReset) + at(cxDestroyLocalActive) - c.dropped.Duration - min(at(cxProtocolError), at(rq502))
	if streamed {
		// What there is of the body is with the shadow already.
		reset = 0
	}
	c.dropped.Body = max(0, reset) + at(rqCancelled)
	c.sent = at(rqTotal) - max(0, reset)

	// Copies that are not sent Envoy answers itself, with 503; with 504 those
	// that a client's own timeout ends.
	own := c.dropped.Concurrency + c.dropped.NoHealthyEndpoint + c.dropped.ConnectionFailure + at(rqTimeout) + at(rqPerTryTimeout)
	c.answers = answersOf(v, own)
	c.answered = max(0, at(rqCompleted)-own)
	return c
}

// answersOf are the answers by class; own are those 5xx that Envoy gave itself.
func answersOf(v values, own float64) Answers {
	return Answers{
		Success: float64(v[rq2xx]), Redirect: float64(v[rq3xx]), ClientError: float64(v[rq4xx]),
		ServerError: max(0, float64(v[rq5xx])-own),
	}
}

// requestsOf is how many requests a route had: those that were sent to the
// primary, and those that Envoy answered itself because they could not be.
// answers are the answers that came from the primary.
func requestsOf(sent, completed, answers uint64) uint64 {
	if completed <= sent || completed <= answers {
		return sent
	}
	return sent + min(completed-sent, completed-answers)
}
