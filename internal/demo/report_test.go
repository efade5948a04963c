package demo_test

import (
	"bytes"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/kuma-mirror/kuma-mirror/internal/demo"
)

var _ = Describe("The report", func() {
	var report *demo.Report

	BeforeEach(func() {
		report = &demo.Report{Envoy: "1.38.2", Seconds: 1.52, ChanceOfFalseFailure: 2e-10, Results: []demo.Result{
			{Kind: demo.TestCase, Name: "test_one", Expected: "1 of 1", Seen: "1 of 1", Passed: true},
			{Kind: demo.Verification, Name: "Two", Expected: "2 of 2", Seen: "1 of 2", Problem: "one is missing"},
		}}
	})

	write := func(format string, color bool) string {
		GinkgoHelper()
		var out bytes.Buffer
		Expect(report.Write(&out, format, color)).To(Succeed())
		return out.String()
	}

	It("is a table of what was expected, seen and concluded", func() {
		Expect(write("table", false)).To(Equal(
			`TEST CASE     EXPECTED  SEEN    RESULT
test_one      1 of 1    1 of 1  passed

VERIFICATION  EXPECTED  SEEN    RESULT
Two           2 of 2    1 of 2  FAILED
  one is missing

1 of 2 passed in 1.5s with Envoy 1.38.2.
50 % is drawn at random: by bad luck alone a run fails with a probability of 2e-10.
`))
	})

	It("has colours where they are wanted", func() {
		Expect(write("table", true)).To(And(ContainSubstring("\x1b[32mpassed\x1b[0m"), ContainSubstring("\x1b[31mFAILED\x1b[0m")))
	})

	It("is data as well", func() {
		Expect(write("json", true)).To(MatchJSON(`{
			"envoy": "1.38.2", "passed": false, "seconds": 1.52, "chanceOfFalseFailure": 2e-10,
			"results": [
				{"kind": "test case", "name": "test_one", "expected": "1 of 1", "seen": "1 of 1", "passed": true},
				{"kind": "verification", "name": "Two", "expected": "2 of 2", "seen": "1 of 2", "passed": false, "problem": "one is missing"}
			]}`))
		Expect(write("yaml", true)).To(MatchYAML(write("json", true)))
	})

	It("has no other formats", func() {
		Expect(report.Write(new(bytes.Buffer), "xml", false)).To(MatchError(ContainSubstring("table, json, yaml")))
	})
})

var _ = Describe("Colours", func() {
	It("are for terminals", func() {
		Expect(demo.WantsColor(new(bytes.Buffer))).To(BeFalse())
	})
})
