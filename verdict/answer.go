package verdict

import "time"

// Side is one of the answers to a request.
type Side uint8

const (
	Primary Side = iota
	Shadow
	Control
	sides
)

func (s Side) String() string { return [...]string{"primary", "shadow", "control", "?"}[min(s, sides)] }

// Ending is how an answer ended.
type Ending uint8

const (
	Whole       Ending = iota
	Dropped            // over a limit, never sent
	Refused            // no connection
	Reset              // before the headers
	BrokenOff          // after the headers
	BodyTooLong        // the request's body was over the limit of copies
	TimedOut           // over the limit of time
	NotSent            // the client did not finish its request
	endings
)

func (e Ending) String() string {
	return [...]string{"whole", "dropped", "refused", "reset", "broken off", "body too long", "timed out", "not sent", "?"}[min(e, endings)]
}

// comparable says whether an upstream had the request, so that what came of it
// is its behaviour.
func (e Ending) comparable() bool {
	return e == Whole || e == Reset || e == BrokenOff || e == TimedOut
}

// Body is the body of an answer, as sent.
type Body struct {
	// Bytes is the body, or the beginning of one that is longer.
	Bytes []byte
	// Total is the number of bytes of the whole body.
	Total int64
}

// Answer is one side's answer to one request: a line of a log, or a sampled
// answer with its body. Both may come for the same request, in any order.
type Answer struct {
	// Mirror is the mirror whose answers are compared; equal for all sides.
	Mirror string
	// Route is the entry of the route, for display.
	Route     string
	RequestID string
	Side      Side
	// At is the end of the answer.
	At     time.Time
	Method string
	// Path may have a query; only the template is kept.
	Path string
	GRPC bool
	// Status is 0 where there was none.
	Status int
	// GRPCStatus is negative where there was none.
	GRPCStatus int
	Ending     Ending
	Duration   time.Duration
	BodyBytes  int64
	// Header has allowed names only, in lower case.
	Header map[string]string
	// Body is nil for a line of a log.
	Body *Body
}
