package status

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = DescribeTable("The difference between the answers of primary and shadow",
	func(primary, shadow Answers, want string) {
		Expect(difference(primary, shadow)).To(Equal(want))
	},
	Entry("a wrong path", Answers{Success: 100}, Answers{ClientError: 50},
		"the shadow answers 4xx to 100 % of the copies, the primary to 0 % of the requests"),
	Entry("a redirect to a login", Answers{Success: 100}, Answers{Redirect: 100},
		"the shadow answers 3xx to 100 % of the copies, the primary to 0 % of the requests"),
	Entry("the class that differs most", Answers{Success: 1000}, Answers{Success: 700, ClientError: 200, ServerError: 100},
		"the shadow answers 4xx to 20 % of the copies, the primary to 0 % of the requests"),
	Entry("a shadow that finds what the primary does not", Answers{ClientError: 1000}, Answers{Success: 1000},
		"the shadow answers 2xx to 100 % of the copies, the primary to 0 % of the requests"),
	Entry("the same answers", Answers{Success: 900, ClientError: 100}, Answers{Success: 90, ClientError: 10}, ""),
	Entry("less than chance makes of a few", Answers{Success: 20}, Answers{Success: 19, ClientError: 1}, ""),
	Entry("less than a point of many", Answers{Success: 100_000}, Answers{Success: 99_500, ServerError: 500}, ""),
	Entry("more than a point of many", Answers{Success: 100_000}, Answers{Success: 98_000, ServerError: 2_000},
		"the shadow answers 5xx to 2 % of the copies, the primary to 0 % of the requests"),
	Entry("no copies", Answers{Success: 100}, Answers{}, ""),
	Entry("no requests", Answers{}, Answers{Success: 100}, ""),
)
