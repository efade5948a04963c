package v1alpha1

import "bytes"

const (
	// maxNodes is how many values an input may have. Each takes much more memory
	// than the two bytes in which it can be written.
	maxNodes = 750_000
	// nodeBytes is about what one takes while it is read, and as part of a
	// resource.
	nodeBytes = 256
)

// ParseCost is about how much memory Parse takes for data, at most, beside data
// itself. It is found without reading the data as YAML or JSON, in a time that is
// linear in its length.
func ParseCost(data []byte) int64 { return int64(min(nodesAtMost(data), maxNodes)) * nodeBytes }

// nodesAtMost is how many nodes the tree of an input may have: each begins the
// input, or follows one of these characters.
func nodesAtMost(data []byte) int {
	nodes := 2 // a document and its root
	for _, c := range []byte(":,?[{") {
		nodes += 2 * bytes.Count(data, []byte{c}) // a key and a value
	}
	for _, entry := range []string{"- ", "-\t", "-\n", "-\r", "--", ".."} {
		nodes += 2 * bytes.Count(data, []byte(entry)) // of a list, or a document
	}
	return nodes
}
