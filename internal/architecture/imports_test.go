// Package architecture holds the direction of the imports: api → xds →
// generator → plugin → hosts → commands, and never back. See
// docs/architecture.md.
package architecture

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

const (
	root   = "../.."
	module = "github.com/kuma-mirror/kuma-mirror"
)

// rule says what the packages in a folder, and in those below it, may import.
type rule struct {
	folder string
	// ours are the folders of this module, beside its own.
	ours []string
	// pure folders turn data into data: files, sockets and randomness are
	// somebody else's.
	pure bool
	// tests marks a folder that only tests import.
	tests bool
}

// core are the folders of the core.
var core = []string{"api", "xds", "generator", "plugin"}

// floors are those of the standalone control plane, from the ground.
var floors = []string{"ground", "source", "build", "serve", "api"}

// below returns the folders of the floors under one.
func below(floor string) []string {
	var out []string
	for _, f := range floors[:slices.Index(floors, floor)] {
		out = append(out, "standalone/"+f)
	}
	return out
}

// rules has every folder with Go code; the deepest one that fits holds.
var rules = []rule{
	{folder: "examples"}, // embeds itself
	{folder: "api"},
	{folder: "xds", ours: []string{"api"}, pure: true},
	{folder: "generator", ours: []string{"api", "xds"}, pure: true},
	{folder: "plugin", ours: []string{"api", "xds", "generator"}, pure: true},
	{folder: "verdict", pure: true},
	{folder: "standalone/ground", ours: core},
	{folder: "standalone/source", ours: slices.Concat(core, below("source"))},
	{folder: "standalone/build", ours: slices.Concat(core, below("build"))},
	{folder: "standalone/serve", ours: slices.Concat(core, below("serve"), []string{"internal/child"})},
	{folder: "standalone/api", ours: slices.Concat(core, below("api"))},
	{folder: "cmd/kuma-mirror", ours: []string{"api", "xds", "generator", "plugin", "standalone", "examples", "internal/demo", "internal/envoybin"}},
	{folder: "cmd/kuma-mirror-impact", ours: []string{"generator", "internal/impact", "internal/envoybin"}},
	{folder: "internal", ours: []string{"api", "xds", "generator", "plugin", "standalone", "examples"}},
	{folder: "internal/envoytest", ours: []string{"internal/envoybin", "internal/child"}, tests: true},
	{folder: "build", tests: true},
	{folder: "e2e", ours: []string{"api", "xds", "generator", "plugin", "standalone", "examples", "internal"}, tests: true},
}

// impure are the packages of the standard library that pure folders leave to
// others, with what is below them.
var impure = []string{"os", "io/ioutil", "net/http", "net/rpc", "math/rand", "crypto/rand", "syscall"}

// testOnly are modules that the program itself does not contain.
var testOnly = []string{"github.com/onsi", "testing", "google.golang.org/grpc/interop", "github.com/getkin/kin-openapi"}

// ruleOf returns the rule of a folder, nil where there is none.
func ruleOf(folder string) *rule {
	var found *rule
	for i := range rules {
		if within(folder, rules[i].folder) && (found == nil || len(rules[i].folder) > len(found.folder)) {
			found = &rules[i]
		}
	}
	return found
}

// within says whether a path is that of parent or below it.
func within(p, parent string) bool { return p == parent || strings.HasPrefix(p, parent+"/") }

// violation says what is wrong with an import by a file; empty if nothing is.
func violation(file, imported string) string {
	if within(imported, "github.com/kumahq") {
		return "Kuma is imported by the adapter's own module only"
	}
	from := ruleOf(path.Dir(file))
	if from == nil {
		return "this folder has no rule yet: add one, here in rules"
	}
	target, ours := strings.CutPrefix(imported, module+"/")
	if strings.HasSuffix(file, "_test.go") {
		// Tests may stand anywhere to look at things.
		return ""
	}
	under := func(parent string) bool { return within(imported, parent) }
	switch {
	case ours:
		to := ruleOf(target)
		switch {
		case to != nil && to.tests && !from.tests:
			return target + " is for tests"
		case within(target, from.folder):
			return ""
		case !slices.ContainsFunc(from.ours, func(allowed string) bool { return within(target, allowed) }):
			return from.folder + " may import " + strings.Join(append([]string{"itself"}, from.ours...), ", ") + " only"
		}
	case from.pure && slices.ContainsFunc(impure, under):
		return from.folder + " is pure: no files, sockets, processes or randomness"
	case !from.tests && slices.ContainsFunc(testOnly, under):
		return imported + " is for tests"
	}
	return ""
}

var _ = Describe("the imports", func() {
	It("point in one direction, from the hosts to the core", func() {
		var wrong, seen []string
		Expect(filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			file, err := filepath.Rel(root, name)
			if err != nil {
				return err
			}
			file = filepath.ToSlash(file)
			if entry.IsDir() {
				if file != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || isModule(name)) {
					return fs.SkipDir
				}
				return nil
			}
			if !strings.HasSuffix(file, ".go") {
				return nil
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			seen = append(seen, file)
			for _, spec := range parsed.Imports {
				imported, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					return err
				}
				if problem := violation(file, imported); problem != "" {
					wrong = append(wrong, file+" imports "+imported+": "+problem)
				}
			}
			return nil
		})).To(Succeed())
		Expect(seen).To(ContainElement("plugin/host.go"), "the walk found the sources")
		Expect(wrong).To(BeEmpty())
	})

	It("keep the laboratory out of the program", func(ctx SpecContext) {
		packages := func(command string) []string {
			out, err := exec.CommandContext(ctx, "go", "list", "-deps", module+"/cmd/"+command).Output()
			Expect(err).NotTo(HaveOccurred())
			return strings.Fields(string(out))
		}
		laboratory := module + "/internal/impact"
		Expect(packages("kuma-mirror-impact")).To(ContainElement(laboratory))
		Expect(packages("kuma-mirror")).NotTo(ContainElement(laboratory))
	})

	It("never need Kuma's modules, nor replace one", func() {
		for _, name := range []string{"go.mod", "tools.mod"} {
			content, err := os.ReadFile(filepath.Join(root, name))
			Expect(err).NotTo(HaveOccurred())
			Expect(string(content)).NotTo(ContainSubstring("github.com/kumahq/"), name)
			Expect(string(content)).NotTo(MatchRegexp(`(?m)^replace\b`), name)
		}
	})

	DescribeTable("of these kinds are refused",
		func(file, imported, problem string) {
			Expect(violation(file, imported)).To(ContainSubstring(problem))
		},
		Entry("api uses the core", "api/v1alpha1/a.go", module+"/xds", "api may import itself only"),
		Entry("xds uses what comes after it", "xds/a.go", module+"/generator", "xds may import itself, api only"),
		Entry("generator uses the plugin", "generator/a.go", module+"/plugin", "may import"),
		Entry("the plugin uses a host", "plugin/carrier/a.go", module+"/standalone/serve/ads", "may import"),
		Entry("a floor uses one above it", "standalone/build/a.go", module+"/standalone/serve/envoy", "may import"),
		Entry("the plugin uses a file", "plugin/a.go", "os", "pure"),
		Entry("a host uses a command", "standalone/api/a.go", module+"/cmd/kuma-mirror", "may import"),
		Entry("the program uses the laboratory", "cmd/kuma-mirror/a.go", module+"/internal/impact", "may import"),
		Entry("a command uses the test harness", "cmd/kuma-mirror/a.go", module+"/internal/envoytest", "for tests"),
		Entry("a host uses a test library", "standalone/api/a.go", "github.com/onsi/gomega", "for tests"),
		Entry("a host uses Kuma", "standalone/a.go", "github.com/kumahq/kuma/v2/pkg/core", "adapter"),
		Entry("a test uses Kuma", "standalone/a_test.go", "github.com/kumahq/kuma/v2/pkg/core", "adapter"),
		Entry("a new folder", "helpers/a.go", "fmt", "no rule"),
		Entry("a package beside the floors", "standalone/a.go", "fmt", "no rule"),
	)

	DescribeTable("of these kinds are fine",
		func(file, imported string) { Expect(violation(file, imported)).To(BeEmpty()) },
		Entry("a host uses the core", "standalone/serve/ads/a.go", module+"/plugin"),
		Entry("a floor uses one below it", "standalone/serve/ads/a.go", module+"/standalone/source/store"),
		Entry("a core test uses the harness", "plugin/a_test.go", module+"/internal/envoytest"),
		Entry("a core test reads files", "generator/a_test.go", "os"),
		Entry("the harness uses Ginkgo", "internal/envoytest/a.go", "github.com/onsi/ginkgo/v2"),
		Entry("the core uses Envoy's protobufs", "xds/a.go", "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"),
		Entry("a name that only starts like another", "plugin/a.go", "osmosis"),
	)
})

// isModule says whether a folder below the root is a module of its own.
func isModule(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "go.mod"))
	return err == nil
}
