// Package demo holds the resources that `kuma-mirror demo` runs, as a user would
// write them.
package demo

import "embed"

// Files are the resources, one or several per file, with the demo's default
// ports.
//
//go:embed *.yaml
var Files embed.FS
