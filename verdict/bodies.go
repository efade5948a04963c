package verdict

import "bytes"

// CompareBodies returns the fields in which the bodies of two answers differ.
func CompareBodies(p, o *Answer) []Field {
	if p.Body.Total == o.Body.Total && bytes.Equal(p.Body.Bytes, o.Body.Bytes) {
		return nil
	}
	return []Field{{KindBytes, "body"}}
}
