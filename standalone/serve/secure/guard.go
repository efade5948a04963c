package secure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Guard stands at the host's listeners. Its methods may be called from any
// goroutine.
type Guard struct {
	options  Options
	log      *slog.Logger
	refusals *refusals
	// guesses and xdsGuesses bound bad tokens. Each listener has its own: a
	// proxy whose token is out of date must not shut out its operator.
	guesses    *limiter
	xdsGuesses *limiter
	origins    *http.CrossOriginProtection
	proxies    *connections
	// onRefusal is never nil.
	onRefusal func(listener, reason string)

	// nil where Options have no file for it.
	certificate *Watched[*tls.Certificate]
	tokens      *Watched[*Tokens[Caller]]
	xdsTokens   *Watched[*Tokens[Proxy]]
	clientCA    *Watched[*x509.CertPool]
}

// Open reads the files of the options, which have passed Check. The error has
// all that is wrong with them.
func Open(o Options) (*Guard, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	g := &Guard{
		options: o, log: o.Log,
		refusals:   newRefusals(o.Log),
		guesses:    newLimiter(time.Now),
		xdsGuesses: newLimiter(time.Now),
		origins:    http.NewCrossOriginProtection(),
		proxies:    newConnections(),
	}
	if g.onRefusal = o.OnRefusal; g.onRefusal == nil {
		g.onRefusal = func(string, string) {}
	}
	var errs [4]error
	g.certificate, errs[0] = watch("the certificate of the host", ParseKeyPair, o.CertFile, o.KeyFile)
	g.tokens, errs[1] = watch("the tokens of the API", one(ParseTokens), o.TokenFile)
	g.xdsTokens, errs[2] = watch("the tokens of proxies", one(ParseXDSTokens), o.XDSTokenFile)
	g.clientCA, errs[3] = watch("the authorities of proxies' certificates", ParseAuthorities, o.XDSClientCAFile)
	err := errors.Join(errs[:]...)
	for _, secret := range []string{o.KeyFile, o.TokenFile, o.XDSTokenFile} {
		if secret == "" {
			continue
		}
		warning, problem := checkMode(secret)
		if warning != "" {
			g.log.Warn(warning)
		}
		// Watch has told of a file that is not there.
		if problem != nil && err == nil {
			err = errors.Join(err, problem)
		}
	}
	if err != nil {
		return nil, err
	}
	return g, nil
}

// watch returns nil where there are no files.
func watch[T any](what string, parse func([][]byte) (T, error), files ...string) (*Watched[T], error) {
	if files[0] == "" {
		return nil, nil
	}
	return Watch(what, files, parse)
}

func one[T any](parse func([]byte) (T, error)) func([][]byte) (T, error) {
	return func(contents [][]byte) (T, error) { return parse(contents[0]) }
}

// Run follows the files until ctx ends. A proxy whose token or authority is gone,
// or whose token is another data plane's now, loses its connection within
// seconds; one whose certificate has expired, within a minute.
func (g *Guard) Run(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	if g.certificate != nil {
		tasks.Go(func() { g.certificate.Run(ctx, g.log, nil) })
	}
	if g.tokens != nil {
		tasks.Go(func() { g.tokens.Run(ctx, g.log, nil) })
	}
	reconsider := func() error { g.reconsider(); return nil }
	if g.xdsTokens != nil {
		tasks.Go(func() { g.xdsTokens.Run(ctx, g.log, reconsider) })
	}
	if g.clientCA != nil {
		tasks.Go(func() { g.clientCA.Run(ctx, g.log, reconsider) })
	}
	// Certificates expire without a change of any file.
	tasks.Go(func() { every(ctx, time.Minute, g.reconsider) })
	tasks.Go(func() { every(ctx, time.Hour, g.warnOfExpiry) })
}

// every calls f at once and then after each interval, until ctx ends.
func every(ctx context.Context, interval time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// CertificateExpiry is when the host's certificate ends; zero without TLS.
func (g *Guard) CertificateExpiry() time.Time {
	if g.certificate == nil {
		return time.Time{}
	}
	return g.certificate.Value().Leaf.NotAfter
}

// warnOfExpiry logs that the certificate is about to
// expire: it was not renewed.
func (g *Guard) warnOfExpiry() {
	if g.certificate == nil {
		return
	}
	leaf := g.certificate.Value().Leaf
	// A renewal is due when a third of the lifetime is left, with most
	// issuers; a tenth says that it did not happen.
	left, lifetime := time.Until(leaf.NotAfter), leaf.NotAfter.Sub(leaf.NotBefore)
	switch {
	case left <= 0:
		g.log.Error("the certificate of the host has expired; clients refuse it", "file", g.options.CertFile, "expired", leaf.NotAfter)
	case left < lifetime/10:
		g.log.Warn("the certificate of the host expires soon and was not renewed", "file", g.options.CertFile, "expires", leaf.NotAfter)
	}
}

func (g *Guard) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return g.certificate.Value(), nil
		},
	}
}
