package store

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// MaxBackupBytes is the longest backup that ReadBackup takes, 256 MiB.
const MaxBackupBytes = 256 << 20

// Backup writes a copy of the store to w, as it is at one moment; writes go on
// meanwhile. It can take the place of the store's file. One that was cut off is
// refused by Open and ReadBackup; of one that is too long for ReadBackup the log
// warns.
func (s *Store) Backup(w io.Writer) error {
	size, err := s.copyTo(w)
	if err == nil && size > s.o.maxBackup {
		s.o.Log.Warn("a backup is longer than a restore takes; it can only take the place of the store's file while kuma-mirror does not run",
			"file", s.path, "bytes", size, "most", s.o.maxBackup)
	}
	return err
}

func (s *Store) copyTo(w io.Writer) (size int64, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		size, err = tx.WriteTo(w)
		return err
	})
	return size, err
}

// ReadBackup returns what is in a backup, brought up to date where it is an
// older version's. Nothing is changed in the store.
//
// The error is ErrDamaged or ErrNewer for what the backup holds, else that of
// reading it or, for an older version's, of the disk.
func (s *Store) ReadBackup(r io.Reader) ([]Record, error) {
	data, err := io.ReadAll(io.LimitReader(r, s.o.maxBackup+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > s.o.maxBackup {
		return nil, damaged("it is longer than %d bytes", s.o.maxBackup)
	}
	h, err := verify(data, s.o.migrations)
	if err != nil {
		return nil, err
	}
	if h.Schema < s.o.migrations.schema() {
		return s.readOld(data)
	}
	var records []Record
	err = readImage(data, func(at place, value []byte) error {
		if at == headPlace() {
			return nil
		}
		record, err := decode(at, value)
		records = append(records, record)
		return err
	})
	return records, err
}

// readOld brings a backup up to date in a file of its own.
func (s *Store) readOld(data []byte) (records []Record, err error) {
	temp, err := os.CreateTemp(filepath.Dir(s.path), restorePattern)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(temp.Name())) }()
	if _, err := temp.Write(data); err != nil {
		return nil, errors.Join(err, temp.Close())
	}
	db, err := openDB(temp, false)
	if err != nil {
		return nil, errors.Join(err, temp.Close())
	}
	err = guarded(func() error {
		return db.Update(func(tx *bbolt.Tx) (err error) {
			if err := s.o.migrations.run(tx); err != nil {
				return err
			}
			records, err = readRecords(tx)
			return err
		})
	})
	return records, errors.Join(err, db.Close())
}
