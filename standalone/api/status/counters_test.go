package status

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("counters", func() {
	grown := func(pairs map[string]uint64) values {
		GinkgoHelper()
		var v values
		for name, n := range pairs {
			c, ok := counterOf(name)
			Expect(ok).To(BeTrue(), name)
			v[c] = n
		}
		return v
	}

	// What Envoy 1.38.2 and 1.40.0 count alike, as they were seen to.
	DescribeTable("say what became of copies",
		func(pairs map[string]uint64, streamed bool, expected copies) {
			Expect(copiesOf(grown(pairs), streamed)).To(Equal(expected))
		},
		Entry("all is well", map[string]uint64{"upstream_rq_total": 20, "upstream_rq_completed": 20, "upstream_rq_2xx": 18, "upstream_rq_4xx": 2},
			false, copies{sent: 20, answered: 20, answers: Answers{Success: 18, ClientError: 2}}),
		Entry("the shadow answers 500", map[string]uint64{"upstream_rq_total": 20, "upstream_rq_completed": 20, "upstream_rq_5xx": 20},
			false, copies{sent: 20, answered: 20, answers: Answers{ServerError: 20}}),
		Entry("bodies too long, HTTP/1.1", map[string]uint64{
			"upstream_rq_total": 19, "upstream_rq_completed": 10, "upstream_rq_cancelled": 1, "upstream_cx_destroy_local_with_active_rq": 9,
		}, false, copies{sent: 10, answered: 10, dropped: Dropped{Body: 10}}),
		Entry("bodies too long, HTTP/2", map[string]uint64{
			"upstream_rq_total": 19, "upstream_rq_completed": 10, "upstream_rq_cancelled": 1, "upstream_rq_tx_reset": 9,
		}, false, copies{sent: 10, answered: 10, dropped: Dropped{Body: 10}}),
		Entry("clients that leave while bodies are streamed", map[string]uint64{"upstream_rq_total": 5, "upstream_rq_tx_reset": 5},
			true, copies{sent: 5}),
		Entry("too many at once, HTTP/1.1", map[string]uint64{
			"upstream_rq_total": 4, "upstream_rq_completed": 20, "upstream_rq_5xx": 16, "upstream_rq_pending_overflow": 16,
		}, false, copies{sent: 4, answered: 4, dropped: Dropped{Concurrency: 16}}),
		Entry("too many at once, HTTP/2", map[string]uint64{
			"upstream_rq_total": 2, "upstream_rq_completed": 20, "upstream_rq_5xx": 18, "upstream_rq_active_overflow": 18,
		}, false, copies{sent: 2, answered: 2, dropped: Dropped{Concurrency: 18}}),
		Entry("no answer in time, HTTP/1.1", map[string]uint64{
			"upstream_rq_total": 20, "upstream_rq_max_duration_reached": 20, "upstream_cx_destroy_local_with_active_rq": 20,
		}, false, copies{sent: 20, dropped: Dropped{Duration: 20}}),
		Entry("no answer in time, HTTP/2", map[string]uint64{
			"upstream_rq_total": 20, "upstream_rq_max_duration_reached": 20, "upstream_rq_tx_reset": 20,
		}, false, copies{sent: 20, dropped: Dropped{Duration: 20}}),
		Entry("an answer without an end", map[string]uint64{
			"upstream_rq_total": 10, "upstream_rq_completed": 10, "upstream_rq_max_duration_reached": 10, "upstream_rq_tx_reset": 10,
		}, false, copies{sent: 10, answered: 10, dropped: Dropped{Duration: 10}}),
		Entry("a timeout of the client's", map[string]uint64{
			"upstream_rq_total": 5, "upstream_rq_completed": 5, "upstream_rq_5xx": 5, "upstream_rq_timeout": 3, "upstream_rq_per_try_timeout": 2,
			"upstream_rq_tx_reset": 5,
		}, false, copies{sent: 5, dropped: Dropped{Duration: 5}}),
		Entry("nobody to send to", map[string]uint64{"upstream_rq_completed": 20, "upstream_rq_5xx": 20, "upstream_cx_none_healthy": 20},
			false, copies{dropped: Dropped{NoHealthyEndpoint: 20}}),
		Entry("connections refused, then the endpoint is left out", map[string]uint64{
			"upstream_rq_completed": 20, "upstream_rq_5xx": 20, "upstream_cx_none_healthy": 15, "upstream_rq_pending_failure_eject": 5,
		}, false, copies{dropped: Dropped{NoHealthyEndpoint: 15, ConnectionFailure: 5}}),
		Entry("connections that break before the answer", map[string]uint64{
			"upstream_rq_total": 20, "upstream_rq_completed": 20, "upstream_rq_5xx": 20,
		}, false, copies{sent: 20, answered: 20, answers: Answers{ServerError: 20}}),
		Entry("connections that break in the answer", map[string]uint64{
			"upstream_rq_total": 10, "upstream_rq_completed": 10, "upstream_cx_protocol_error": 10,
		}, false, copies{sent: 10, answered: 10}),
		Entry("answers that are no HTTP", map[string]uint64{
			"upstream_rq_total": 10, "upstream_rq_completed": 10, "upstream_rq_5xx": 10, "upstream_rq_502": 10,
			"upstream_cx_protocol_error": 10, "upstream_cx_destroy_local_with_active_rq": 10,
		}, false, copies{sent: 10, answered: 10, answers: Answers{ServerError: 10}}),
	)

	It("are those that have names", func() {
		known := map[counter]bool{}
		for _, name := range []string{
			"upstream_rq_total", "upstream_rq_completed", "upstream_rq_2xx", "upstream_rq_3xx", "upstream_rq_4xx", "upstream_rq_5xx", "upstream_rq_502", "upstream_rq_cancelled",
			"upstream_rq_tx_reset", "upstream_rq_max_duration_reached", "upstream_rq_timeout", "upstream_rq_per_try_timeout",
			"upstream_rq_pending_overflow", "upstream_rq_active_overflow", "upstream_rq_pending_failure_eject",
			"upstream_cx_none_healthy", "upstream_cx_destroy_local_with_active_rq", "upstream_cx_protocol_error",
			"update_attempt", "update_success", "update_failure",
		} {
			c, ok := counterOf(name)
			Expect(ok).To(BeTrue(), name)
			known[c] = true
		}
		Expect(known).To(HaveLen(int(counters)))
		_, ok := counterOf("upstream_rq_1xx")
		Expect(ok).To(BeFalse())
	})

	DescribeTable("say how many requests a route had", func(sent, completed, answers, requests uint64) {
		Expect(requestsOf(sent, completed, answers)).To(Equal(requests))
	},
		Entry("all answered by the primary", uint64(10), uint64(10), uint64(10), uint64(10)),
		Entry("some in flight", uint64(10), uint64(7), uint64(7), uint64(10)),
		Entry("long ones that end", uint64(2), uint64(7), uint64(7), uint64(2)),
		Entry("the primary refuses all connections", uint64(0), uint64(20), uint64(0), uint64(20)),
		Entry("the primary refuses some", uint64(6), uint64(10), uint64(6), uint64(10)),
		Entry("the primary breaks connections", uint64(10), uint64(10), uint64(0), uint64(10)),
	)
})
