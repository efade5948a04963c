package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
)

// The layout of a bbolt file, which has been the same since its first version
// and is in the byte order of the machine.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeaderBytes  = 16 // id, flags, count, overflow
	elementBytes     = 16 // of leafs and branches
	bucketBytes      = 16 // root, sequence
	metaBytes        = 64
	metaSummedBytes  = metaBytes - 8
	smallestPage     = 1 << 10
	largestPage      = 1 << 24
	branchPage       = 0x01
	leafPage         = 0x02
	freelistPage     = 0x10
	bucketElement    = 0x01
	noFreelist       = 1<<64 - 1
	countIsInTheData = 0xffff
)

// image reads a bbolt file that may be damaged in any way. bbolt itself trusts
// its files: a wrong page makes it panic, some of that in goroutines of its own,
// read beyond the file, or go on with what is wrong.
type image struct {
	data     []byte
	pageSize uint64
	end      uint64 // the first page that is not in use
	seen     []bool // by page: referred to
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// readImage calls do with everything in the file, bucket by bucket in the order
// of the keys. It fails for any page of which bbolt could stumble.
func readImage(data []byte, do func(at place, value []byte) error) error {
	meta := latestMeta(data)
	if meta == nil {
		return damaged("it is no bbolt file, or its head is not there")
	}
	f := &image{data: data, pageSize: uint64(binary.NativeEndian.Uint32(meta[8:])), end: binary.NativeEndian.Uint64(meta[40:])}
	if have := uint64(len(data)) / f.pageSize; f.end > have {
		return damaged("it is cut off, %d pages of %d are there", have, f.end)
	}
	f.seen = make([]bool, f.end)
	return f.read(meta, do)
}

// read reads everything that a head leads to.
func (f *image) read(meta []byte, do func(at place, value []byte) error) error {
	root, freelist := binary.NativeEndian.Uint64(meta[16:]), binary.NativeEndian.Uint64(meta[32:])
	err := f.bucket(root, func(bucket, value []byte, isBucket bool) error {
		if !isBucket || len(value) < bucketBytes {
			return damaged("%q is no bucket", bucket)
		}
		records := func(key, value []byte, isBucket bool) error {
			if isBucket {
				return damaged("%q is a bucket in another", key)
			}
			return do(place{string(bucket), string(key)}, value)
		}
		if root := binary.NativeEndian.Uint64(value); root != 0 {
			return f.bucket(root, records)
		}
		return f.leaf(value[bucketBytes:], keys{}, records)
	})
	if err != nil {
		return err
	}
	return f.freelist(freelist)
}

// latestMeta returns the head of the last transaction, nil where there is none.
func latestMeta(data []byte) []byte {
	var latest []byte
	consider := func(at int) {
		if at+pageHeaderBytes+metaBytes > len(data) {
			return
		}
		meta := data[at+pageHeaderBytes:][:metaBytes]
		sum := fnv.New64a()
		_, _ = sum.Write(meta[:metaSummedBytes])
		size := binary.NativeEndian.Uint32(meta[8:])
		switch {
		case binary.NativeEndian.Uint32(meta) != boltMagic,
			binary.NativeEndian.Uint32(meta[4:]) != boltVersion,
			binary.NativeEndian.Uint64(meta[metaSummedBytes:]) != sum.Sum64(),
			size < smallestPage || size > largestPage:
			return
		}
		txid := func(meta []byte) uint64 { return binary.NativeEndian.Uint64(meta[48:]) }
		if latest == nil || txid(meta) > txid(latest) {
			latest = meta
		}
	}
	consider(0)
	for size := smallestPage; size <= largestPage; size *= 2 {
		// The second page, whatever the size of the first.
		consider(size)
	}
	return latest
}

// page returns a page with those it overflows into.
func (f *image) page(id uint64) ([]byte, error) {
	if id < 2 || id >= f.end {
		return nil, damaged("page %d is referred to, and there are %d", id, f.end)
	}
	p := f.data[id*f.pageSize:]
	overflow := uint64(binary.NativeEndian.Uint32(p[12:]))
	if binary.NativeEndian.Uint64(p) != id || id+overflow >= f.end {
		return nil, damaged("page %d is not what it should be", id)
	}
	for i := id; i <= id+overflow; i++ {
		if f.seen[i] {
			return nil, damaged("page %d is used twice", i)
		}
		f.seen[i] = true
	}
	return p[:(overflow+1)*f.pageSize], nil
}

// keys is a range of them: from first on, and below end where that is not nil.
type keys struct{ first, end []byte }

func (k keys) has(key []byte) bool {
	return bytes.Compare(k.first, key) <= 0 && (k.end == nil || bytes.Compare(key, k.end) < 0)
}

type visit func(key, value []byte, isBucket bool) error

func (f *image) bucket(root uint64, do visit) error { return f.tree(root, keys{}, do) }

// tree reads a page with all below it, of which all keys have to be in the range.
func (f *image) tree(id uint64, in keys, do visit) error {
	p, err := f.page(id)
	if err != nil {
		return err
	}
	switch binary.NativeEndian.Uint16(p[8:]) {
	case leafPage:
		return f.leaf(p, in, do)
	case branchPage:
		return f.branch(id, p, in, do)
	default:
		return damaged("page %d is of no known type", id)
	}
}

func (f *image) branch(id uint64, p []byte, in keys, do visit) error {
	elements, err := elementsOf(p)
	if err != nil || len(elements) == 0 {
		return damaged("page %d is an empty branch", id)
	}
	type child struct {
		key  []byte
		page uint64
	}
	children := make([]child, len(elements)/elementBytes)
	for i := range children {
		e := elements[i*elementBytes:]
		key, err := slice(p, i, binary.NativeEndian.Uint32(e), binary.NativeEndian.Uint32(e[4:]))
		if err != nil {
			return err
		}
		if !in.has(key) || i > 0 && bytes.Compare(children[i-1].key, key) >= 0 {
			return damaged("the keys of page %d are not in order", id)
		}
		children[i] = child{key, binary.NativeEndian.Uint64(e[8:])}
	}
	for i, c := range children {
		below := keys{c.key, in.end}
		if i+1 < len(children) {
			below.end = children[i+1].key
		}
		if err := f.tree(c.page, below, do); err != nil {
			return err
		}
	}
	return nil
}

// leaf reads a leaf page, or what is in the place of one in a small bucket.
func (f *image) leaf(p []byte, in keys, do visit) error {
	elements, err := elementsOf(p)
	if err != nil {
		return err
	}
	if binary.NativeEndian.Uint16(p[8:]) != leafPage {
		return damaged("a bucket is of no known type")
	}
	var last []byte
	for i := range len(elements) / elementBytes {
		e := elements[i*elementBytes:]
		flags, at := binary.NativeEndian.Uint32(e), binary.NativeEndian.Uint32(e[4:])
		keyBytes, valueBytes := binary.NativeEndian.Uint32(e[8:]), binary.NativeEndian.Uint32(e[12:])
		both, err := slice(p, i, at, keyBytes, valueBytes)
		if err != nil {
			return err
		}
		key, value := both[:keyBytes], both[keyBytes:]
		if !in.has(key) || i > 0 && bytes.Compare(last, key) >= 0 {
			return damaged("%q is not where it should be", key)
		}
		if flags > bucketElement {
			return damaged("%q is of no known type", key)
		}
		last = key
		if err := do(key, value, flags == bucketElement); err != nil {
			return err
		}
	}
	return nil
}

// elementsOf returns the elements of a page.
func elementsOf(p []byte) ([]byte, error) {
	if len(p) < pageHeaderBytes {
		return nil, damaged("a bucket is cut off")
	}
	size := int(binary.NativeEndian.Uint16(p[10:])) * elementBytes
	if pageHeaderBytes+size > len(p) {
		return nil, damaged("a page has more elements than room")
	}
	return p[pageHeaderBytes:][:size], nil
}

// slice returns what an element of a page points to.
func slice(p []byte, element int, at uint32, sizes ...uint32) ([]byte, error) {
	start := uint64(pageHeaderBytes+element*elementBytes) + uint64(at)
	end := start
	for _, size := range sizes {
		end += uint64(size)
	}
	if end > uint64(len(p)) {
		return nil, damaged("an element of a page is outside of it")
	}
	return p[start:end], nil
}

// freelist makes sure that no page is taken for free which is not.
func (f *image) freelist(id uint64) error {
	if id == noFreelist {
		return nil // as the store writes it
	}
	p, err := f.page(id)
	if err != nil {
		return err
	}
	count, ids := uint64(binary.NativeEndian.Uint16(p[10:])), p[pageHeaderBytes:]
	if count == countIsInTheData {
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if binary.NativeEndian.Uint16(p[8:]) != freelistPage || count > uint64(len(ids))/8 {
		return damaged("the list of free pages is none")
	}
	for i := range count {
		free := binary.NativeEndian.Uint64(ids[i*8:])
		if free < 2 || free >= f.end || f.seen[free] {
			return damaged("page %d is in use and in the list of free pages", free)
		}
		f.seen[free] = true
	}
	return nil
}
