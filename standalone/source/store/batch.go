package store

import (
	"encoding/json"

	"go.etcd.io/bbolt"
)

// headPlace is where the head is, in every schema.
func headPlace() place { return place{headBucket, "head"} }

const headBucket = "store"

// head is what is known of the store as a whole, in JSON. A version that comes
// upon a newer schema reads no more of it than that.
type head struct {
	Schema   uint64 `json:"schema"`
	Revision uint64 `json:"revision"` // of the last write
	Records  uint64 `json:"records"`  // in all buckets
}

func readHead(tx *bbolt.Tx) (head, error) { return decodeHead(headPlace().get(tx)) }

func decodeHead(value []byte) (h head, err error) {
	text, err := sound(headPlace(), value)
	if err == nil && json.Unmarshal(text, &h) != nil {
		err = damaged("its head is %q", text)
	}
	return h, err
}

func (h head) write(tx *bbolt.Tx) error {
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return headPlace().put(tx, sealed(headPlace(), text))
}

// batch is the writes of one transaction.
type batch struct {
	tx   *bbolt.Tx
	head head
	was  map[place][]byte // the values before, nil for none
}

func begin(tx *bbolt.Tx) (*batch, error) {
	h, err := readHead(tx)
	return &batch{tx: tx, head: h, was: map[place][]byte{}}, err
}

func (b *batch) put(d *Draft) (Record, error) {
	b.head.Revision++
	value, record, err := encode(d, b.head.Revision)
	if err != nil {
		return Record{}, err
	}
	return record, b.set(placeOf(d.Resource.Key()), value)
}

// set writes a value, or removes what is there where it is nil.
func (b *batch) set(at place, value []byte) error {
	was := at.get(b.tx)
	if _, ok := b.was[at]; !ok {
		b.was[at] = was
	}
	switch {
	case was == nil && value != nil:
		b.head.Records++
	case was != nil && value == nil:
		b.head.Records--
	}
	return at.put(b.tx, value)
}

// end writes what the transaction did to the head.
func (b *batch) end() error { return b.head.write(b.tx) }
