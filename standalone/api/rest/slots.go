package rest

import "net/http"

// slots bound how many do at once what takes a lot.
type slots chan struct{}

// take gives a slot, to be freed, or the error to answer with, which says busy.
// Nobody waits: who waited would hold what they have sent, and many could.
func (s slots) take(busy string) (free func(), err error) {
	select {
	case s <- struct{}{}:
		return func() { <-s }, nil
	default:
		return nil, newProblem(http.StatusServiceUnavailable, "%s", busy).with("Retry-After", "1")
	}
}
