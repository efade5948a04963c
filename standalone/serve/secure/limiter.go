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

// fail counts a bad token, and returns how long the address has to wait where it
// has sent too many; those it sends meanwhile do not count. Good tokens are not
// asked about here: one that is guessed right is let in, but a token is too long
// to be guessed, and who shares an address with an attacker is not locked out.
func (l *limiter) fail(address netip.Addr) (wait time.Duration) {
	prefix := prefixOf(address)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	known := l.sources[prefix]
	if known != nil {
		left := known.Value.(*source).bucket.TokensAt(now)
		if left < 1 {
			return time.Duration((1 - left) / float64(badTokenRate) * float64(time.Second))
		}
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
	return 0
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
