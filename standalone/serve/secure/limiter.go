package secure

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// badTokens may come from one source at once, and then badTokenRate in a
	// second.
	badTokens    = 10
	badTokenRate = rate.Limit(1)
	// maxSources is how many of them are remembered, the latest.
	maxSources = 10000
)

// limiter bounds how many bad tokens a source may try. Its methods may be called
// from any goroutine.
type limiter struct {
	now func() time.Time

	mu      sync.Mutex
	order   *list.List // of *source, the latest first
	sources map[netip.Prefix]*list.Element
}

type source struct {
	prefix netip.Prefix
	bucket *rate.Limiter
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, order: list.New(), sources: map[netip.Prefix]*list.Element{}}
}

// try calls good unless the address has to wait, and counts where it returns
// false. A source that has used up its tries is refused good tokens as well: a
// guess that is right would pass otherwise.
func (l *limiter) try(address netip.Addr, good func() bool) (ok bool, wait time.Duration) {
	prefix := prefixOf(address)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	known := l.sources[prefix]
	if known != nil {
		left := known.Value.(*source).bucket.TokensAt(now)
		if left < 1 {
			return false, time.Duration((1 - left) / float64(badTokenRate) * float64(time.Second))
		}
	}
	if good() {
		return true, 0
	}
	if known == nil {
		known = l.order.PushFront(&source{prefix: prefix, bucket: rate.NewLimiter(badTokenRate, badTokens)})
		l.sources[prefix] = known
		if l.order.Len() > maxSources {
			oldest := l.order.Back()
			delete(l.sources, oldest.Value.(*source).prefix)
			l.order.Remove(oldest)
		}
	}
	l.order.MoveToFront(known)
	known.Value.(*source).bucket.AllowN(now, 1)
	return false, 0
}

// prefixOf is the address, or in IPv6 the /64 it is in, all of which one machine
// commonly has.
func prefixOf(address netip.Addr) netip.Prefix {
	address = address.Unmap().WithZone("")
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	prefix, _ := address.Prefix(bits) // of an invalid address it is the zero prefix
	return prefix
}
