package secure

import (
	"log/slog"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// refusals logs whom the host turns away, ten lines at once and then one in a
// second: an attack is not to fill the disk.
type refusals struct {
	log     *slog.Logger
	limiter *rate.Limiter
	skipped atomic.Uint64
}

func newRefusals(log *slog.Logger) *refusals {
	return &refusals{log: log, limiter: rate.NewLimiter(1, 10)}
}

// add must not be given secrets. What a caller has sent is quoted by the log.
func (r *refusals) add(what, why string, attributes ...any) {
	if !r.limiter.Allow() {
		r.skipped.Add(1)
		return
	}
	attributes = append([]any{"reason", why}, attributes...)
	if n := r.skipped.Swap(0); n > 0 {
		attributes = append(attributes, "not logged since", n)
	}
	r.log.Warn(what, attributes...)
}
