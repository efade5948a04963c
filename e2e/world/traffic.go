package world

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Clients of Traffic: half of them keep their connections.
const Clients = 4

// period of one client.
const period = 10 * time.Millisecond

// Exchange is one request of Traffic and what became of it.
type Exchange struct {
	ID     string
	Client int // 0 to Clients-1
	// Err is nil where the answer was 200, by any backend.
	Err error
	// Answer is nil where there was none.
	Answer *Answer
}

// Traffic is steady: 400 requests a second from four clients, two of which keep
// their connections and two of which do not. Its methods may be called
// concurrently.
type Traffic struct {
	mu        sync.Mutex
	exchanges []Exchange
	latest    [Clients]*Answer

	stop    context.CancelFunc
	stopped <-chan struct{}
}

// Traffic begins to send POSTs to web's outbound, until Stop or the test's end.
func (w *World) Traffic() *Traffic {
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	t := &Traffic{stop: cancel, stopped: stopped}
	var running sync.WaitGroup
	for i := range Clients {
		client := NewClient(w.t, w.URL, i%2 == 0)
		running.Go(func() { t.run(ctx, i, client) })
	}
	go func() {
		running.Wait()
		close(stopped)
	}()
	w.t.Cleanup(func() { t.Stop() })
	return t
}

func (t *Traffic) run(ctx context.Context, i int, client *Client) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		id := NewID()
		// The last request is finished, too.
		answer, err := client.Send(context.WithoutCancel(ctx), Request{Method: http.MethodPost, Body: id, ID: id})
		if err == nil && answer.Status != http.StatusOK {
			err = fmt.Errorf("%d: %s", answer.Status, answer.Body)
		}
		t.mu.Lock()
		t.exchanges = append(t.exchanges, Exchange{ID: id, Client: i, Err: err, Answer: answer})
		if err == nil {
			t.latest[i] = answer
		}
		t.mu.Unlock()
	}
}

// Stop ends the traffic and returns all of it, in the order of the answers.
func (t *Traffic) Stop() []Exchange {
	t.stop()
	<-t.stopped
	return t.Exchanges()
}

// Exchanges returns what there has been so far.
func (t *Traffic) Exchanges() []Exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.exchanges[:len(t.exchanges):len(t.exchanges)]
}

// Failed returns those that failed so far.
func (t *Traffic) Failed() (failed []Exchange) {
	for _, e := range t.Exchanges() {
		if e.Err != nil {
			failed = append(failed, e)
		}
	}
	return failed
}

// All says whether the latest answer of every client is one that is accepted.
func (t *Traffic) All(accept func(*Answer) bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, answer := range t.latest {
		if answer == nil || !accept(answer) {
			return false
		}
	}
	return true
}
