package world

import "github.com/onsi/gomega/gexec"

// BuildProgram builds kuma-mirror and returns its path. It is there until
// gexec.CleanupBuildArtifacts is called.
func BuildProgram() (string, error) {
	return gexec.Build("github.com/kuma-mirror/kuma-mirror/cmd/kuma-mirror", "-buildvcs=false")
}
