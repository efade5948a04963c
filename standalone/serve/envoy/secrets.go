package envoy

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	transport "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/kuma-mirror/kuma-mirror/standalone/serve/secure"
)

// secrets are what Envoy shows to the host and what it trusts, in files that
// Envoy follows. Envoy sees a file only when another is renamed over it, and
// takes a certificate whose key is another's; so it gets copies, of what is good.
type secrets struct {
	dir     string
	watched []*secure.Watched[*transport.Secret]
}

// writeSecrets writes the secrets of s to a directory that only this user may
// enter.
func writeSecrets(dir, xdsAddress string, s Security) (*secrets, error) {
	host, _, err := splitAddress(xdsAddress)
	if err != nil {
		return nil, err
	}
	all := &secrets{dir: dir}
	add := func(what string, parse func(contents [][]byte) (*transport.Secret, error), files ...string) {
		if err != nil || files[0] == "" {
			return
		}
		var w *secure.Watched[*transport.Secret]
		if w, err = secure.Watch(what, files, parse); err == nil {
			all.watched = append(all.watched, w)
			err = all.write(w.Value())
		}
	}
	add("the authorities of the host's certificate", func(contents [][]byte) (*transport.Secret, error) {
		if _, err := secure.ParseAuthorities(contents); err != nil {
			return nil, err
		}
		return &transport.Secret{Name: secretTrust, Type: &transport.Secret_ValidationContext{
			ValidationContext: trust(host, bytesSource(contents[0])),
		}}, nil
	}, s.CAFile)
	add("the certificate that Envoy shows to the host", func(contents [][]byte) (*transport.Secret, error) {
		if _, err := secure.ParseKeyPair(contents); err != nil {
			return nil, err
		}
		return &transport.Secret{Name: secretIdentity, Type: &transport.Secret_TlsCertificate{
			TlsCertificate: &transport.TlsCertificate{CertificateChain: bytesSource(contents[0]), PrivateKey: bytesSource(contents[1])},
		}}, nil
	}, s.CertFile, s.KeyFile)
	add("the token that Envoy shows to the host", func(contents [][]byte) (*transport.Secret, error) {
		token, err := secure.ParseToken(contents[0])
		if err != nil {
			return nil, err
		}
		return &transport.Secret{Name: secretToken, Type: &transport.Secret_GenericSecret{
			GenericSecret: &transport.GenericSecret{Secret: bytesSource([]byte("Bearer " + token))},
		}}, nil
	}, s.TokenFile)
	return all, err
}

// run follows the files until ctx ends.
func (s *secrets) run(ctx context.Context, log *slog.Logger) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	for _, w := range s.watched {
		tasks.Go(func() {
			w.Run(ctx, log, func() error { return s.write(w.Value()) })
		})
	}
}

// write puts a secret where Envoy finds it, whole.
func (s *secrets) write(secret *transport.Secret) error {
	packed, err := anypb.New(secret)
	if err != nil {
		return err
	}
	content, err := protojson.Marshal(&discovery.DiscoveryResponse{Resources: []*anypb.Any{packed}})
	if err != nil {
		return err
	}
	next := filepath.Join(s.dir, secret.GetName()+".next")
	if err := os.WriteFile(next, content, 0o600); err != nil {
		return fmt.Errorf("cannot write a secret for Envoy: %w", err)
	}
	if err := os.Rename(next, secretFile(s.dir, secret.GetName())); err != nil {
		return fmt.Errorf("cannot write a secret for Envoy: %w", err)
	}
	return nil
}
