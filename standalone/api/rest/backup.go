package rest

import (
	"cmp"
	"io"
	"net/http"

	"github.com/kuma-mirror/kuma-mirror/standalone/source/store"
)

// backupType is the media type of a backup.
const backupType = "application/octet-stream"

func (s *server) backup(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", backupType)
	w.Header().Set("Content-Disposition", `attachment; filename="kuma-mirror.backup"`)
	out := &backupWriter{to: w}
	err := s.catalog.Backup(out)
	switch {
	case err == nil:
		return nil
	case !out.begun:
		w.Header().Del("Content-Disposition")
		return err
	}
	if r.Context().Err() == nil {
		s.log.ErrorContext(r.Context(), "a backup broke off", "error", err)
	}
	// The status is sent: only a connection that ends tells that it is not whole.
	panic(http.ErrAbortHandler)
}

type backupWriter struct {
	to    io.Writer
	begun bool
}

func (b *backupWriter) Write(data []byte) (int, error) {
	b.begun = true
	return b.to.Write(data)
}

func (s *server) restore(w http.ResponseWriter, r *http.Request) error {
	if err := checkType(r, []string{backupType}); err != nil {
		return err
	}
	force, err := choice(r, "force", "true", "false")
	if err != nil {
		return err
	}
	// Before the body is read, all of which is held in memory.
	free, err := s.restores.take("A backup is being restored; try again when that is done")
	if err != nil {
		return err
	}
	defer free()
	from := limitedBody(w, r, store.MaxBackupBytes)
	restored, err := s.catalog.Restore(r.Context(), from, force == "true")
	if err != nil {
		return cmp.Or(from.failed, err)
	}
	return writeJSON(w, http.StatusOK, restored)
}
