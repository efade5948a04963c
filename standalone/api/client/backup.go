package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
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

// restoring is how many times the client's timeout a host may take for a backup
// that it has all of: it reads, validates and writes everything in it.
const restoring = 10

// Restore replaces everything in the host's store by what a backup holds, and
// says what that was. A store that is not empty is an Error with what is Stored,
// unless force is set. size is the backup's length in bytes, -1 where that is not
// known; progress is as in Backup.
func (c *Client) Restore(ctx context.Context, backup io.Reader, size int64, force bool, progress func(bytes int64)) (catalog.Restored, error) {
	ctx, alive, stop := c.whileAlive(ctx)
	defer stop()
	body := &watched{from: backup, alive: alive, progress: progress}
	query := url.Values{}
	if force {
		query.Set("force", "true")
	}
	resp, err := c.send(ctx, http.MethodPost, "/restore", query, backupType, body, size)
	if failed := body.end(); failed != nil {
		return catalog.Restored{}, failed
	}
	var restored catalog.Restored
	if err == nil {
		defer func() { _ = resp.Body.Close() }()
		if err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswerBytes)).Decode(&restored); err != nil {
			err = c.connectError(ctx, err)
		}
	}
	if failed := (*ConnectError)(nil); errors.As(err, &failed) && body.whole() {
		failed.Hint = "all of the backup was sent, and it may have been restored: see what the host has before you try again"
	}
	return restored, err
}

// whileAlive returns a context that ends when alive has not been called for as
// long as it was told the last time, at first the client's timeout. The caller
// calls stop in the end.
func (c *Client) whileAlive(parent context.Context) (ctx context.Context, alive func(whole bool), stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	var within atomic.Int64
	within.Store(int64(c.timeout))
	timer := time.AfterFunc(c.timeout, func() { cancel(timeoutError(within.Load())) })
	alive = func(whole bool) {
		if whole {
			within.Store(int64(restoring * c.timeout))
		}
		timer.Reset(time.Duration(within.Load()))
	}
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
	alive    func(whole bool)
	progress func(total int64) // may be nil

	mu    sync.Mutex // guards what follows
	total int64
	err   error // of from, but for io.EOF
	all   bool  // of from was read
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
	if w.all = err == io.EOF; err != nil && !w.all {
		w.err = err
	}
	w.alive(w.all)
	if w.progress != nil {
		w.progress(w.total)
	}
	return n, err
}

// whole says whether all there is was read.
func (w *watched) whole() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all
}

// end stops the reading and returns what went wrong with it.
func (w *watched) end() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	return w.err
}
