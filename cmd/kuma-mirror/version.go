package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is the version that the linker sets where a build has no information
// of its own about the repository, such as in a container.
var release string

// build is what is known of how this program was built.
type build struct{ version, commit string }

// thisBuild reads the build information that Go puts into every program, also
// under `go install`.
func thisBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return buildOf(info, release)
}

// buildOf prefers the version that the linker has set.
func buildOf(info *debug.BuildInfo, linked string) build {
	b := build{version: linked, commit: "unknown"}
	if b.version == "" {
		b.version = info.Main.Version
	}
	if b.version == "" || b.version == "(devel)" {
		b.version = "dev"
	}
	modified := false
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.commit = setting.Value
		case "vcs.modified":
			modified = setting.Value == "true"
		}
	}
	if modified {
		b.commit += ", modified"
	}
	return b
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and Go's version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := thisBuild()
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "kuma-mirror %s (commit %s, %s, %s/%s)\n",
				b.version, b.commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
