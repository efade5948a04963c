package impact

import (
	"context"
	"net/http"
	"time"
)

// Load is one kind of request.
type Load struct {
	// Name as on the command line.
	Name string
	// About is what it sends, in a few words.
	About string
	// GRPC loads need a shadow of HTTP/2.
	GRPC bool
	kind kind
	// send does one request; that of the upload depends on the options.
	send func(ctx context.Context, c *client, mirrored bool) error
}

// kind is how a load is run and judged.
type kind int

const (
	requests kind = iota // a number of them, some at a time
	upload               // one large body
	burst                // at a steady rate
)

// Rate of the burst, in requests per second.
const burstRate = 500

// Loads returns all of them.
func Loads() []Load {
	post := func(length int64) func(context.Context, *client, bool) error {
		b := newBody(length)
		return func(ctx context.Context, c *client, mirrored bool) error {
			return c.send(ctx, mirrored, http.MethodPost, b, false)
		}
	}
	get := newBody(0)
	message := newBody(1000).block
	return []Load{
		{Name: "get", About: "GET", send: func(ctx context.Context, c *client, mirrored bool) error {
			return c.send(ctx, mirrored, http.MethodGet, get, false)
		}},
		{Name: "post-10k", About: "POST of 10 kB", send: post(10_000)},
		{Name: "post-900k", About: "POST of 900 kB", send: post(900_000)},
		{Name: "upload", About: "upload of 200 MB, chunked", kind: upload},
		{Name: "burst", About: "GETs over kept connections, 500 a second", kind: burst,
			send: func(ctx context.Context, c *client, mirrored bool) error {
				return c.send(ctx, mirrored, http.MethodGet, get, false)
			}},
		{Name: "grpc-unary", About: "gRPC, one message and one back", GRPC: true,
			send: func(ctx context.Context, c *client, mirrored bool) error { return c.unary(ctx, mirrored, message) }},
		{Name: "grpc-bidi", About: "gRPC, 20 messages to and fro over one stream", GRPC: true,
			send: func(ctx context.Context, c *client, mirrored bool) error {
				return c.converse(ctx, mirrored, 20, message)
			}},
	}
}

// sendUpload sends a large body whose length is not told.
func sendUpload(length int64) func(context.Context, *client, bool) error {
	b := newBody(length)
	return func(ctx context.Context, c *client, mirrored bool) error {
		return c.send(ctx, mirrored, http.MethodPost, b, true)
	}
}

func loadsNamed(names []string) ([]Load, error) {
	return named(Loads(), names, "load", func(l Load) string { return l.Name })
}

// on reports whether shadows of that protocol meet the load.
func (l Load) on(protocol Protocol) bool { return !l.GRPC || protocol == HTTP2 }

// quickly are the loads that the nth shadow meets in a quick run: between them
// the shadows meet all.
func quickly(n int, protocol Protocol) []string {
	if protocol == HTTP2 {
		return [][]string{{"burst"}, {"grpc-unary"}, {"grpc-bidi"}, {"post-10k"}}[n%4]
	}
	return [][]string{{"burst", "upload"}, {"get", "upload"}, {"post-900k", "upload"}, {"post-10k", "upload"}}[n%4]
}

// amount is how much of each load a cell gets: rounds, in each of which no
// mirror, a healthy shadow for bursts, and the variants take their turns.
type amount struct {
	// requests are sent in a turn, some at once, and no new ones once it has
	// taken atMost.
	requests, atOnce int
	atMost           time.Duration
	// uploads and rounds are the number of rounds of the upload, one in a turn,
	// and of the other loads.
	uploads, rounds int
	// burst is how long a burst lasts.
	burst time.Duration
}

// amount has so many rounds that an effect can be told from noise.
func (o Options) amount() amount {
	a := amount{requests: 50, atOnce: 16, atMost: 10 * time.Second, uploads: 12, rounds: 6, burst: time.Second}
	if o.Quick {
		a.requests, a.atOnce, a.uploads, a.rounds, a.burst = 40, 8, 1, 1, 500*time.Millisecond
	}
	if o.Rounds > 0 {
		a.uploads, a.rounds = o.Rounds, o.Rounds
	}
	return a
}

func (a amount) roundsOf(l Load) int {
	if l.kind == upload {
		return a.uploads
	}
	return a.rounds
}
