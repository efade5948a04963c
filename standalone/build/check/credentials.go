package check

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
)

// credentials warns of files that an Envoy may not be able to use, and of
// certificates that are out of date. What is wrong inline is an error already.
func (c *check) credentials(r *api.Resource, spec *api.ExternalService) {
	credentials := mesh.CredentialsOf(spec)
	for _, credential := range credentials.All() {
		if credential.File == "" {
			continue
		}
		if c.read == nil {
			c.warn(r, credential.Path, "%q is not checked: Envoy reads it on its own machine, where it must be there and valid", credential.File)
			continue
		}
		text, err := c.read(credential.File)
		if err == nil && len(text) == 0 {
			err = errors.New("it is empty")
		}
		if err != nil {
			c.warn(r, credential.Path, "%q cannot be checked here: %s; Envoy reads it on its own machine, where it must be there and valid", credential.File, err)
		}
		credential.Text = text
	}
	warn := func(at api.Path, format string, args ...any) { c.warn(r, at, format, args...) }
	credentials.Check(func(at api.Path, format string, args ...any) {
		warn(at, "as the files are on this machine: %s", fmt.Sprintf(format, args...))
	})
	now := time.Now()
	for _, credential := range credentials.All() {
		if credential == credentials.ClientKey || len(credential.Text) == 0 {
			continue
		}
		certificates, err := credential.Certificates()
		if err != nil {
			continue // which has been reported
		}
		for _, certificate := range certificates {
			switch {
			case now.After(certificate.NotAfter):
				warn(credential.Path, "the certificate of %q expired at %s", certificate.Subject, certificate.NotAfter.UTC().Format(time.RFC3339))
			case now.Before(certificate.NotBefore):
				warn(credential.Path, "the certificate of %q is not valid before %s", certificate.Subject, certificate.NotBefore.UTC().Format(time.RFC3339))
			}
		}
	}
}

// maxFileBytes is more than any bundle of certificates has.
const maxFileBytes = 4 << 20

// ReadFile reads a file of PEM for Resources. Only regular files of up to 4 MiB
// are read: a pipe would not end.
func ReadFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, reason(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, reason(err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, reason(err)
	}
	if len(content) > maxFileBytes {
		return nil, fmt.Errorf("it has more than %d bytes", maxFileBytes)
	}
	return content, nil
}

// reason leaves out the path, which the warning has.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
