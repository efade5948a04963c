package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"go.etcd.io/bbolt"
)

// migrations bring a store up to date: the first from schema 1 to 2, and so on.
// A schema is what is in the file beside the resources' own fields: buckets,
// keys, the JSON around a resource. A new field of a resource needs a new schema
// too, so that a version that does not know it says so.
type migrations []func(*bbolt.Tx) error

// allMigrations are those there are: none since the first schema.
func allMigrations() migrations { return migrations{} }

// schema is the newest one.
func (m migrations) schema() uint64 { return uint64(len(m)) + 1 }

// know fails for a schema that is not known.
func (m migrations) know(schema uint64) error {
	switch {
	case schema > m.schema():
		return fmt.Errorf("%w: it has the schema %d, and this one knows up to %d", ErrNewer, schema, m.schema())
	case schema == 0:
		return damaged("there is no schema 0")
	default:
		return nil
	}
}

// run brings the store of tx up to date.
func (m migrations) run(tx *bbolt.Tx) error {
	h, err := readHead(tx)
	if err != nil {
		return err
	}
	for _, migrate := range m[h.Schema-1:] {
		if err := migrate(tx); err != nil {
			return fmt.Errorf("cannot be brought from schema %d to %d: %w", h.Schema, h.Schema+1, err)
		}
		h.Schema++
	}
	return h.write(tx)
}

// migrate brings the store up to date, and keeps what it was.
func (s *Store) migrate(h head) error {
	if h.Schema == s.o.migrations.schema() {
		return nil
	}
	kept := s.path + ".schema-" + strconv.FormatUint(h.Schema, 10)
	if err := s.keep(kept); err != nil {
		return fmt.Errorf("cannot be brought up to date, as no copy of it can be kept: %w", err)
	}
	if err := s.commit(s.o.migrations.run); err != nil {
		return err
	}
	s.o.Log.Info("brought the store up to date", "file", s.path,
		"from", h.Schema, "to", s.o.migrations.schema(), "before", kept)
	return nil
}

// keep writes a copy of the store to a path.
func (s *Store) keep(path string) error {
	temp, err := os.CreateTemp(filepath.Dir(path), newPattern)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	_, copied := s.copyTo(temp)
	if err := errors.Join(copied, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
