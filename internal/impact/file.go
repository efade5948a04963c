package impact

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
)

// ReadResults reads a results file.
func ReadResults(file string) (*Results, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := &Results{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s is not a results file: %w", file, err)
	}
	return r, nil
}

// Write writes a results file: JSON with a line for each cell and rate, so that
// two runs can be compared line by line.
func (r *Results) Write(file string) error {
	rest := *r
	rest.Cells, rest.Rates = nil, nil
	object, err := json.Marshal(rest)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	out.Write(bytes.TrimSuffix(object, []byte("}")))
	if err := errors.Join(writeLines(&out, "cells", r.Cells), writeLines(&out, "rates", r.Rates)); err != nil {
		return err
	}
	out.WriteString("}\n")
	return os.WriteFile(file, out.Bytes(), 0o644)
}

// writeLines writes a member of an object that has others before it.
func writeLines[T any](out *bytes.Buffer, name string, items []T) error {
	for i, item := range items {
		data, err := json.Marshal(item)
		if err != nil {
			return err
		}
		if i == 0 {
			fmt.Fprintf(out, ",\n%q: [", name)
		} else {
			out.WriteString(",")
		}
		fmt.Fprintf(out, "\n%s", data)
	}
	if len(items) > 0 {
		out.WriteString("\n]")
	}
	return nil
}

// Add takes over what newer has; cells, rates and the soak that r has too are
// replaced. Results of another machine, Envoy or limits cannot be joined, nor cells
// whose variants took turns with cells whose variants did not.
func (r *Results) Add(newer *Results) error {
	if r.Machine != newer.Machine || r.Envoy != newer.Envoy || r.Limits != newer.Limits {
		return errors.New("the results are of another machine, another Envoy or other limits")
	}
	if len(newer.Cells) > 0 {
		if len(r.Cells) > 0 && r.Interleaved != newer.Interleaved {
			return errors.New("in one of the results plain and ours took turns, and in the other they did not; keep them in files of their own")
		}
		r.Interleaved = newer.Interleaved
	}
	for _, c := range newer.Cells {
		r.Cells = slices.DeleteFunc(r.Cells, func(old Cell) bool { return old.key() == c.key() })
		r.Cells = append(r.Cells, c)
	}
	for _, rate := range newer.Rates {
		r.Rates = slices.DeleteFunc(r.Rates, func(old Rate) bool { return old.key() == rate.key() })
		r.Rates = append(r.Rates, rate)
	}
	for _, s := range newer.LeftOut {
		if !slices.ContainsFunc(r.LeftOut, func(old LeftOut) bool { return old.Shadow == s.Shadow }) {
			r.LeftOut = append(r.LeftOut, s)
		}
	}
	if newer.Soak != nil {
		r.Soak = newer.Soak
	}
	r.Days = append(r.Days, newer.Days...)
	slices.Sort(r.Days)
	r.Days = slices.Compact(r.Days)
	r.sort()
	return nil
}

// sort puts cells into the order of the lists of shadows and loads.
func (r *Results) sort() {
	order := func(c Cell) [4]int {
		protections := 0
		if c.Protections {
			protections = 1
		}
		return [4]int{
			protections,
			slices.Index(Protocols[:], c.Protocol),
			slices.IndexFunc(Shadows(), func(s Shadow) bool { return s.Name == c.Shadow }),
			slices.IndexFunc(Loads(), func(l Load) bool { return l.Name == c.Load }),
		}
	}
	slices.SortStableFunc(r.Cells, func(a, b Cell) int {
		x, y := order(a), order(b)
		return slices.Compare(x[:], y[:])
	})
}

type cellKey struct {
	shadow, load string
	protocol     Protocol
	protections  bool
}

func (c Cell) key() cellKey { return cellKey{c.Shadow, c.Load, c.Protocol, c.Protections} }

// Cell returns a cell of the results.
func (r *Results) Cell(shadow, load string, protocol Protocol, protections bool) (Cell, bool) {
	want := cellKey{shadow, load, protocol, protections}
	i := slices.IndexFunc(r.Cells, func(c Cell) bool { return c.key() == want })
	if i < 0 {
		return Cell{}, false
	}
	return r.Cells[i], true
}
