package catalog

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
)

// queue is the writes that wait for their turn.
type queue struct {
	mu     sync.Mutex
	writes []*write
}

func (q *queue) add(w *write) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writes = append(q.writes, w)
}

// take empties the queue.
func (q *queue) take() []*write {
	q.mu.Lock()
	defer q.mu.Unlock()
	writes := q.writes
	q.writes = nil
	return writes
}

// withdraw reports whether the write was still waiting.
func (q *queue) withdraw(w *write) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := slices.Index(q.writes, w)
	if at < 0 {
		return false
	}
	q.writes = slices.Delete(q.writes, at, at+1)
	return true
}

// do has a write done and returns its error. Who comes while somebody writes
// waits, and whoever is next writes for all who wait: they share the disk's time.
func (c *Catalog) do(ctx context.Context, w *write) error {
	c.queue.add(w)
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		if c.queue.withdraw(w) {
			return ctx.Err()
		}
		// It is being written, which takes as long as the disk does.
	case c.turn <- struct{}{}:
		c.takeTurn()
	}
	<-w.done
	return w.err
}

// takeTurn writes for all who wait. Whoever has the turn gives it back, and
// answers them, whatever happens: else no write would ever come to an end.
func (c *Catalog) takeTurn() {
	writes := c.queue.take()
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("a mistake in this program: a write broke off", "panic", r, "stack", string(debug.Stack()))
			for _, w := range writes {
				w.err = fmt.Errorf("a mistake in this program: the write broke off, and may be on disk or not: %v", r)
			}
		}
		for _, w := range writes {
			close(w.done)
		}
		<-c.turn
	}()
	c.writeAll(writes)
}

// writeAll does writes, in their order and in one transaction.
func (c *Catalog) writeAll(writes []*write) {
	changes, first := c.planAll(writes)
	if first >= 0 {
		if err := c.commit(changes, writes); err != nil {
			// What was said of the others may rest on what is not there now.
			for _, w := range writes[first:] {
				w.err = &UnavailableError{Err: err}
			}
		}
	}
	for _, w := range writes {
		if w.err == nil {
			w.finish()
		}
	}
}

// planAll returns what writes change together, and which of them is the first
// that changes something; -1 for none.
func (c *Catalog) planAll(writes []*write) (changes layer, first int) {
	now := time.Now()
	c.mu.RLock()
	defer c.mu.RUnlock()
	changes, first = c.planEach(writes, now, false)
	if first >= 0 && len(newLoops(c.resources, c.with(changes))) > 0 {
		// All are looked at together, since that takes time, and one by one
		// only to find whose the loops are.
		changes, first = c.planEach(writes, now, true)
	}
	return changes, first
}

// planEach is planAll; with loops, writes that make loops of mirrors are refused.
func (c *Catalog) planEach(writes []*write, now time.Time, loops bool) (changes layer, first int) {
	changes, first = layer{}, -1
	for i, w := range writes {
		of := layer{}
		before := c.with(changes)
		w.planned = nil
		if w.err = w.plan(before, of, now); w.err != nil {
			continue
		}
		if loops {
			if w.err = noLoops(before, before.with(of)); w.err != nil {
				continue
			}
		}
		if first < 0 && len(of) > 0 {
			first = i
		}
		maps.Copy(changes, of)
	}
	return changes, first
}

// commit has the changes on disk, and then in use.
func (c *Catalog) commit(changes layer, writes []*write) error {
	var drafts []*store.Draft
	var items []*item
	for _, w := range writes {
		if w.err != nil {
			continue
		}
		for _, p := range w.planned {
			if p.result == Created || p.result == Configured {
				drafts, items = append(drafts, p.item.draft), append(items, p.item)
			}
		}
	}
	var deletes []api.Key
	for key, it := range changes {
		if it == nil {
			deletes = append(deletes, key)
		}
	}
	records, err := c.store.Write(drafts, deletes)
	if err != nil {
		return err
	}
	for i, r := range records {
		items[i].entry.ETag, items[i].draft = quoted(r.Digest), nil
	}
	c.mu.Lock()
	for key, it := range changes {
		if it == nil {
			delete(c.top(), key)
		} else {
			c.top()[key] = it
		}
	}
	c.mu.Unlock()
	c.notify()
	return nil
}
