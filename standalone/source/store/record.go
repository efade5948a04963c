package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// Record is one resource in the store.
type Record struct {
	// Resource as it was written, with its times in Meta; never changed.
	Resource *api.Resource
	// Revision is greater than that of every earlier write.
	Revision uint64
	// Digest is a short hash, in hexadecimal digits, of all of the record:
	// no two writes have the same.
	Digest string
	// Content is that of the resource without its times: equal resources have
	// the same.
	Content string
}

// Draft is a resource that is ready to be written.
type Draft struct {
	// Resource to write, with its times in Meta; these can be set until then.
	Resource *api.Resource
	// Content is what Record.Content will be.
	Content string

	written []byte // in JSON, without times
}

// NewDraft encodes a resource, which it copies and leaves as it is. The error
// says why it cannot be written: its values, or its size.
func NewDraft(r *api.Resource) (*Draft, error) {
	// The Kubernetes form has no place for a modification time.
	bare := *r
	bare.Source, bare.Meta.CreationTime, bare.Meta.ModificationTime = "", time.Time{}, time.Time{}
	written, err := api.EncodeJSON(&bare)
	if err != nil {
		return nil, err
	}
	if len(written) > api.MaxInputBytes {
		return nil, fmt.Errorf("is %d bytes long as JSON; at most %d (4 MiB) can be stored", len(written), api.MaxInputBytes)
	}
	return &Draft{Resource: &bare, Content: digest(written), written: written}, nil
}

// document is what a record is on disk, as JSON behind a checksum.
type document struct {
	Revision         uint64          `json:"revision"`
	CreationTime     time.Time       `json:"creationTime,omitzero"`
	ModificationTime time.Time       `json:"modificationTime,omitzero"`
	Resource         json.RawMessage `json:"resource"`
}

// place is where a record is: a bucket for each kind, with mesh/name as the key.
type place struct{ bucket, key string }

func placeOf(key api.Key) place { return place{string(key.Kind), key.Mesh + "/" + key.Name} }

// resource is the inverse of placeOf.
func (p place) resource() api.Key {
	mesh, name, _ := strings.Cut(p.key, "/")
	return api.Key{Kind: api.Kind(p.bucket), Mesh: mesh, Name: name}
}

// String names the place in messages.
func (p place) String() string { return p.resource().String() }

// put writes a value there, or removes what is there where it is nil.
func (p place) put(tx *bbolt.Tx, value []byte) error {
	b, err := tx.CreateBucketIfNotExists([]byte(p.bucket))
	if err != nil {
		return err
	}
	if value == nil {
		return b.Delete([]byte(p.key))
	}
	return b.Put([]byte(p.key), value)
}

// get returns a copy of the value there, nil where there is none.
func (p place) get(tx *bbolt.Tx) []byte {
	b := tx.Bucket([]byte(p.bucket))
	if b == nil {
		return nil
	}
	return bytes.Clone(b.Get([]byte(p.key)))
}

// encode returns the value of a record and the record itself.
func encode(d *Draft, revision uint64) ([]byte, Record, error) {
	meta := d.Resource.Meta
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // what is written stays byte for byte
	if err := encoder.Encode(document{revision, meta.CreationTime, meta.ModificationTime, d.written}); err != nil {
		return nil, Record{}, fmt.Errorf("%s: %w", d.Resource.Key(), err)
	}
	record := Record{Resource: d.Resource, Revision: revision, Digest: digest(text.Bytes()), Content: d.Content}
	return sealed(placeOf(d.Resource.Key()), text.Bytes()), record, nil
}

// sealed returns the value of a text, which it may change: the text and its
// checksum.
func sealed(at place, text []byte) []byte {
	return binary.BigEndian.AppendUint32(text, checksum(at, text))
}

// checksum of a record; one that lies at another place has another.
func checksum(at place, text []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Checksum([]byte(at.bucket+"/"+at.key), table)
	return crc32.Update(sum, table, text)
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// sound is the inverse of sealed.
func sound(at place, value []byte) ([]byte, error) {
	end := len(value) - crc32.Size
	if end < 0 || binary.BigEndian.Uint32(value[end:]) != checksum(at, value[:end]) {
		return nil, damaged("the checksum of %s is not that of what is there", at)
	}
	return value[:end], nil
}

// decode is the inverse of encode. It keeps nothing of value.
func decode(at place, value []byte) (Record, error) {
	text, err := sound(at, value)
	if err != nil {
		return Record{}, err
	}
	var d document
	// The checksum is right, so what does not make sense here makes sense to
	// another version.
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&d); err != nil {
		return Record{}, fmt.Errorf("%w: %s: %w", ErrNewer, at, err)
	}
	resources, err := api.Parse("", d.Resource)
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrNewer, err)
	}
	r := resources[0]
	r.Meta.CreationTime, r.Meta.ModificationTime = d.CreationTime, d.ModificationTime
	if placeOf(r.Key()) != at {
		return Record{}, damaged("%s is stored as %s", r.Key(), at)
	}
	return Record{Resource: r, Revision: d.Revision, Digest: digest(text), Content: digest(d.Resource)}, nil
}

// readRecords decodes everything there is, ordered by kind, mesh and name.
func readRecords(tx *bbolt.Tx) ([]Record, error) {
	var records []Record
	err := tx.ForEach(func(bucket []byte, b *bbolt.Bucket) error {
		if string(bucket) == headBucket {
			return nil
		}
		return b.ForEach(func(key, value []byte) error {
			record, err := decode(place{string(bucket), string(key)}, value)
			records = append(records, record)
			return err
		})
	})
	return records, err
}
