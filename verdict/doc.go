// Package verdict says whether the answers of a mirror's shadow are those of
// the primary.
//
// A [Joiner] takes the answers of all sides, in any order, pairs those to the
// same request, compares them and counts the differences by route, status class
// and field. [Counts] has no bodies and no values; counts of several collectors
// are merged. [Judge] turns counts into a statement for each route: DIFFERENT
// where a field differs more often than noise explains, SAME where a difference
// would have shown, UNKNOWN otherwise.
//
// Noise comes from a control, a second instance of the primary. Without one,
// only differences with a direction are judged (200→404 against 404→200, a field
// missing against added): two equal programs would show both equally often.
//
// The package is pure: data in, data out. Clocks, sockets and files are outside,
// and callers serialise their calls.
package verdict
