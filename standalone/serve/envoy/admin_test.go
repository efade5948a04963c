package envoy

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = DescribeTable("what is in flight", func(stats string, expected int) {
	Expect(countInFlight(stats)).To(Equal(expected))
},
	Entry("nothing", "", 0),
	Entry("an idle HTTP connection does not count", `http.backend.downstream_cx_active: 1
http.backend.downstream_cx_tx_bytes_buffered: 0
http.backend.downstream_rq_active: 0
listener.127.0.0.1_10001.downstream_cx_active: 1
listener.127.0.0.1_10001.worker_0.downstream_cx_active: 1
`, 0),
	Entry("a request does", `http.backend.downstream_cx_active: 3
http.backend.downstream_cx_tx_bytes_buffered: 0
http.backend.downstream_rq_active: 2
listener.127.0.0.1_10001.downstream_cx_active: 3
`, 2),
	Entry("an answer that is not written out does", `http.backend.downstream_cx_active: 1
http.backend.downstream_cx_tx_bytes_buffered: 91234
http.backend.downstream_rq_active: 0
listener.127.0.0.1_10001.downstream_cx_active: 1
`, 1),
	Entry("a TCP connection does", `http.backend.downstream_cx_active: 1
http.backend.downstream_rq_active: 0
listener.127.0.0.1_10001.downstream_cx_active: 1
listener.127.0.0.1_10002.downstream_cx_active: 2
listener.127.0.0.1_10002.worker_0.downstream_cx_active: 1
listener.127.0.0.1_10002.worker_1.downstream_cx_active: 1
`, 2),
	Entry("the admin API's own does not", `http.admin.downstream_cx_active: 1
http.admin.downstream_rq_active: 1
listener.admin.downstream_cx_active: 1
listener.admin.main_thread.downstream_cx_active: 1
`, 0),
)
