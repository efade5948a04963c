package verdict

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

func bodies(a, b string) (*Answer, *Answer) {
	return &Answer{Body: &Body{Bytes: []byte(a), Total: int64(len(a))}}, &Answer{Body: &Body{Bytes: []byte(b), Total: int64(len(b))}}
}

var _ = Describe("bodies", func() {
	DescribeTable("differ by path", func(a, b string, want ...Field) {
		Expect(CompareBodies(bodies(a, b))).To(ConsistOf(want))
	},
		Entry("equal but for the order of keys", `{"a":1,"b":2}`, `{"b":2, "a":1}`),
		Entry("value", `{"a":{"b":1}}`, `{"a":{"b":2}}`, Field{KindValue, "body.a.b"}),
		Entry("in arrays, once", `{"i":[{"p":1},{"p":2}]}`, `{"i":[{"p":3},{"p":4}]}`, Field{KindValue, "body.i[].p"}),
		Entry("missing and added", `{"a":1}`, `{"b":1}`, Field{KindMissing, "body.a"}, Field{KindAdded, "body.b"}),
		Entry("type", `{"a":1}`, `{"a":"1"}`, Field{KindType, "body.a number→string"}),
		Entry("form of a number", `{"a":1.0}`, `{"a":1}`, Field{KindNumber, "body.a"}),
		Entry("small numbers", `{"a":0.1}`, `{"a":0.10000000000000000001}`, Field{KindValue, "body.a"}),
		Entry("large numbers", `{"a":9007199254740993}`, `{"a":9007199254740992}`, Field{KindValue, "body.a"}),
		Entry("order", `[1,2,3]`, `[3,1,2]`, Field{KindOrder, "body"}),
		Entry("length", `[1,2]`, `[1]`, Field{KindMissing, "body[]"}),
		Entry("keys that are data", `{"m":{"12345":1,"67890":2}}`, `{"m":{"12345":2,"99999":2}}`,
			Field{KindValue, "body.m.*"}, Field{KindMissing, "body.m.*"}, Field{KindAdded, "body.m.*"}),
		Entry("not JSON", `a`, `b`, Field{KindBytes, "body"}),
		Entry("JSON and more", `1 2`, `1 3`, Field{KindBytes, "body"}),
	)
	It("that are truncated differ by size and beginning", func() {
		a, b := bodies(`{"a":1`, `{"a":1`)
		a.Body.Total, b.Body.Total = 100, 200
		Expect(CompareBodies(a, b)).To(ConsistOf(Field{KindSize, "body.size"}))
	})
})

// A difference is found exactly where there is one, from both sides alike.
func FuzzBodies(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":null}]}`, `[1.0,2e3]`, `"x"`, `{`, ``, `{"a.b":{"":1}}`} {
		f.Add([]byte(s), []byte(`{"a":[1]}`))
	}
	f.Fuzz(func(t *testing.T, x, y []byte) {
		a, b := bodies(string(x), string(y))
		there, back := CompareBodies(a, b), CompareBodies(b, a)
		if len(there) != len(back) {
			t.Fatalf("%v, but %v from the other side", there, back)
		}
		if len(CompareBodies(a, a)) != 0 {
			t.Fatal("differs from itself")
		}
	})
}

func BenchmarkBodies(b *testing.B) {
	body := `{"items":[`
	for range 60 {
		body += `{"name":"a thing","price":12.5,"tags":["x","y"],"stock":{"de":1,"fr":2}},`
	}
	p, o := bodies(body+`1]}`, body+`2]}`)
	b.SetBytes(int64(len(p.Body.Bytes)))
	for b.Loop() {
		CompareBodies(p, o)
	}
}
