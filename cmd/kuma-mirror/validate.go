package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/check"
)

func newValidateCommand() *cobra.Command {
	var (
		paths  []string
		output string
		strict bool
	)
	cmd := &cobra.Command{
		Use:   "validate -f FILE|DIR|-",
		Short: "Say what is wrong with resources",
		Long: `Validate reads resources and says everything that is wrong with them, each with
its file, its name, the field and what is allowed there. Where nothing is wrong
it goes on to what would surprise: a mirror on an outbound that is not HTTP, a
destination that nobody serves, an entry that can never match. Those are
warnings. What depends on data planes is told for meshes that have any.

Exit codes:
  0  valid; there may be warnings
  1  errors, warnings with --strict, or interrupted by a signal
  2  the command line is wrong`,
		Example: `  kuma-mirror validate -f policies/
  kuma-mirror validate -f mesh.yaml -f route.yaml --strict
  kubectl get trafficroutes -o yaml | kuma-mirror validate -f - -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("output", output, "table", "json", "yaml"); err != nil {
				return err
			}
			v, err := validate(cmd.Context(), paths, cmd.InOrStdin())
			if err != nil {
				return &failure{code: exitFailed, err: err}
			}
			if err := v.write(cmd.OutOrStdout(), output); err != nil {
				return &failure{code: exitFailed, err: err}
			}
			if len(v.Errors) > 0 || strict && len(v.Warnings) > 0 {
				return &failure{code: exitFailed}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&paths, "file", "f", nil, "file, directory or - for standard input; may be repeated")
	flags.StringVarP(&output, "output", "o", "table", "table, json or yaml")
	flags.BoolVar(&strict, "strict", false, "fail on warnings, too")
	must(cmd.MarkFlagRequired("file"))
	return cmd
}

// verdict is what validate prints.
type verdict struct {
	Resources int       `json:"resources"`
	Errors    []finding `json:"errors"`
	Warnings  []finding `json:"warnings"`
}

type finding struct {
	Source  string `json:"source,omitempty"`
	Object  string `json:"object,omitempty"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
}

func validate(ctx context.Context, paths []string, stdin io.Reader) (*verdict, error) {
	resources, err := api.Load(ctx, paths, stdin)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) // which names the signal
	}
	unread := violationsOf(err)
	errs, warnings := check.Resources(ctx, resources, check.ReadFile)
	if len(unread) > 0 {
		// What could not be read may be all that is missing.
		warnings = nil
	}
	return &verdict{
		Resources: len(resources),
		Errors:    findings(append(unread, errs...)),
		Warnings:  findings(warnings),
	}, nil
}

// violationsOf takes the error of api.Load apart, so that everything is told,
// and in the same way.
func violationsOf(err error) api.Violations {
	var violations api.Violations
	var several interface{ Unwrap() []error }
	var file *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &several):
		for _, e := range several.Unwrap() {
			violations = append(violations, violationsOf(e)...)
		}
		return violations
	case errors.As(err, &violations):
		return violations
	case errors.As(err, &file):
		return api.Violations{{Source: file.Path, Message: file.Err.Error()}}
	default:
		return api.Violations{{Message: err.Error()}}
	}
}

// findings are the violations in order, each once.
func findings(violations api.Violations) []finding {
	out := []finding{}
	seen := map[finding]bool{}
	for _, v := range violations.Sorted() {
		if f := finding(v); !seen[f] {
			seen[f] = true
			out = append(out, f)
		}
	}
	return out
}

func (v *verdict) write(w io.Writer, format string) error {
	var out []byte
	var err error
	switch format {
	case "json":
		out, err = json.MarshalIndent(v, "", "  ")
		out = append(out, '\n')
	case "yaml":
		out, err = yaml.Marshal(v)
	default:
		return v.writeTable(w)
	}
	if err != nil {
		return err
	}
	_, err = w.Write(out)
	return err
}

func (v *verdict) writeTable(w io.Writer) error {
	paint := painter(w)
	p := &printer{w: w}
	p.section(paint(red, "Errors"), v.Errors)
	p.section(paint(yellow, "Warnings"), v.Warnings)
	summary := fmt.Sprintf("%s, %s in %s", count(len(v.Errors), "error"), count(len(v.Warnings), "warning"), count(v.Resources, "resource"))
	if len(v.Errors) == 0 {
		summary = paint(green, "Valid") + ": " + summary
	}
	p.printf("%s\n", summary)
	return p.err
}

// printer remembers the first error of writing.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// section prints the findings under their resources.
func (p *printer) section(title string, findings []finding) {
	if len(findings) == 0 {
		return
	}
	p.printf("%s\n", title)
	var last finding
	for i, f := range findings {
		if i == 0 || f.Source != last.Source || f.Object != last.Object {
			p.printf("  %s\n", api.Violation{Source: f.Source, Object: f.Object})
		}
		p.printf("    %s\n", api.Violation{Path: f.Path, Message: f.Message})
		last = f
	}
	p.printf("\n")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

const (
	red    = "31"
	green  = "32"
	yellow = "33"
)

// painter returns a function that colours text where w is a terminal and the
// user has not said otherwise (no-color.org).
func painter(w io.Writer) func(colour, text string) string {
	if os.Getenv("NO_COLOR") != "" || !isTerminal(w) {
		return func(_, text string) string { return text }
	}
	return func(colour, text string) string { return "\x1b[" + colour + "m" + text + "\x1b[0m" }
}

// isTerminal reports whether w is a terminal that understands more than text.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// oneOf is the error of a flag whose value is none of those allowed.
func oneOf(flag, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("--%s %q: must be one of %v", flag, value, allowed)
}

// must is for errors that only a mistake in this program can cause.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
