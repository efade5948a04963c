package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Run starts the demo, shows what happens to a few requests, and then goes on
// until ctx ends, which is no error. Everything it started has ended when it
// returns.
func Run(ctx context.Context, o Options) error {
	var err error
	if o.Ports, err = o.Ports.reserve(); err != nil {
		return err
	}
	p := &printer{w: o.Stdout, style: style(WantsColor(o.Stdout))}
	l := &live{printer: p}
	l.printf(`%s

  client ---> Envoy ---> primary   answers the client
                \
                 '-----> shadow    gets a copy; its answer is dropped

%s
`, p.bold("Request mirroring with kuma-mirror and Envoy"), p.bold("Starting"))

	e, err := start(ctx, o, func(what, where, why string) {
		l.printf("  %-16s %-23s %s\n", what, where, p.dim(why))
	}, l.log)
	if err != nil {
		if ctx.Err() != nil {
			l.printf("\nStopped before everything was running.\n")
			return nil
		}
		return err
	}
	defer e.stop()
	l.environment = e

	if err := l.tour(ctx); err != nil {
		if ctx.Err() == nil {
			return err
		}
	} else {
		l.invite()
		if err := l.follow(ctx); err != nil {
			return err
		}
	}
	l.printf("\nStopping ...\n")
	e.stop()
	l.printf("Stopped. primary answered %s; shadow got %s.\n",
		count(e.primary.lines.Load(), "request", "requests"), count(e.shadow.lines.Load(), "copy", "copies"))
	return nil
}

// live is a demo that somebody watches.
type live struct {
	*printer
	*environment
}

// log prints a line of a backend's log.
func (l *live) log(line string) {
	switch {
	case strings.HasPrefix(line, logTag(primaryName)):
		line = l.green(line)
	case strings.HasPrefix(line, logTag(shadowName)):
		line = l.magenta(line)
	}
	l.printf("%s\n", line)
}

// tour sends a few requests and says what became of each.
func (l *live) tour(ctx context.Context) error {
	l.printf(`
The policy, examples/demo/traffic-route.yaml, mirrors /api/v1 at 100 %%, /api/v2 at 50 %% and /api/v3 not at all.

%s The lines in [brackets] are the backends' own logs.
`, l.bold("A few requests, one by one."))

	stops := []struct {
		method, path, body, why string
		times                   int
	}{
		{http.MethodGet, pathAll, "", "100 %: every request is copied", 1},
		{http.MethodGet, pathHalf, "", "50 %: chance decides about each request", 4},
		{http.MethodGet, pathNone, "", "no mirror: nothing is copied", 1},
		{http.MethodPost, pathAll, `{"hello": "shadow"}`, "100 %: a copy has the body, too", 1},
	}
	n := 0
	for _, s := range stops {
		l.printf("\n%s  %s\n", l.bold(s.method+" "+s.path), l.dim(s.why))
		for range s.times {
			n++
			o := outgoing{method: s.method, path: s.path, body: []byte(s.body), id: fmt.Sprintf("tour-%d", n)}
			if err := l.show(ctx, o); err != nil {
				return err
			}
		}
	}
	// What the user sees in Envoy's counters is then the user's own.
	_, err := l.client.call(ctx, http.MethodPost, l.client.admin+"/reset_counters")
	return err
}

func (l *live) show(ctx context.Context, o outgoing) error {
	before, err := l.client.inspect(ctx, l.shadow.url)
	if err != nil {
		return err
	}
	if _, err := l.client.send(ctx, o); err != nil {
		return err
	}
	if _, err := l.client.settle(ctx); err != nil {
		return err
	}
	after, err := l.client.inspect(ctx, l.shadow.url)
	if err != nil {
		return err
	}
	if err := l.awaitLogs(ctx); err != nil {
		return err
	}
	copied := "no copy was sent"
	if after.Count > before.Count {
		copied = "a copy reached the shadow"
		if n := len(after.Recent); len(o.body) > 0 && o.got(after.Recent[n-1]) {
			copied += fmt.Sprintf(" with all %d bytes of its body", len(o.body))
		}
	}
	l.printf("  -> the client got primary's answer; %s\n", l.cyan(copied))
	return nil
}

// awaitLogs returns when everything that the backends have logged is printed.
func (l *live) awaitLogs(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for _, backend := range []*process{l.primary, l.shadow} {
		seen, err := l.client.inspect(ctx, backend.url)
		if err != nil {
			return err
		}
		for backend.lines.Load() < int64(seen.Count) {
			select {
			case <-ctx.Done():
				return errors.New("the backends' logs do not arrive")
			case <-tick.C:
			}
		}
	}
	return nil
}

// ready begins the line that says that everything runs.
const ready = "Ready."

func (l *live) invite() {
	l.printf(`
%s Try in a second terminal:

  curl -v %[2]s/api/v1   # 100 %% mirrored
  curl -v %[2]s/api/v2   # 50 %% mirrored
  curl -v %[2]s/api/v3   # not mirrored

  curl %[3]s/stats | grep shadow_cluster           # all that Envoy counts of the copies
  curl -s %[3]s/stats | grep -E 'shadow_cluster.upstream_rq_(total|completed|2xx)'
  curl %[3]s/clusters | grep shadow_cluster        # the cluster that gets them, and its health
  curl %[3]s/ready                                 # Envoy itself

  kill -9 %[4]d   # the shadow dies, and the primary does not notice

Envoy's counters begin at 0 now, so they show your requests. The backends' logs follow; Ctrl-C ends the demo.

`, l.bold(ready), l.client.envoy, l.client.admin, l.shadow.cmd.Process.Pid)
}

// follow returns when ctx ends, or with the reason why the demo cannot go on.
func (l *live) follow(ctx context.Context) error {
	primary, shadow := l.primary.done, l.shadow.done
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.envoy.done:
			return l.broken()
		case <-l.host.done:
			return l.broken()
		case <-primary:
			primary = nil
			l.printf("%s (%s): clients get an error now, since nobody else answers them.\n", l.red("The primary is gone"), l.primary.end())
		case <-shadow:
			shadow = nil
			l.printf("%s (%s): copies get lost, and clients get their answers as before. Try it.\n", l.red("The shadow is gone"), l.shadow.end())
		}
	}
}

func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
