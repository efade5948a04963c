package impact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// client calls the primary through Envoy and holds each answer against what it
// has to be.
type client struct {
	url   string
	http  *http.Client
	grpc  *grpc.ClientConn
	count atomic.Int64
	// patience is how long a request may take before it counts as hung.
	patience time.Duration
}

func newClient(httpPort, grpcPort uint32, patience time.Duration) (*client, error) {
	conn, err := grpc.NewClient(loopback(grpcPort), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &client{
		url:      "http://" + loopback(httpPort) + "/",
		http:     &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512, WriteBufferSize: 64 << 10}},
		grpc:     conn,
		patience: patience,
	}, nil
}

func (c *client) close() {
	c.http.CloseIdleConnections()
	_ = c.grpc.Close()
}

// errHung is a request that got no answer in time.
var errHung = errors.New("no answer in time")

// call does one request within the client's patience.
func (c *client) call(ctx context.Context, do func(context.Context) error) error {
	timed, cancel := context.WithTimeoutCause(ctx, c.patience, errHung)
	defer cancel()
	err := do(timed)
	if err != nil && ctx.Err() == nil && timed.Err() != nil {
		return errHung
	}
	return err
}

// send sends one request with a body of the given length and checks the answer.
// A body is chunked if its length is not told.
func (c *client) send(ctx context.Context, mirrored bool, method string, b body, chunked bool) error {
	return c.call(ctx, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, method, c.url, b.reader())
		if err != nil {
			return err
		}
		request.ContentLength = b.length
		if chunked {
			request.ContentLength = -1
		}
		id := strconv.FormatInt(c.count.Add(1), 10)
		request.Header.Set(requestID, id)
		if !mirrored {
			request.Header.Set(RouteHeader, Plain)
		}
		response, err := c.http.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		answer, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
		switch {
		case err != nil:
			return fmt.Errorf("the answer breaks off: %w", err)
		case response.StatusCode != http.StatusOK:
			return fmt.Errorf("status %d", response.StatusCode)
		case response.Header.Get(requestID) != id:
			return errors.New("the answer is to another request")
		case string(answer) != b.digest.String():
			return errors.New("another body arrived at the primary")
		}
		return nil
	})
}

func (c *client) context(ctx context.Context, mirrored bool) (context.Context, string) {
	id := strconv.FormatInt(c.count.Add(1), 10)
	ctx = metadata.AppendToOutgoingContext(ctx, requestID, id)
	if !mirrored {
		ctx = metadata.AppendToOutgoingContext(ctx, RouteHeader, Plain)
	}
	return ctx, id
}

func checkID(header metadata.MD, id string) error {
	if got := header.Get(requestID); len(got) != 1 || got[0] != id {
		return errors.New("the answer is to another request")
	}
	return nil
}

func (c *client) unary(ctx context.Context, mirrored bool, payload []byte) error {
	return c.call(ctx, func(ctx context.Context) error {
		ctx, id := c.context(ctx, mirrored)
		var header metadata.MD
		answer := &wrapperspb.BytesValue{}
		if err := c.grpc.Invoke(ctx, unaryMethod, wrapperspb.Bytes(payload), answer, grpc.Header(&header)); err != nil {
			return err
		}
		if sum := sha256.Sum256(payload); !bytes.Equal(answer.GetValue(), sum[:]) {
			return errors.New("another body arrived at the primary")
		}
		return checkID(header, id)
	})
}

// converse sends messages over one stream, each when the one before has come
// back.
func (c *client) converse(ctx context.Context, mirrored bool, messages int, payload []byte) error {
	return c.call(ctx, func(ctx context.Context) error {
		ctx, id := c.context(ctx, mirrored)
		stream, err := c.grpc.NewStream(ctx, &bidiDesc, bidiMethod)
		if err != nil {
			return err
		}
		for range messages {
			if err := stream.SendMsg(wrapperspb.Bytes(payload)); err != nil {
				return err
			}
			answer := &wrapperspb.BytesValue{}
			if err := stream.RecvMsg(answer); err != nil {
				return err
			}
			if !bytes.Equal(answer.GetValue(), payload) {
				return errors.New("another message came back")
			}
		}
		if err := stream.CloseSend(); err != nil {
			return err
		}
		if err := stream.RecvMsg(&wrapperspb.BytesValue{}); !errors.Is(err, io.EOF) {
			return fmt.Errorf("the stream did not end: %w", err)
		}
		header, err := stream.Header()
		if err != nil {
			return err
		}
		return checkID(header, id)
	})
}

// body is what requests of one kind carry: a block, again and again.
type body struct {
	block  []byte
	length int64
	digest digest
}

func newBody(length int64) body {
	b := body{block: make([]byte, min(length, 1<<20)), length: length}
	random := rand.New(rand.NewPCG(1, uint64(length)))
	for i := range b.block {
		b.block[i] = byte(random.Uint32())
	}
	b.digest, _ = digestOf(b.reader()) // reading memory does not fail
	return b
}

func (b body) reader() io.Reader {
	if b.length == 0 {
		return http.NoBody
	}
	return &repeating{block: b.block, left: b.length}
}

type repeating struct {
	block []byte
	at    int
	left  int64
}

func (r *repeating) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), r.left)], r.block[r.at:])
	r.at = (r.at + n) % len(r.block)
	r.left -= int64(n)
	return n, nil
}

// tally is what became of some requests.
type tally struct {
	mu        sync.Mutex
	requests  int
	failed    map[string]int // by reason
	latencies []time.Duration
}

func (t *tally) add(err error, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	t.latencies = append(t.latencies, took)
	if err != nil {
		if t.failed == nil {
			t.failed = map[string]int{}
		}
		t.failed[reason(err)]++
	}
}

func (t *tally) failures() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, of := range t.failed {
		n += of
	}
	return n
}

// batch is a number of requests, some at once.
type batch struct {
	n, atOnce int
	// atMost is the time after which no more of them are sent; 0 means ever.
	atMost time.Duration
}

// repeat sends a batch, until one request hangs.
func repeat(ctx context.Context, b batch, do func(context.Context) error) *tally {
	t := &tally{}
	var next atomic.Int64
	var hung atomic.Bool
	var done sync.WaitGroup
	began := time.Now()
	goesOn := func() bool {
		return ctx.Err() == nil && !hung.Load() && (b.atMost == 0 || time.Since(began) < b.atMost)
	}
	for range min(b.n, b.atOnce) {
		done.Go(func() {
			for goesOn() && next.Add(1) <= int64(b.n) {
				start := time.Now()
				err := do(ctx)
				t.add(err, time.Since(start))
				if errors.Is(err, errHung) {
					hung.Store(true)
				}
			}
		})
	}
	done.Wait()
	return t
}

// once sends one request.
func once(ctx context.Context, do func(context.Context) error) *tally {
	return repeat(ctx, batch{n: 1, atOnce: 1}, do)
}

// steadily starts rate requests a second for a while, whether the ones before
// are answered or not, and counts each one's time from the moment it was due:
// what waits behind a slow one is slow itself.
func steadily(ctx context.Context, rate int, d time.Duration, do func(context.Context) error) *tally {
	t := &tally{}
	start := time.Now()
	var done sync.WaitGroup
	for i := range int(d.Seconds() * float64(rate)) {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
		if late := time.Until(due); late > 0 && !wait(ctx, late) {
			break
		}
		done.Go(func() {
			err := do(ctx)
			t.add(err, time.Since(due))
		})
	}
	done.Wait()
	return t
}
