package catalog

import (
	"errors"
	"fmt"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// ErrPrecondition is the error where the condition of a write does not hold.
var ErrPrecondition = errors.New("the resource is not the one that the condition asks for")

// NotFoundError is the error where there is no such resource.
type NotFoundError struct{ Key api.Key }

// Error implements error.
func (e *NotFoundError) Error() string { return e.Key.String() + ": not found" }

// InvalidError is the error of resources that are not valid.
type InvalidError struct {
	// Violations are all that is wrong; never empty.
	Violations api.Violations
}

// Error implements error, with a line for each violation.
func (e *InvalidError) Error() string { return e.Violations.Error() }

// ConflictError is the error of a write that others stand in the way of.
type ConflictError struct {
	// Reason names them.
	Reason string
}

// Error implements error.
func (e *ConflictError) Error() string { return e.Reason }

// NotEmptyError is the error of a Restore that would lose what is stored.
type NotEmptyError struct {
	// Stored is what there is, of which files may hide some.
	Stored Counts
}

// Error implements error.
func (e *NotEmptyError) Error() string {
	return fmt.Sprintf("the store holds %s, which would be lost", e.Stored)
}

// ReadOnlyError is the error of a write to what is not written over the API.
type ReadOnlyError struct {
	// Key of the resource; zero where nothing can be written at all.
	Key api.Key
	// File that holds the resource; empty where there is no store.
	File string
}

// Error implements error.
func (e *ReadOnlyError) Error() string {
	if e.File == "" {
		return "nothing can be written: there is no store, only files; 'kuma-mirror run' with --data-dir has one"
	}
	return fmt.Sprintf("%s is held by %s; change it there, or remove it from there first", e.Key, e.File)
}

// UnavailableError is the error of a write that the disk refuses. What was
// there before goes on being served, and a later write may succeed.
type UnavailableError struct {
	// Err names the file and what the disk said.
	Err error
}

// Error implements error.
func (e *UnavailableError) Error() string {
	return fmt.Sprintf("%s; nothing is changed, and what was there before is still served", e.Err)
}

// Unwrap gives the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }
