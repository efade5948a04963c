package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// backupType is the media type of a backup.
const backupType = "application/octet-stream"

// Backup writes a copy of the host's store to w, as it is at one moment, and
// returns its length in bytes. progress, where it is not nil, is told how many
// bytes are read so far. On an error w may hold a part.
func (c *Client) Backup(ctx context.Context, w io.Writer, progress func(bytes int64)) (int64, error) {
	ctx, alive, stop := c.whileAlive(ctx)
	defer stop()
	resp, err := c.send(ctx, http.MethodGet, "/backup", nil, "", http.NoBody, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	body := &watched{from: resp.Body, alive: alive, progress: progress}
	n, err := io.Copy(w, body)
	if failed := body.end(); failed != nil {
		err = c.connectError(ctx, failed)
	}
	return n, err
}

// Restore replaces everything in the host's store by what a backup holds. size
// is its length in bytes, -1 where that is not known; progress is as in Backup.
func (c *Client) Restore(ctx context.Context, backup io.Reader, size int64, progress func(bytes int64)) error {
	ctx, alive, stop := c.whileAlive(ctx)
	defer stop()
	body := &watched{from: backup, alive: alive, progress: progress}
	resp, err := c.send(ctx, http.MethodPost, "/restore", nil, backupType, body, size)
	if failed := body.end(); failed != nil {
		err = failed
	}
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// whileAlive returns a context that ends when alive is not called for the
// client's timeout. The caller calls stop in the end.
func (c *Client) whileAlive(parent context.Context) (ctx context.Context, alive, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	timer := time.AfterFunc(c.timeout, func() { cancel(errTimeout) })
	alive = func() { timer.Reset(c.timeout) }
	stop = func() {
		timer.Stop()
		cancel(nil)
	}
	return ctx, alive, stop
}

// errEnded is what reading gives after watched.end.
var errEnded = errors.New("the exchange is over")

// watched tells what is read, until its end. An HTTP client may go on reading
// what it sends after it has got its answer.
type watched struct {
	from     io.Reader
	alive    func()
	progress func(total int64) // may be nil

	mu    sync.Mutex // guards what follows
	total int64
	err   error // of from, but for io.EOF
	ended bool
}

func (w *watched) Read(p []byte) (int, error) {
	// Without the lock: a terminal or a pipe may never have anything to give.
	n, err := w.from.Read(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return 0, errEnded
	}
	w.total += int64(n)
	if err != nil && err != io.EOF {
		w.err = err
	}
	w.alive()
	if w.progress != nil {
		w.progress(w.total)
	}
	return n, err
}

// end stops the reading and returns what went wrong with it.
func (w *watched) end() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	return w.err
}
