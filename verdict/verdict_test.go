package verdict

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func answer(id int, side Side, status int) Answer {
	return Answer{Mirror: "m", RequestID: fmt.Sprint("id-", id), Side: side, At: start, Method: "GET", Path: "/api/17?q=secret",
		Status: status, GRPCStatus: -1, Duration: time.Millisecond}
}

func joiner(o Options) *Joiner {
	j, err := NewJoiner(o)
	Expect(err).NotTo(HaveOccurred())
	return j
}

var _ = Describe("a template", func() {
	DescribeTable("has no data", func(path, want string) { Expect(Template(path)).To(Equal(want)) },
		Entry("number", "/api/17?x=1", "/api/*"),
		Entry("UUID", "/o/0b4c5a1e-3a7f-4d2c-9a55-2f0c1a7e9d11/items", "/o/*/items"),
		Entry("hash", "/b/deadbeef01/x", "/b/*/x"),
		Entry("date", "/d/2026-01-02", "/d/*"),
		Entry("address", "/u/a@b.example", "/u/*"),
		Entry("names and versions stay", "/api/v1/oauth2/user-profile", "/api/v1/oauth2/user-profile"),
	)
})

var _ = Describe("a joiner", func() {
	It("pairs in any order and says why the rest is unpaired", func() {
		j := joiner(Options{})
		for i := range 600 {
			j.Add(answer(i, Side(i%2), 200))
			other := answer(i, Side(1-i%2), 200)
			if i%100 == 0 && other.Side == Shadow {
				other.Ending = Dropped
			}
			j.Add(other)
		}
		j.Add(answer(-1, Primary, 200))
		j.Add(answer(-2, Shadow, 200))
		j.Advance(start.Add(time.Minute))
		r := j.Counts().Routes[Route{Mirror: "m", Method: "GET", Template: "/api/*"}]
		Expect(r.Unpaired).To(Equal(map[string]uint64{"shadow: dropped": 6, "no answer of the shadow arrived": 1, "no answer of the primary arrived": 1}))
		Expect(r.Pairs()).To(Equal(uint64(594)))
	})
	It("is bounded in what waits and in routes, and counts what is beyond", func() {
		j := joiner(Options{Waiting: 10, Routes: 3})
		for i := range 1000 {
			a := answer(i, Primary, 200)
			a.Path = fmt.Sprintf("/%c%c", 'a'+i%26, 'a'+i/26%26)
			j.Add(a)
		}
		Expect(j.queue.Len()).To(Equal(10))
		Expect(j.Counts().Routes).To(HaveLen(4))
		Expect(j.Counts().Routes).To(HaveKey(HaveField("Template", Other)))
	})
	It("counts without values, in a form that survives JSON, and merges", func() {
		j := joiner(Options{})
		j.Add(answer(1, Primary, 200))
		j.Add(answer(1, Shadow, 404))
		text, err := json.Marshal(j.Counts())
		Expect(err).NotTo(HaveOccurred())
		Expect(string(text)).NotTo(ContainSubstring("secret"))
		back := NewCounts()
		Expect(json.Unmarshal(text, back)).To(Succeed())
		Expect(json.Marshal(back)).To(Equal(text))
		back.Merge(j.Counts())
		back.Sub(j.Counts())
		Expect(json.Marshal(back)).To(MatchJSON(text))
	})
})

var _ = Describe("patterns to ignore", func() {
	DescribeTable("match", func(pattern string, f Field, want bool) {
		ig, err := ParseIgnore([]string{pattern})
		Expect(err).NotTo(HaveOccurred())
		Expect(ig.Match(f)).To(Equal(want))
	},
		Entry(nil, "body.servedAt", Field{KindValue, "body.servedAt"}, true),
		Entry(nil, "body.served", Field{KindValue, "body.servedAt"}, false),
		Entry(nil, "body.items[].price", Field{KindType, "body.items[].price string→number"}, true),
		Entry(nil, "body.**.price", Field{KindValue, "body.items[].price"}, true),
		Entry(nil, "number", Field{KindNumber, "body.x"}, true),
		Entry(nil, "number body.y", Field{KindNumber, "body.x"}, false),
		Entry(nil, "header.etag", Field{KindMissing, "header.etag"}, true),
	)
	It("name what is wrong", func() {
		_, err := ParseIgnore([]string{"servedAt", "body.x"})
		Expect(err).To(MatchError(ContainSubstring(`"servedAt"`)))
	})
})

var _ = Describe("the statistics", func() {
	It("have the tail of the binomial distribution", func() {
		Expect(tail(10, 0.5, 10)).To(BeNumerically("~", 1.0/1024, 1e-12))
		Expect(tail(10, 0.5, 5)).To(BeNumerically("~", 638.0/1024, 1e-9))
		Expect(tail(3, 0.2, 1)).To(BeNumerically("~", 1-0.512, 1e-9))
	})
	// counts of 200 fields with noise q and, if any, one regression.
	counts := func(rnd *rand.Rand, times int, q, regression float64) *Counts {
		const n = 10_000
		class := &ClassCounts{Bodies: Both{n, uint64(n * times)}, Answers: Both{n, uint64(n * times)}, Fields: map[Field]*FieldCounts{}}
		events := func(n int, p float64) (k uint64) {
			for range n {
				if rnd.Float64() < p {
					k++
				}
			}
			return k
		}
		for i := range 200 {
			p := q
			if i == 0 {
				p += regression
			}
			class.Fields[Field{KindValue, fmt.Sprint("body.f", i)}] = &FieldCounts{Both: Both{events(n, p), events(n*times, q)}}
		}
		c := NewCounts()
		c.Routes[Route{Mirror: "m"}] = &RouteCounts{Classes: map[string]*ClassCounts{"2xx": class}}
		return c
	}
	// The probability of a false alarm is at most 0.01 a run, so that of more than
	// 5 in 60 is below 1e-4; the seed is fixed.
	It("do not alarm on noise", func() {
		rnd := rand.New(rand.NewPCG(1, 2))
		alarms := 0
		for i := range 60 {
			if Judge(counts(rnd, 1, []float64{1e-4, 1e-3, 0.01}[i%3], 0), Criteria{})[0].Result == Different {
				alarms++
			}
		}
		Expect(alarms).To(BeNumerically("<=", 5))
	})
	It("find 1 in 1000 in a silent field with a control of 4 ×", func() {
		rnd := rand.New(rand.NewPCG(3, 4))
		found := 0
		for range 30 {
			if g := Judge(counts(rnd, 4, 0, 1e-3), Criteria{}); g[0].Result == Different && g[0].Differences[0].Name == "body.f0" {
				found++
			}
		}
		Expect(found).To(BeNumerically(">=", 25))
	})
	It("do not call noise that is unknown a difference, nor the same", func() {
		c := counts(rand.New(rand.NewPCG(5, 6)), 0, 0.01, 0)
		Expect(Judge(c, Criteria{})[0].Result).To(Equal(Unknown))
	})
	It("find a status without a control, and say SAME with the power reached", func() {
		j := joiner(Options{})
		for i := range 2000 {
			j.Add(answer(i, Primary, 200))
			j.Add(answer(i, Shadow, 200))
		}
		g := Judge(j.Counts(), Criteria{})
		Expect(g[0].Result).To(Equal(Same))
		Expect(g[0].OneInAnswers).To(BeNumerically("~", 160, 20))
		for i := range 20 {
			j.Add(answer(5000+i, Primary, 200))
			j.Add(answer(5000+i, Shadow, 404))
		}
		g = Judge(j.Counts(), Criteria{})
		Expect(g[0].Result).To(Equal(Different))
		Expect(g[0].Differences[0].Name).To(Equal("200→404"))
		Expect(g[0].Latency[0].Known).To(BeTrue())
		Expect(g[0].Latency[0].Low).To(BeNumerically("<=", 0))
		Expect(g[0].Latency[0].High).To(BeNumerically(">=", 0))
	})
})
