package v1alpha1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Stdin is the path that stands for standard input.
const Stdin = "-"

// Load reads the resources of all paths with Parse. A path is a file, Stdin,
// or a directory, of which all *.yaml, *.yml and *.json files are read, those
// in directories below it too, in the order of their names. Names that begin
// with a dot are left out, and links are followed to files but not to
// directories, so that a mounted Kubernetes ConfigMap gives every file once.
//
// The error joins everything that is wrong with any path: Violations for the
// contents, among them two resources with one Key, and errors of package os
// beside it. As with Parse, what could be read is returned too, to look at and
// not to apply.
//
// When ctx ends, Load returns its error alone, at once. What then still reads
// stdin, or waits for somebody to open the other end of a pipe, cannot be
// interrupted: it goes on in the background until that has something to give.
func Load(ctx context.Context, paths []string, stdin io.Reader) ([]*Resource, error) {
	var resources []*Resource
	var violations Violations
	var errs []error
	collect := func(read []*Resource, err error) {
		resources = append(resources, read...)
		var vs Violations
		if errors.As(err, &vs) {
			violations = append(violations, vs...)
		} else if err != nil {
			errs = append(errs, err)
		}
	}

	for input, err := range Inputs(ctx, paths, stdin) {
		if err != nil {
			collect(nil, err)
			continue
		}
		collect(Parse(input.Source, input.Data))
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	violations = append(violations, duplicates(resources)...)
	return resources, errors.Join(append(errs, violations.OrNil())...)
}

// Input is what one path holds, or one file of a directory.
type Input struct {
	// Source is the file's path, or Stdin.
	Source string
	Data   []byte
}

// Inputs gives the contents of all paths as Load reads them, one after the
// other, or the error in the place of each that cannot be read. It ends when ctx
// does, which is then the last error.
func Inputs(ctx context.Context, paths []string, stdin io.Reader) iter.Seq2[Input, error] {
	return func(yield func(Input, error) bool) {
		input := func(source string, read func() ([]byte, error)) bool {
			data, err := await(ctx, read)
			return yield(Input{Source: source, Data: data}, err) && ctx.Err() == nil
		}
		stdinRead := false
		for _, path := range paths {
			if path == Stdin {
				again := stdinRead
				stdinRead = true
				if !input(Stdin, func() ([]byte, error) {
					if again {
						return nil, Violations{{Source: Stdin, Message: "standard input can be read only once"}}
					}
					return readLimited(Stdin, stdin)
				}) {
					return
				}
				continue
			}
			files, err := resourceFiles(path)
			if err != nil && !yield(Input{Source: path}, err) {
				return
			}
			for _, file := range files {
				if !input(file, func() ([]byte, error) { return readFile(file) }) {
					return
				}
			}
		}
	}
}

// duplicates returns a violation for each resource whose Key an earlier one has.
func duplicates(resources []*Resource) Violations {
	var violations Violations
	first := map[Key]*Resource{}
	for _, r := range resources {
		if other, ok := first[r.Key()]; ok {
			violations = append(violations, Violation{
				Source:  r.Source,
				Object:  r.Key().String(),
				Message: fmt.Sprintf("is already in %s; rename or remove one of the two", other.Source),
			})
			continue
		}
		first[r.Key()] = r
	}
	return violations
}

// resourceFiles returns the files that path stands for.
func resourceFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	var errs []error
	// The separator makes WalkDir enter a directory that is given by a link.
	root := path + string(filepath.Separator)
	err = filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			errs = append(errs, err)
			return nil
		case file == root:
			return nil
		case strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file)):
			return nil
		}
		info, err := os.Stat(file)
		switch {
		case err != nil:
			errs = append(errs, err)
		case info.Mode().IsRegular():
			files = append(files, file)
		}
		return nil
	})
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return files, err
	}
	if len(files) == 0 {
		return nil, Violations{{Source: path, Message: "holds no resource file: *.yaml, *.yml or *.json"}}
	}
	return files, nil
}

// await returns what read returns, or gives up when ctx ends before that. The
// goroutine ends when read does, and its result is then dropped.
func await(ctx context.Context, read func() ([]byte, error)) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := read()
		done <- result{data, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		return r.data, r.err
	}
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > MaxInputBytes {
		return nil, Violations{tooLong(path, info.Size())}
	}
	return readLimited(path, file)
}

func readLimited(source string, from io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, MaxInputBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	if len(data) > MaxInputBytes {
		return nil, Violations{{Source: source, Message: fmt.Sprintf("is longer than %d bytes (4 MiB)", MaxInputBytes)}}
	}
	return data, nil
}
